"""A worker as a process, under real signals."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from agentvine.domain.execution import Outcome
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from agentvine.kit.process import Running, spawn
from agentvine.testing.eventually import eventually
from agentvine.testing.stage import Stage, stage
from agentvine.worker.main import EXIT_STUCK

WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
from agentvine.kit.doorbell import pause
from agentvine.kit.process import spawn
from agentvine.kit.shutdown import Shutdown, on_signals
from agentvine.testing.stage import made
from agentvine.worker.main import run_worker
from agentvine.worker.settings import WorkerConfig

class Scribe:
    '''Writes a line every now and then, if it may; falls asleep just before when it is told to.'''
    async def execute(self, claimed, progress):
        page, sleep_now = Path(sys.argv[1]), Path(sys.argv[1] + ".sleep")
        async with await spawn(["sleep", f"600.{os.getpid()}"], cwd=None, env={"PATH": "/usr/bin:/bin"}, guarded=True):
            while True:
                if sleep_now.exists():
                    sleep_now.unlink()
                    os.kill(os.getpid(), signal.SIGSTOP)
                progress.ensure_held()
                with page.open("a") as lines:
                    lines.write(claimed.lease.execution_id + "\\n")
                await pause(0.02)

class Stubborn(Scribe):
    '''Cannot be stopped.'''
    async def execute(self, claimed, progress):
        while True:
            try:
                return await super().execute(claimed, progress)
            except asyncio.CancelledError:
                pass

async def main():
    shutdown = Shutdown()
    with on_signals(shutdown):
        executor = globals()[sys.argv[2]]()
        return await run_worker(WorkerConfig.load(dict(os.environ)), made(executor), shutdown)

sys.exit(asyncio.run(main()))
"""


@asynccontextmanager
async def process(stage: Stage, directory: Path, name: str = "one", executor: str = "Scribe") -> AsyncIterator[Running]:
    """A worker whose executor writes to `directory/page-NAME`."""
    settings = {
        "WORKER_NAME": name,
        "WORKER_ID": f"wrk_{name}",
        "WORKER_TYPE": "bugfix",
        "API_URL": stage.proxy.url,
        "API_KEY": stage.worker_key,
        "WORKSPACE_DIR": str(directory / "work"),
        "POLL_INTERVAL": "60",
        "HEARTBEAT_INTERVAL": "300",
    }
    argv = [sys.executable, "-c", WORKER, str(directory / f"page-{name}"), executor]
    async with await spawn(argv, cwd=None, env=settings, output=directory / f"{name}.log") as running:
        yield running


def written(directory: Path, name: str = "one") -> list[str]:
    page = directory / f"page-{name}"
    return page.read_text().splitlines() if page.exists() else []


def asleep(pid: int) -> list[int]:
    """The processes that executions of the worker `pid` have started, wherever they are now."""
    processes = psutil.process_iter(["cmdline"])
    return [process.pid for process in processes if process.info["cmdline"] == ["sleep", f"600.{pid}"]]


async def exit_code(worker: Running) -> int:
    async with asyncio.timeout(60):
        return await worker.wait()


async def test_sigterm_ends_an_idle_worker_without_waiting_for_anything(tmp_path: Path) -> None:
    """Neither for the answer to its claim, which does not come, nor for a heartbeat; `make chaos` has the seconds."""
    async with stage(tmp_path) as here, process(here, tmp_path) as worker:
        here.proxy.hold_answers("/claim")
        await eventually(lambda: here.proxy.count("/claim"))
        os.kill(worker.pid, signal.SIGTERM)
        assert await exit_code(worker) == 0
        assert (await here.desk.worker("wrk_one")).status is WorkerStatus.OFFLINE


async def test_a_second_sigterm_stops_a_busy_worker_and_its_processes(tmp_path: Path) -> None:
    async with stage(tmp_path) as here, process(here, tmp_path) as worker:
        task = await here.submit()
        await eventually(lambda: written(tmp_path))
        os.kill(worker.pid, signal.SIGTERM)
        await eventually(lambda: b"finishing what runs" in (tmp_path / "one.log").read_bytes())
        so_far = len(written(tmp_path))
        await eventually(lambda: len(written(tmp_path)) > so_far)  # the first one lets it work on
        os.kill(worker.pid, signal.SIGTERM)
        assert await exit_code(worker) == 0
        assert asleep(worker.pid) == []
        order = await here.until(task, OrderStatus.PENDING)
        assert (order.charged, order.workers_lost) == (0, 0)


async def test_a_worker_that_was_frozen_touches_nothing_after_it_lost_its_order(tmp_path: Path) -> None:
    async with stage(tmp_path, lease_seconds=12.0) as here, process(here, tmp_path) as zombie:
        task = await here.submit()
        await eventually(lambda: written(tmp_path))
        (tmp_path / "page-one.sleep").touch()
        await eventually(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED)
        frozen_at = len(written(tmp_path))
        async with process(here, tmp_path, "two"):
            await eventually(lambda: written(tmp_path, "two"))
            os.kill(zombie.pid, signal.SIGCONT)
            await eventually(lambda: b"not ours any more" in (tmp_path / "one.log").read_bytes())
            assert len(written(tmp_path)) == frozen_at
            detail = await here.desk.task(task.id)
            assert [one.outcome for one in detail.executions if one.worker_id == "wrk_one"] == [Outcome.LOST]
            assert detail.order.lease is not None
            assert detail.order.lease.worker_id == "wrk_two"


async def test_an_execution_that_cannot_be_stopped_does_not_keep_the_worker_alive(tmp_path: Path) -> None:
    async with stage(tmp_path) as here, process(here, tmp_path, executor="Stubborn") as worker:
        task = await here.submit()
        await eventually(lambda: written(tmp_path))
        await eventually(lambda: asleep(worker.pid))
        os.kill(worker.pid, signal.SIGTERM)
        await eventually(lambda: b"finishing what runs" in (tmp_path / "one.log").read_bytes())
        os.kill(worker.pid, signal.SIGTERM)
        assert await exit_code(worker) == EXIT_STUCK
        await here.until(task, OrderStatus.PENDING)
        await eventually(lambda: not asleep(worker.pid))
