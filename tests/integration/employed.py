"""A worker in this process, at a server of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentvine.kit.clock import SystemClock
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.eventually import eventually
from agentvine.testing.stage import PuppetExecutor, Stage, made
from agentvine.worker.main import run_worker
from agentvine.worker.settings import WorkerConfig

OFTEN = 0.2
"""Seconds between heartbeats, whose answers say what the server wants; leases stay long, so that a machine that stands
still for a while does not end them."""


class ShiftedClock(SystemClock):
    """The machine's clock, and how much later the test says it is."""

    def __init__(self) -> None:
        self.later = 0.0

    def elapsed(self) -> float:
        return super().elapsed() + self.later


class RunningWorker:
    """A worker in this process, through its own `main`."""

    def __init__(self, config: WorkerConfig) -> None:
        assert config.worker_id
        self.id = config.worker_id
        self.executor = PuppetExecutor()
        self.shutdown = Shutdown()
        self.clock = ShiftedClock()
        self.task = asyncio.create_task(run_worker(config, made(self.executor), self.shutdown, self.clock))

    async def exit_code(self, within: float = 60.0) -> int:
        async with asyncio.timeout(within):
            return await self.task


def config(stage: Stage, directory: Path, **changes: object) -> WorkerConfig:
    values = {
        "worker_name": "one",
        "worker_id": "wrk_one",
        "worker_type": "bugfix",
        "api_url": stage.proxy.url,
        "api_key": stage.worker_key,
        "workspace_dir": directory / "work",
        "poll_interval": 2.0,
        **changes,
    }
    return WorkerConfig.model_validate(values)


@asynccontextmanager
async def working(stage: Stage, directory: Path, **changes: object) -> AsyncIterator[RunningWorker]:
    worker = RunningWorker(config(stage, directory, **changes))
    try:
        yield worker
    finally:
        worker.shutdown.stop()
        await asyncio.wait({worker.task}, timeout=60)
        assert worker.task.done()


async def idle(here: Stage) -> None:
    """Until the worker is in its long poll."""
    await eventually(lambda: here.proxy.count("/claim"))
