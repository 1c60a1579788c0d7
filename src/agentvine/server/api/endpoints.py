"""How a module of this package declares its endpoints: the path, method and roles come from the wire's table.

Two kinds. `Api.route` makes a FastAPI operation, for what people and their programs ask. `Api.hot` makes a bare ASGI
endpoint for what a fleet says all the time: one JSON message in, one out, straight between bytes and pydantic. Both
look alike, and both are in the OpenAPI document.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from fastapi import Depends, Header, Query, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentvine.server.bodies import check_json, parse, parse_query, read_body
from agentvine.server.metrics import Metrics
from agentvine.server.refusals import plain_refusal
from agentvine.server.services import KEY, Services, services_of
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.messages import LONGEST_WAIT
from agentvine.wire.problems import CONTENT_TYPE, Problem
from agentvine.wire.routes import Route

_F = TypeVar("_F", bound=Callable[..., Any])
_HotHandler = Callable[..., Awaitable[BaseModel | None]]
Count = Callable[[Metrics, Any, Any], None]
"""Told of a message and its answer."""
_JSON = "application/json"
_REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "Refused; `detail` says what and `facts` where",
        "content": {CONTENT_TYPE: {"schema": Problem.model_json_schema()}},
    }
}


async def _services(request: Request) -> Services:
    return services_of(request.scope)


async def _plane(request: Request) -> ControlPlane:
    return services_of(request.scope).control_plane(request.scope[KEY])


async def _desk(request: Request) -> FrontDesk:
    return services_of(request.scope).front_desk(request.scope[KEY])


Serving = Annotated[Services, Depends(_services)]
Plane = Annotated[ControlPlane, Depends(_plane)]
"""The worker's contract, bound to the caller's key."""
Desk = Annotated[FrontDesk, Depends(_desk)]
"""The contract of people, bound to the caller's key."""
Cursor = Annotated[str | None, Query(max_length=500, pattern=r"^[!-~]*$", description="`next_cursor` of the last page")]
Limit = Annotated[int, Query(ge=1, le=200, description="How many items at most")]
After = Annotated[int, Query(ge=0, le=2**53)]
WaitSeconds = Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False, description="Wait for it this long")]
Plain = r"^[^\x00-\x1f\x7f]*$"
"""Pattern of free text in a query."""
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        pattern=r"^[!-~]+$",
        description="The same key again gets the same task, not another one",
    ),
]


class Api:
    """The endpoints of one module."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self.endpoints: dict[Route, HotEndpoint] = {}
        self.operations: list[APIRoute] = []
        self.documented: list[APIRoute] = []
        """What the OpenAPI document tells; a hot endpoint is there as an operation that is never called."""

    def route(self, route: Route, *, status: int = 200, **more: Any) -> Callable[[_F], _F]:
        """Declare a FastAPI operation; `more` goes to FastAPI as it is."""

        def declare(endpoint: _F) -> _F:
            operation = self._operation(route, endpoint, status_code=status, **more)
            self.operations.append(operation)
            self.documented.append(operation)
            return endpoint

        return declare

    def hot(
        self, route: Route, *, waits: bool = False, counted: Count | None = None
    ) -> Callable[[_HotHandler], _HotHandler]:
        """Declare a message of a worker: `async def (plane, message, **ids) -> answer`, or None for 204.

        The message is the body, or of a GET the query. `waits`: it may take long, and ends when nobody waits for it any
        more. `counted` is told of each answer.
        """

        def declare(handler: _HotHandler) -> _HotHandler:
            hot = HotEndpoint(handler, reads_query=route.method == "GET", waits=waits, counted=counted)
            self.endpoints[route] = hot
            self.documented.append(self._operation(route, hot.documented(), **hot.outcome()))
            return handler

        return declare

    def _operation(self, route: Route, endpoint: Callable[..., Any], **more: Any) -> APIRoute:
        responses = {**_REFUSED, **more.pop("responses", {})}
        extra = {"security": [{"key": []}] if route.roles else [], **more.pop("openapi_extra", {})}
        return StrictRoute(
            route.full,
            endpoint,
            methods=[route.method],
            tags=[self._tag],
            operation_id=endpoint.__name__,
            responses=responses,
            openapi_extra=extra,
            **more,
        )


class StrictRoute(APIRoute):
    """A FastAPI operation whose JSON body is held to the same rules as everywhere else."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        required = self.body_field.field_info.is_required()

        async def handle_strictly(request: Request) -> Response:
            if not required and not await request.body():
                return await handle(request)
            if _content_type(request.scope) != _JSON:
                return not_json()
            check_json(await request.body())
            return await handle(request)

        return handle_strictly


class HotEndpoint:
    """A worker's message as an ASGI application. `handler(plane, message, **ids)` is what it means."""

    def __init__(self, handler: _HotHandler, *, reads_query: bool, waits: bool, counted: Count | None) -> None:
        self._handler = handler
        self._reads_query = reads_query
        self._waits = waits
        self._counted = counted
        hints = get_type_hints(handler)
        self._answer = hints.pop("return")
        _, message, *self._ids = hints
        self._message: type[BaseModel] = hints[message]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if self._reads_query:
            message = parse_query(self._message, scope["query_string"])
        elif _content_type(scope) == _JSON:
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

    def documented(self) -> Callable[..., Any]:
        """A function that FastAPI's documentation can be made from."""

        async def endpoint() -> None:
            raise NotImplementedError  # only documented, never called

        ids = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=str) for name in self._ids]
        kind = Annotated[self._message, Query()] if self._reads_query else self._message
        message = inspect.Parameter("message", inspect.Parameter.KEYWORD_ONLY, annotation=kind)
        endpoint.__signature__ = inspect.Signature([*ids, message])  # type: ignore[attr-defined]
        endpoint.__name__ = self._handler.__name__
        endpoint.__doc__ = self._handler.__doc__
        return endpoint

    def outcome(self) -> dict[str, Any]:
        """What FastAPI is to document as the answer."""
        kinds = get_args(self._answer) or (self._answer,)
        models = [kind for kind in kinds if kind is not type(None)]
        if not models:
            return {"status_code": 204}
        none = {"responses": {204: {"description": "There was none"}}} if len(kinds) > 1 else {}
        return {"response_model": models[0], **none}


def _content_type(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind: bytes = value.partition(b";")[0].strip().lower()
            return kind.decode("latin-1")
    return ""


def not_json() -> Response:
    return plain_refusal(415, f"send the body as JSON, with the header Content-Type: {_JSON}", {"Accept": _JSON})


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
