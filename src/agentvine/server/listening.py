"""Taking requests: a socket, uvicorn on it, and an end to it in which nothing hangs."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.pulse import answering
from agentvine.kit.shutdown import Shutdown
from agentvine.server.corked import CorkedProtocol
from agentvine.server.settings import ServerSettings
from agentvine.server.waits import Waits
from agentvine.wire.protocol import HEADER, NEWEST

KEEP_ALIVE_SECONDS = 75
"""Idle connections live longer than the clients' own limit (60 s) and than two heartbeats."""
BACKLOG = 2048
GRACE_SECONDS = 5
"""What a request may still take once the server has been told to end."""


@asynccontextmanager
async def listening(app: ASGIApp, waits: Waits, listener: socket.socket, shutdown: Shutdown) -> AsyncIterator[str]:
    """Take requests for `app` on a bound socket; the value is the URL.

    On leaving, the `waits` end at once; other requests have `GRACE_SECONDS`, or none once `shutdown` stops.
    """
    server = _Uvicorn(
        uvicorn.Config(
            app,
            http=CorkedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[(HEADER, str(NEWEST))],
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    host, port = listener.getsockname()[:2]
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve([listener]))
        await server.listening.wait()
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        waits.close()
        server.should_exit = True
        hurrying = group.create_task(server.hurry(shutdown))
        await asyncio.wait([serving])
        hurrying.cancel()


class _Uvicorn(uvicorn.Server):
    """A uvicorn server inside a process that has its own signals and its own main."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def hurry(self, shutdown: Shutdown) -> None:
        """Break off what still runs once `shutdown` stops."""
        await shutdown.stopping.wait()
        self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(settings: ServerSettings) -> socket.socket:
    """The socket that the settings name. Raises `ConfigurationError` if it cannot be had."""
    if settings.listen_fd is not None:
        return _inherited(settings.listen_fd, "AGENTVINE_SERVER_LISTEN_FD")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.share_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose others with "
            "AGENTVINE_SERVER_HOST and AGENTVINE_SERVER_PORT"
        ) from error
    return listener


def pulse(settings: ServerSettings) -> AbstractContextManager[None]:
    """While it is entered, a parent process that asks hears that the event loop turns. Raises `ConfigurationError`."""
    if settings.pulse_fd is None:
        return contextlib.nullcontext()
    return answering(_inherited(settings.pulse_fd, "AGENTVINE_SERVER_PULSE_FD"))


def _inherited(fd: int, variable: str) -> socket.socket:
    try:
        return socket.socket(fileno=fd)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"{variable}: {fd} is no open socket ({error})") from error
