"""The one way in, an ASGI middleware: which route, whose key, may it, is it too long, what went wrong, how long?

As the route is known here, the hot ones are served from here: to go through the application's own middleware and
routers would double what such a request costs.

Whatever happens behind it, the client gets an answer: an `AgentVineError` as its problem document, anything else as a
500 that names the request, whose traceback is in the log under that name.
"""

import re
import secrets
from collections.abc import Mapping
from itertools import count
from time import perf_counter

from pydantic import JsonValue
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentvine.domain.errors import AgentVineError, Forbidden, LeaseLost, NotFound, Unauthenticated
from agentvine.domain.key import Key, Role
from agentvine.kit import failpoints
from agentvine.kit.logs import logger
from agentvine.server.audit import NOBODY, Refusal, told
from agentvine.server.bodies import BodyLimit, too_large
from agentvine.server.permits import OUT_OF_SCOPE
from agentvine.server.refusals import REFUSED_WITH, REQUEST_ID, fault, plain_refusal, refusal
from agentvine.server.route_table import RouteTable
from agentvine.server.services import KEY, SERVICES, Services
from agentvine.server.waits import STREAMED, ClientGone, Idle
from agentvine.wire import routes
from agentvine.wire.messages import LARGEST_ARTIFACT, LARGEST_BODY, LARGEST_WEBHOOK
from agentvine.wire.problems import STATUS
from agentvine.wire.routes import BASE, ROUTES, SESSION_HEADER, Route

_REQUEST_ID = re.compile(rb"[0-9A-Za-z_.-]{1,64}")
_PROBES = {route.path: route.full for route in (routes.HEALTH, routes.READY, routes.METRICS)}
"""Where orchestrators look for these."""
_WITHOUT_SESSION = frozenset({routes.REGISTER, routes.HEARTBEAT, routes.WHO_AM_I})
"""What a worker may say before it has registered. A heartbeat may, if it is to be told to register."""
_SESSION = SESSION_HEADER.lower().encode()
_KEY_START = re.compile(r"av_[0-9a-z]{10}(?=_)")
_Headers = dict[bytes, bytes]
_LIMITS: Mapping[Route, int] = {routes.PUT_ARTIFACT: LARGEST_ARTIFACT, routes.WEBHOOK: LARGEST_WEBHOOK}


