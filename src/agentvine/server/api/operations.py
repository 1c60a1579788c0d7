"""How a module of this package declares operations: what people and their programs ask, served by FastAPI.

FastAPI takes longer to import than all else that a server needs. So only modules that declare operations import this
one, and they are imported by `server/application.py` alone, once the server already hears its workers.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar, get_args

from fastapi import Depends, Header, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from agentvine.server.api.endpoints import JSON, Api, Declared, content_type, not_json
from agentvine.server.bodies import check_json
from agentvine.server.services import KEY, Services, services_of
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.messages import LONGEST_WAIT
from agentvine.wire.problems import CONTENT_TYPE, Problem
from agentvine.wire.routes import Route

_F = TypeVar("_F", bound=Callable[..., Any])
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


class Operations:
    """The operations of one module."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self.operations: list[APIRoute] = []

    def route(self, route: Route, *, status: int = 200, **more: Any) -> Callable[[_F], _F]:
        """Declare an operation; `more` goes to FastAPI as it is."""

        def declare(endpoint: _F) -> _F:
            self.operations.append(_operation(self._tag, route, endpoint, status_code=status, **more))
            return endpoint

        return declare


def documented(api: Api) -> list[APIRoute]:
    """What FastAPI's documentation of the hot endpoints is made from: operations that are never called."""
    return [
        _operation(api.tag, route, _signed(endpoint.declared), **_outcome(endpoint.declared))
        for route, endpoint in api.endpoints.items()
    ]


def _operation(tag: str, route: Route, endpoint: Callable[..., Any], **more: Any) -> APIRoute:
    responses = {**_REFUSED, **more.pop("responses", {})}
    extra = {"security": [{"key": []}] if route.roles else [], **more.pop("openapi_extra", {})}
    return StrictRoute(
        route.full,
        endpoint,
        methods=[route.method],
        tags=[tag],
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
            if content_type(request.scope) != JSON:
                return not_json()
            check_json(await request.body())
            return await handle(request)

        return handle_strictly


def _signed(declared: Declared) -> Callable[..., Any]:
    """A function whose signature says what the endpoint takes."""

    async def endpoint() -> None:
        raise NotImplementedError  # only documented, never called

    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=str) for name in declared.ids]
    if declared.message is not None:
        kind = Annotated[declared.message, Query()] if declared.reads_query else declared.message
        named.append(inspect.Parameter("message", inspect.Parameter.KEYWORD_ONLY, annotation=kind))
    endpoint.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    endpoint.__name__ = declared.handler.__name__
    endpoint.__doc__ = declared.handler.__doc__
    return endpoint


def _outcome(declared: Declared) -> dict[str, Any]:
    """What is to be documented as the answer."""
    kinds = get_args(declared.answer) or (declared.answer,)
    models = [kind for kind in kinds if kind is not type(None)]
    if not models:
        return {"status_code": 204}
    none = {"responses": {204: {"description": "There was none"}}} if len(kinds) > 1 else {}
    return {"response_model": models[0], **none}
