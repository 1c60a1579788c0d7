"""A server to measure: processes of its own, SQLite on disk, keys, events and authentication on."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from psutil import Process

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.domain.task import NewTask
from agentvine.domain.work_order import OrderStatus
from agentvine.kit.doorbell import pause
from agentvine.kit.process import Running, spawn
from agentvine.server.machine import Keys, database_url, machine_keys
from agentvine.wire.messages import NamedTask, TaskBatch

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Site:
    """A server that runs."""

    host: str
    port: int
    keys: Keys
    data: Path
    desk: HTTPFrontDesk

    async def fill(self, count: int) -> None:
        """Have at least so many orders wait."""
        waiting = (await self.desk.queue()).totals.get(OrderStatus.PENDING, 0)
        await self.submit(max(count - waiting, 0))

    async def submit(self, count: int) -> None:
        """Queue so many orders."""
        task = NewTask.model_validate(
            {"type": "bugfix", "title": "bench", "repository": "https://git.example/bench.git", "branch": "main"}
        )
        for start in range(0, count, _BATCH):
            names = [f"task {number}" for number in range(start, min(start + _BATCH, count))]
            await self.desk.submit_all(TaskBatch(tasks=tuple(NamedTask(name=name, task=task) for name in names)))


@asynccontextmanager
async def running_site(more: Mapping[str, str] | None = None) -> AsyncIterator[Site]:
    """Start one in a temporary directory, with `more` variables; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as directory, socket.socket() as listener:
        data = Path(directory)
        keys = await machine_keys(data)
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        variables = {**_variables(data), "AGENTVINE_SERVER_LISTEN_FD": str(listener.fileno()), **(more or {})}
        async with _server(data, variables, listener.fileno()), _desk(listener, keys) as desk:
            host, port = listener.getsockname()
            yield Site(host, port, keys, data, desk)


@asynccontextmanager
async def sharing_site(servers: int) -> AsyncIterator[Site]:
    """As `agentvine up --servers N` has it: several processes and a broker, which they hear of one another through."""
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as directory, socket.socket() as keeper:
        data = Path(directory)
        keys = await machine_keys(data)
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper.bind(("127.0.0.1", 0))
        host, port = keeper.getsockname()
        async with AsyncExitStack() as stack:
            broker = await stack.enter_async_context(EmbeddedBroker(data / "broker"))
            variables = {
                **_variables(data),
                "AGENTVINE_SERVER_REDIS_URL": broker.url,
                "AGENTVINE_SERVER_PORT": str(port),
                "AGENTVINE_SERVER_SHARE_PORT": "true",
            }
            for _ in range(servers):
                server = await stack.enter_async_context(_server(data, variables))
                await _listening(server, port)
            yield Site(host, port, keys, data, await stack.enter_async_context(_desk(keeper, keys)))


def _variables(data: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AGENTVINE_SERVER_DATABASE_URL": database_url(data),
        "AGENTVINE_SERVER_DATA_DIR": str(data),
        "AGENTVINE_SERVER_REPOSITORY_CONCURRENCY": "10000",
    }


@asynccontextmanager
async def _server(data: Path, variables: Mapping[str, str], *fds: int) -> AsyncIterator[Running]:
    argv = [sys.executable, "-m", "agentvine", "server"]
    async with await spawn(argv, cwd=data, env=variables, output=data / "server.log", pass_fds=fds) as server:
        yield server
        await server.terminate(10)


async def _listening(server: Running, port: int) -> None:
    """Wait until that very process takes connections: a request might come to another one."""
    async with asyncio.timeout(30):
        while not any(one.laddr.port == port for one in Process(server.pid).net_connections("tcp")):
            await pause(0.02)


@asynccontextmanager
async def _desk(listener: socket.socket, keys: Keys) -> AsyncIterator[HTTPFrontDesk]:
    """A client of it, once it answers."""
    host, port = listener.getsockname()
    async with APIClient(f"http://{host}:{port}", keys.admin, patience=30) as api:
        desk = HTTPFrontDesk(api)
        await desk.health()
        yield desk