class Gate:
    """Wraps the application. `services` say who may enter; `hot` serves some routes instead of the application."""

    def __init__(self, app: ASGIApp, services: Services, hot: Mapping[Route, ASGIApp]) -> None:
        self._app = app
        self._hot = hot
        self._services = services
        self._table = RouteTable(ROUTES)
        self._name = secrets.token_hex(4)
        self._numbers = count(1)
        self._log = logger("gate")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._not_http(scope, receive, send)
            return
        began, idle = perf_counter(), Idle.of_this_request()
        headers: _Headers = dict(scope["headers"])
        answer = _Answer(send, self._request_id(headers))
        route: Route | None = None
        try:
            scope[SERVICES], scope[REQUEST_ID] = self._services, answer.request_id
            app = self._app
            path: str = scope["path"]
            if path in _PROBES:
                path = scope["path"] = _PROBES[path]
            if path.startswith(BASE):
                route = self._route(scope, path)
                await self._admit(route, headers, scope)
                receive = _limited(route, headers, receive)
                app = self._hot.get(route, app)
            await app(scope, receive, answer)
        except _Refused as refused:
            await refused.response(scope, receive, answer)
        except AgentVineError as error:
            scope[REFUSED_WITH] = error
            await self._tell(error, answer, scope, receive)
        except ClientGone:
            return
        except failpoints.ReplyLost:
            await answer.break_off()
        except Exception:  # noqa: BLE001  the border of the process: the client gets a 500, the log the traceback
            self._log.exception("unexpected", request_id=answer.request_id, method=scope["method"], path=scope["path"])
            await self._tell(fault(answer.request_id), answer, scope, receive)
        if answer.status >= 400:
            self._services.metrics.refused(answer.status)
        self._ended(route, headers, scope, answer, perf_counter() - began - idle.seconds)

    def _request_id(self, headers: _Headers) -> str:
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._name}-{next(self._numbers)}"  # a number: to ask the kernel for chance lets go of the GIL

    def _route(self, scope: Scope, path: str) -> Route:
        methods, scope["path_params"] = self._table.find(path)
        route = methods.get(scope["method"])
        if route is not None:
            return route
        if not methods:
            raise _Refused(plain_refusal(404, f"there is nothing at {path}; /docs lists what there is"))
        allowed = ", ".join(sorted(methods))
        raise _Refused(plain_refusal(405, f"{path} takes {allowed}, not {scope['method']}", {"Allow": allowed}))

    async def _admit(self, route: Route, headers: _Headers, scope: Scope) -> None:
        if not route.roles:
            return
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Unauthenticated("no API key was sent; send it in the header Authorization: Bearer <key>")
        key = scope[KEY] = await self._services.identify(secret.strip())
        if key.scope.role not in route.roles:
            raise self._forbidden(route, key)
        if key.scope.role is Role.WORKER:
            await self._bind(route, key, headers, scope)

    async def _bind(self, route: Route, key: Key, headers: _Headers, scope: Scope) -> None:
        """See which worker process speaks; from here on the key is good for that worker only."""
        token = headers.get(_SESSION)
        if token is not None and route is not routes.REGISTER:
            scope[KEY] = await self._services.speaking(key, token.decode("latin-1"))
        elif route not in _WITHOUT_SESSION:
            raise Unauthenticated(
                f"register, and send the session token that comes back in the header {SESSION_HEADER}"
            )

    def _forbidden(self, route: Route, key: Key) -> Forbidden:
        self._log.warning("refused", key=key.id, role=key.scope.role.value, method=route.method, route=route.full)
        allowed = sorted(role.value for role in route.roles)
        return Forbidden(
            f"a key with the role {key.scope.role.value} may not do this; it takes {' or '.join(allowed)}",
            needs={"role": list(allowed)},
        )

    def _ended(self, route: Route | None, headers: _Headers, scope: Scope, answer: "_Answer", seconds: float) -> None:
        if route is None:
            return
        if STREAMED not in scope:
            self._services.metrics.answered(route, seconds)
        if REFUSED_WITH in scope:
            self._audit(route, headers, scope, answer)

    def _audit(self, route: Route, headers: _Headers, scope: Scope, answer: "_Answer") -> None:
        """Note who was refused what, and why."""
        error: AgentVineError | None = scope.get(REFUSED_WITH)
        hidden = isinstance(error, NotFound) and OUT_OF_SCOPE in getattr(error, "__notes__", ())
        if error is None or not (hidden or isinstance(error, Unauthenticated | Forbidden | LeaseLost)):
            return
        key: Key | None = scope.get(KEY)
        source = scope["client"][0] if scope.get("client") else ""
        ids = {name: told(value) for name, value in scope["path_params"].items()}
        name = OUT_OF_SCOPE if hidden else STATUS[type(error)][0]
        data: dict[str, JsonValue] = {
            "error": name,
            "status": answer.status,
            "method": route.method,
            "route": route.path,
            **ids,
            "why": told(error.message),
            "from": source,
            "request_id": answer.request_id,
        }
        if key is not None:
            self._services.refused(Refusal(f"key:{key.id}", (name, route.method, route.path, *ids.values()), data))
            return
        shown = _KEY_START.search(headers.get(b"authorization", b"").decode("latin-1"))
        if shown is not None:
            data["key_begins"] = shown[0]
        self._services.refused(Refusal(NOBODY, (source,), data))

    async def _tell(self, error: AgentVineError, answer: "_Answer", scope: Scope, receive: Receive) -> None:
        if not answer.status:
            await refusal(error)(scope, receive, answer)

    async def _not_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._app(scope, receive, send)


class _Refused(Exception):
    """The request goes no further; this is the answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class _Answer:
    """Sends what the application answers, with the request's id, and remembers the status."""

    __slots__ = ("_send", "request_id", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
        await self._send(message)

    async def break_off(self) -> None:
        """Let the connection end in the middle of the answer."""
        await self._send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})


def _limited(route: Route, headers: _Headers, receive: Receive) -> Receive:
    """`receive`, or a counting one; raises `TooLarge` at once if the declared length is too much already."""
    limit = _LIMITS.get(route, LARGEST_BODY)
    declared = headers.get(b"content-length")
    if declared is None:
        return BodyLimit(receive, limit) if b"transfer-encoding" in headers else receive
    if int(declared) > limit:  # the HTTP parser has seen to it that it is a number, and the length of the body
        raise too_large(limit)
    return receive
