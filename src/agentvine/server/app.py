"""The HTTP application: the gate, and behind it the hot endpoints and FastAPI's operations."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from agentvine.kit.importing import importing
from agentvine.server.api.hot import HOT
from agentvine.server.gate import Gate
from agentvine.server.services import Services


class LateApplication:
    """FastAPI's operations, which belong to no server: what serves a request is in the request's scope."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def put_together(self) -> ASGIApp:
        """The operations, the first time from a thread, which takes a second or two; workers are served meanwhile.

        Raises ValueError unless the routes served here are those of the wire's table.
        """
        if self._app is None:
            self._app = await asyncio.to_thread(_put_together)
        return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app or await self.put_together()
        await app(scope, receive, send)


OPERATIONS = LateApplication()
"""Of this process."""


def create_app(services: Services) -> Gate:
    """The application, ready to be served. Its operations are put together when the first of them is asked for."""
    hot = {route: endpoint for api in HOT for route, endpoint in api.endpoints.items()}
    return Gate(OPERATIONS, services, hot)


def _put_together() -> ASGIApp:
    with importing():
        from agentvine.server.application import application

        return application()
