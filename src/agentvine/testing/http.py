"""Real HTTP in tests: an application, or a whole server, on a free loopback port in the test's own loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.key import Role, Scope
from agentvine.kit.backoff import Backoff
from agentvine.kit.shutdown import Shutdown
from agentvine.server.app import create_app
from agentvine.server.listening import listening
from agentvine.server.main import BoundServer, serve
from agentvine.server.main import services as services_of
from agentvine.server.services import Services
from agentvine.server.settings import ServerSettings
from agentvine.server.terms import Terms
from agentvine.server.waits import Waits
from agentvine.testing.clock import ManualClock
from agentvine.testing.site import ADMIN, WORKER, InProcessSite, in_process_site
from agentvine.wire.administration import NewKey

FIRST_KEY = f"av_0123456789_{'0' * 43}"
"""The admin key of every server of `server_on`."""
_AT_ONCE = Backoff(first=0.01, most=0.05)


@asynccontextmanager
async def served(app: ASGIApp, waits: Waits | None = None) -> AsyncIterator[str]:
    """Serve `app`; the value is its URL. `waits` are ended when the block is left."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with listening(app, waits or Waits(), listener, Shutdown()) as url:
            yield url


@asynccontextmanager
async def server_on(data: Path, **settings: object) -> AsyncIterator[str]:
    """A whole server that keeps its data in `data`, with `settings`; the value is its URL. It ends with the block."""
    shutdown = Shutdown()
    bound: asyncio.Future[BoundServer] = asyncio.get_running_loop().create_future()
    chosen = ServerSettings.load({}, **{"data_dir": data, "port": 0, "first_key": FIRST_KEY, **settings})
    serving = asyncio.create_task(serve(chosen, shutdown, bound.set_result))
    either: list[asyncio.Future[Any]] = [serving, bound]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        yield bound.result().url
    finally:
        shutdown.drain()
        await serving


class HttpSite:
    """A `testing.site.Site` that is spoken to over HTTP. `site` is the server behind it."""

    def __init__(self, site: InProcessSite, services: Services, url: str, stack: AsyncExitStack) -> None:
        self.site = site
        self.services = services
        self.url = url
        self.clock = site.clock
        self.terms = site.terms
        self._stack = stack

    async def worker_plane(self, scope: Scope = WORKER) -> HTTPControlPlane:
        return HTTPControlPlane(await self._client(scope))

    async def worker_planes(self, number: int) -> list[HTTPControlPlane]:
        secret = await self.site.secret(WORKER)
        return [HTTPControlPlane(await self._stack.enter_async_context(api(self.url, secret))) for _ in range(number)]

    async def front_desk(self, scope: Scope = ADMIN) -> HTTPFrontDesk:
        return HTTPFrontDesk(await self._client(scope))

    async def pass_time(self, seconds: float) -> None:
        await self.site.pass_time(seconds)

    async def _client(self, scope: Scope) -> APIClient:
        return await self._stack.enter_async_context(api(self.url, await self.site.secret(scope)))


@asynccontextmanager
async def http_site(
    database_url: str, folder: Path, terms: Terms = Terms(), clock: ManualClock | None = None
) -> AsyncIterator[HttpSite]:
    """As `in_process_site`, with real HTTP before it."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(in_process_site(database_url, folder, terms, clock))
        services = services_of(site.keyring, site.control)
        url = await stack.enter_async_context(served(create_app(services), services.waits))
        yield HttpSite(site, services, url, stack)


def api(url: str, key: str = FIRST_KEY, *, patience: float = 0.0) -> APIClient:
    """A client that is in a hurry: it tries again at once, for `patience` seconds."""
    client = APIClient(url, key, patience=patience, backoff=_AT_ONCE)
    client.http.timeout = httpx.Timeout(60)  # for what a test itself asks through it; a stream may be silent for 15 s
    return client


async def new_key(url: str, role: Role) -> str:
    """The secret of a new key."""
    async with api(url) as admin:
        return (await HTTPFrontDesk(admin).create_key(NewKey(name=role.value, scope=Scope(role=role)))).secret
