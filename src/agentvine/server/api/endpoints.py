"""How a module of this package declares hot endpoints: the path, method and roles come from the wire's table.

They are bare ASGI endpoints for what a fleet says all the time: one JSON message in, one out, bytes to pydantic and
back. What people and their programs ask is an operation of FastAPI (operations.py), which nothing here may import.
Both are declared alike, and both are in the OpenAPI document.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentvine.server.bodies import parse, parse_query, read_body
from agentvine.server.metrics import Metrics
from agentvine.server.refusals import plain_refusal
from agentvine.server.services import KEY, Services, services_of
from agentvine.wire.routes import Route

_HotHandler = Callable[..., Awaitable[BaseModel | None]]
_Probe = Callable[[Services], Awaitable[BaseModel]]
Count = Callable[[Metrics, Any, Any], None]
"""Told of a message and its answer."""
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Declared:
    """What an endpoint is made from, for its documentation."""

    handler: Callable[..., Any]
    answer: Any
    """The type of what it returns."""
    message: type[BaseModel] | None = None
    ids: tuple[str, ...] = ()
    reads_query: bool = False


class Api:
    """The hot endpoints of one module."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.endpoints: dict[Route, HotEndpoint | Probe] = {}

    def hot(
        self, route: Route, *, waits: bool = False, counted: Count | None = None
    ) -> Callable[[_HotHandler], _HotHandler]:
        """Declare a message of a worker: `async def (plane, message, **ids) -> answer`, or None for 204.

        The message is the body, or of a GET the query. `waits`: it may take long, and ends when nobody waits for it any
        more. `counted` is told of each answer.
        """

        def declare(handler: _HotHandler) -> _HotHandler:
            reads_query = route.method == "GET"
            self.endpoints[route] = HotEndpoint(handler, reads_query=reads_query, waits=waits, counted=counted)
            return handler

        return declare

    def probe(self, route: Route) -> Callable[[_Probe], _Probe]:
        """Declare a look at the server itself: `async def (services) -> answer`, for which nobody needs a key."""

        def declare(handler: _Probe) -> _Probe:
            self.endpoints[route] = Probe(handler)
            return handler

        return declare


class Probe:
    """A look at the server as an ASGI application."""

    def __init__(self, handler: _Probe) -> None:
        self._handler = handler
        self.declared = Declared(handler, get_type_hints(handler)["return"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, await self._handler(services_of(scope)))


class HotEndpoint:
    """A worker's message as an ASGI application. `handler(plane, message, **ids)` is what it means."""

    def __init__(self, handler: _HotHandler, *, reads_query: bool, waits: bool, counted: Count | None) -> None:
        self._handler = handler
        self._reads_query = reads_query
        self._waits = waits
        self._counted = counted
        hints = get_type_hints(handler)
        answer = hints.pop("return")
        _, message, *ids = hints
        self._message: type[BaseModel] = hints[message]
        self.declared = Declared(handler, answer, self._message, tuple(ids), reads_query)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if self._reads_query:
            message = parse_query(self._message, scope["query_string"])
        elif content_type(scope) == JSON:
            message = parse(self._message, body)
        else:
            await not_json()(scope, receive, send)
            return
        services = services_of(scope)
        plane = services.control_plane(scope[KEY])
        if self._waits:
            async with services.waits.enter(scope, receive):
                answer = await self._handler(plane, message, **scope["path_params"])
        else:
            answer = await self._handler(plane, message, **scope["path_params"])
        if self._counted is not None:
            self._counted(services.metrics, message, answer)
        await send_json(send, answer)


def content_type(scope: Scope) -> str:
    """The media type that a request declares; empty if it declares none."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind: bytes = value.partition(b";")[0].strip().lower()
            return kind.decode("latin-1")
    return ""


def not_json() -> Response:
    return plain_refusal(415, f"send the body as JSON, with the header Content-Type: {JSON}", {"Accept": JSON})


async def send_json(send: Send, answer: BaseModel | None) -> None:
    """Answer 200 with the message, or 204 with nothing."""
    if answer is None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    body = answer.__pydantic_serializer__.to_json(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
