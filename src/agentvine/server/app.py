"""The HTTP application: the gate, and behind it the hot endpoints and FastAPI's operations."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from agentvine.server.api.hot import HOT
from agentvine.server.gate import Gate
from agentvine.server.services import Services


def create_app(services: Services) -> Gate:
    """The application, ready to be served. Its operations are put together when the first of them is asked for."""
    hot = {route: endpoint for api in HOT for route, endpoint in api.endpoints.items()}
    return Gate(_operate, services, hot)


async def operations() -> ASGIApp:
    """The operations, put together in a thread: a second or two, the first time; workers are served meanwhile.

    Raises ValueError unless the routes served here are those of the wire's table.
    """
    return await asyncio.to_thread(_put_together)


def _put_together() -> ASGIApp:
    from agentvine.server.application import application

    return application()


async def _operate(scope: Scope, receive: Receive, send: Send) -> None:
    app = await operations()
    await app(scope, receive, send)
