"""A stage for workers: a real server over HTTP and SQLite, a network that can misbehave, and executors on strings."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.domain.execution import Delivery
from agentvine.domain.key import Role, Scope
from agentvine.domain.task import NewTask, Task
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.kit.shutdown import Shutdown
from agentvine.server.main import BoundServer, serve
from agentvine.server.settings import ServerSettings
from agentvine.testing.databases import sqlite_database
from agentvine.testing.eventually import PATIENCE, eventually
from agentvine.testing.proxy import Proxy
from agentvine.wire.administration import NewKey
from agentvine.wire.messages import Claimed
from agentvine.worker.conclusion import Conclusion, Delivered, Executor, Progress
from agentvine.worker.main import ExecutorFactory, Surroundings

DELIVERED = Delivered(Delivery(kind="push", branch="main", new_sha="a" * 40), "all done")
_numbers = itertools.count(1)


@dataclass(slots=True)
class Stay:
    """One execution at the puppet executor, which ends when the test says how."""

    claimed: Claimed
    progress: Progress
    conclusion: asyncio.Future[Conclusion] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    cancelled: bool = False

    def conclude(self, conclusion: Conclusion = DELIVERED) -> None:
        self.conclusion.set_result(conclusion)

    @property
    def order_id(self) -> str:
        return self.claimed.order.id


class PuppetExecutor:
    """Implements `Executor`: it does nothing until it is told what the result was."""

    def __init__(self) -> None:
        self.stays: list[Stay] = []
        self.present: set[str] = set()
        self.most_at_once = 0

    async def execute(self, claimed: Claimed, progress: Progress) -> Conclusion:
        stay = Stay(claimed, progress)
        self.stays.append(stay)
        self.present.add(stay.order_id)
        self.most_at_once = max(self.most_at_once, len(self.present))
        try:
            return await stay.conclusion
        except asyncio.CancelledError:
            stay.cancelled = True
            raise
        finally:
            self.present.discard(stay.order_id)

    async def stay(self, number: int = 0) -> Stay:
        """The execution that began as number `number`, as soon as it has begun."""
        await eventually(lambda: len(self.stays) > number)
        return self.stays[number]


def made(executor: Executor) -> ExecutorFactory:
    """For `run_worker`: this executor, whatever surrounds it."""

    async def make(_: Surroundings) -> Executor:
        return executor

    return make


class Stage:
    """Made by `stage`."""

    def __init__(self, settings: ServerSettings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._shutdown = Shutdown()
        self._serving: asyncio.Task[None] | None = None
        self.desk: HTTPFrontDesk
        self.proxy: Proxy
        self.worker_key = ""

    @property
    def data(self) -> Path:
        """Where the server keeps its data."""
        return self._settings.data

    async def set_up(self) -> None:
        url = await self.start_server()
        port = int(url.rpartition(":")[2])
        self._settings = self._settings.model_copy(update={"port": port})
        self.proxy = await self._stack.enter_async_context(Proxy(port))
        admin = (self._settings.data / "first-key").read_text().strip()
        self.desk = HTTPFrontDesk(await self._stack.enter_async_context(APIClient(url, admin, patience=30)))
        self.worker_key = (await self.desk.create_key(NewKey(name="workers", scope=Scope(role=Role.WORKER)))).secret

    async def start_server(self) -> str:
        """Start the server, again with all that it knew. Returns its URL."""
        serving: list[BoundServer] = []
        self._shutdown = Shutdown()
        self._serving = task = asyncio.create_task(serve(self._settings, self._shutdown, serving.append))
        await eventually(lambda: serving or task.done())
        if task.done():
            task.result()
        return serving[0].url

    async def stop_server(self) -> None:
        if self._serving is not None:
            self._shutdown.stop()
            await self._serving
            self._serving = None

    async def submit(self, **more: object) -> Task:
        """A task for a bugfix worker."""
        asked = {
            "type": "bugfix",
            "title": f"task {next(_numbers)}",
            "repository": "https://git.example/one.git",
            "branch": "main",
            **more,
        }
        return await self.desk.submit(NewTask.model_validate(asked))

    async def order(self, task: Task) -> WorkOrder:
        return await self.desk.work_order(task.work_order_id)

    async def until(self, task: Task, status: OrderStatus, within: float = PATIENCE) -> WorkOrder:
        """The task's order, as soon as it is in `status`."""

        async def look() -> WorkOrder | None:
            order = await self.order(task)
            return order if order.status is status else None

        found = await eventually(look, within)
        assert found is not None
        return found


@asynccontextmanager
async def stage(directory: Path, **settings: object) -> AsyncIterator[Stage]:
    """A stage whose server keeps its data in `directory`; `settings` are `ServerSettings`."""
    sqlite_database(directory / "server")
    values = {"data_dir": directory / "server", "port": 0, "reaper_interval": 0.1, **settings}
    async with AsyncExitStack() as stack:
        there = Stage(ServerSettings.model_validate(values), stack)
        stack.push_async_callback(there.stop_server)
        await there.set_up()
        yield there
