"""The HTTP application: the routes behind the gate."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from agentvine import __version__
from agentvine.domain.errors import AgentVineError
from agentvine.server.api import (
    audit,
    errands,
    events,
    executions,
    health,
    keys,
    precedents,
    queue,
    repositories,
    requests,
    tasks,
    upkeep,
    webhooks,
    work_orders,
    workers,
)
from agentvine.server.api.endpoints import Api
from agentvine.server.gate import Gate
from agentvine.server.refusals import on_error, on_http_exception, on_request_validation, on_unexpected
from agentvine.server.services import Services
from agentvine.wire.routes import ROUTES, SESSION_HEADER

APIS: Sequence[Api] = tuple(
    module.api
    for module in (
        queue,
        work_orders,
        workers,
        executions,
        requests,
        precedents,
        tasks,
        errands,
        events,
        keys,
        repositories,
        audit,
        upkeep,
        webhooks,
        health,
    )
)


def create_app(services: Services) -> Gate:
    """The application, ready to be served: FastAPI's, and the hot endpoints beside it, behind the gate.

    Raises ValueError unless its routes are those of the wire's table.
    """
    app = FastAPI(
        title="AgentVine",
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            AgentVineError: on_error,
            HTTPException: on_http_exception,
            RequestValidationError: on_request_validation,
            Exception: on_unexpected,
        },
    )
    app.router.routes.extend(operation for api in APIS for operation in api.operations)
    _check_complete()
    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to replace it
    hot = {route: endpoint for api in APIS for route, endpoint in api.endpoints.items()}
    return Gate(app, services, hot)


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document, hot routes included."""
    document = get_openapi(
        title="AgentVine",
        version=__version__,
        description="Errors are problem documents (RFC 9457). Listings are paged: send `next_cursor` back as `cursor`. "
        f"A worker sends the session token of its registration in the header {SESSION_HEADER}.",
        routes=[operation for api in APIS for operation in api.documented],
    )
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def _check_complete() -> None:
    served = {(method, route.path) for api in APIS for route in api.documented for method in route.methods or ()}
    table = {(route.method, route.full) for route in ROUTES}
    if served != table:
        raise ValueError(f"the application and wire/routes.py differ in {sorted(served ^ table)}")
