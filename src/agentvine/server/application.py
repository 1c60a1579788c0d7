"""The application of FastAPI: all operations, and the OpenAPI document of the whole server.

`server/app.py` imports it, in a thread: to import FastAPI takes longer than all else at the start of a server.
"""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentvine import __version__
from agentvine.domain.errors import AgentVineError
from agentvine.server.api import (
    audit,
    events,
    fleet,
    inbox,
    keys,
    metrics,
    orders,
    precedents,
    repositories,
    results,
    tasks,
    upkeep,
    webhooks,
)
from agentvine.server.api.hot import HOT
from agentvine.server.api.operations import documented
from agentvine.server.refusals import REFUSED_WITH, REQUEST_ID, fault, invalid_input, plain_refusal, refusal
from agentvine.wire.routes import ROUTES, SESSION_HEADER

_OPERATIONS: Sequence[APIRoute] = tuple(
    operation
    for module in (
        orders,
        fleet,
        results,
        inbox,
        precedents,
        tasks,
        events,
        keys,
        repositories,
        audit,
        upkeep,
        webhooks,
        metrics,
    )
    for operation in module.api.operations
)


@cache
def application() -> FastAPI:
    """All operations. It belongs to no server: what serves a request is in the request's scope.

    Raises ValueError unless its routes, with the hot ones, are those of the wire's table.
    """
    _check_complete()
    app = FastAPI(
        title="AgentVine",
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            AgentVineError: _on_error,
            HTTPException: _on_http_exception,
            RequestValidationError: _on_request_validation,
            Exception: _on_unexpected,
        },
    )
    app.router.routes[:0] = [Route("/openapi.json", _document, include_in_schema=False), *_OPERATIONS]
    return app


async def _document(_: Request) -> Response:
    return Response(await asyncio.to_thread(_openapi_text), media_type="application/json")


@cache
def _openapi_text() -> bytes:
    return to_json(openapi())


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document, hot routes included."""
    hot = [operation for api in HOT for operation in documented(api)]
    document = get_openapi(
        title="AgentVine",
        version=__version__,
        description="Errors are problem documents (RFC 9457). Listings are paged: send `next_cursor` back as `cursor`. "
        f"A worker sends the session token of its registration in the header {SESSION_HEADER}.",
        routes=[*hot, *_OPERATIONS],
    )
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def _check_complete() -> None:
    hot = {(route.method, route.full) for api in HOT for route in api.endpoints}
    served = {(method, route.path) for route in _OPERATIONS for method in route.methods or ()}
    table = {(route.method, route.full) for route in ROUTES}
    if served | hot != table or served & hot:
        raise ValueError(f"the application and wire/routes.py differ in {sorted((served | hot) ^ table)}")


async def _on_error(request: Request, error: Exception) -> Response:
    """Handler for what the use cases raise."""
    assert isinstance(error, AgentVineError)  # noqa: S101  registered for nothing else
    request.scope[REFUSED_WITH] = error
    return refusal(error)


async def _on_unexpected(request: Request, _: Exception) -> Response:
    """Handler for everything else. The gate logs it."""
    return refusal(fault(request.scope[REQUEST_ID]))


async def _on_http_exception(_: Request, error: Exception) -> Response:
    """Handler for what Starlette and FastAPI refuse by themselves."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    return plain_refusal(error.status_code, str(error.detail), error.headers)


async def _on_request_validation(_: Request, error: Exception) -> Response:
    """Handler for what FastAPI found wrong in a body, a query or a header."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
    return refusal(invalid_input((mistake["loc"], str(mistake["msg"])) for mistake in error.errors()))
