"""Opens the connection that a command works with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agentvine.cli.call import Call
from agentvine.cli.context import connection
from agentvine.cli.render import Screen
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.kit.clock import SystemClock

PATIENCE_SECONDS = 3.0
"""How long a person waits at a terminal for a server that restarts."""


@asynccontextmanager
async def open_call(url: str | None, key: str | None, screen: Screen) -> AsyncIterator[Call]:
    """What a command needs, connected to the server that is meant. Raises `ContextUnusable` if none is."""
    server, secret = connection(url, key)
    clock = SystemClock()
    async with APIClient(server, secret, patience=PATIENCE_SECONDS, clock=clock) as api:
        yield Call(HTTPFrontDesk(api), screen, clock)
