"""How long it takes to end: an idle worker or server, what a cancelled order left running, a worker told twice."""

import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.domain.task import Task
from agentvine.testing.eventually import eventually
from tests.chaos.foundry import Born, Foundry
from tests.chaos.ground import Ground, Template, ground
from tests.chaos.history import processes

LIMITS: Mapping[str, float] = {
    "an idle worker ends": 1.0,
    "an idle server ends": 1.0,
    "cancelled: no process of it is left": 15.0,
    "told twice, a working worker ends": 15.0,
}
"""Seconds that each may take."""
_LEASE = 45.0
_STUBBORN = "says nothing and ignores SIGTERM"


@dataclass(slots=True)
class Timings:
    """Seconds, by what was waited for."""

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def sound(self) -> bool:
        """Nineteen in twenty are within the limit, of each kind."""
        return all(self.took[what] and _part(self.took[what], 0.95) <= most for what, most in LIMITS.items())

    def __str__(self) -> str:
        lines = [f"{'':38}{'runs':>5}{'p50':>9}{'p95':>9}{'most':>9}{'limit':>8}"]
        for what, most in LIMITS.items():
            times = self.took[what] or [float("nan")]
            figures = "".join(f"{_part(times, part):7.2f} s" for part in (0.5, 0.95, 1.0))
            lines.append(f"{what:38}{len(times):5}{figures}{most:6.0f} s")
        return "\n".join(lines)


async def leaving(runs: int, foundry: Foundry, template: Template, where: Path) -> Timings:
    """Measure each so many times, with a broker and the leases that workers have by default, one after the other."""
    timings = Timings()
    async with (
        ground(foundry, where, template, _LEASE) as here,
        EmbeddedBroker(where / "broker") as broker,
    ):
        for _ in range(runs):
            server = await here.start_server("", AGENTVINE_SERVER_REDIS_URL=broker.url)
            idle = await _worker(here, broker)
            await _measure(timings, "an idle worker ends", idle.leave)
            busy = await _worker(here, broker)
            doomed = await _at_work(here)
            await _measure(timings, "cancelled: no process of it is left", partial(_cancelled, here, doomed))
            task = await _at_work(here)
            busy.tell(signal.SIGTERM)
            await eventually(partial(_is, here, busy, "draining"), 60)
            await _measure(timings, "told twice, a working worker ends", partial(busy.leave, 60))
            await here.desk.cancel(task.id)
            await _measure(timings, "an idle server ends", server.leave)
            here.workers.clear()
    return timings


async def _measure(timings: Timings, what: str, done: Callable[[], Awaitable[object]]) -> None:
    began = time.monotonic()
    await done()
    timings.took[what].append(time.monotonic() - began)


async def _worker(here: Ground, broker: EmbeddedBroker) -> Born:
    """One that has nothing to do, and would give what it does ten minutes to end."""
    worker = await here.start_worker(REDIS_URL=broker.url, GRACE_SECONDS="600", HEARTBEAT_INTERVAL="5")
    await eventually(lambda: worker.log.exists() and b'"registered"' in worker.log.read_bytes(), 60)
    await eventually(partial(_is, here, worker, "idle"), 60)
    return worker


async def _at_work(here: Ground) -> Task:
    """An order whose agent has two processes, of which none heeds SIGTERM."""
    task = await here.submit({"misbehaves": _STUBBORN, "patience": 600.0})
    await eventually(lambda: len(_left(here)) > 1, 60)
    return task


async def _cancelled(here: Ground, task: Task) -> None:
    await here.desk.cancel(task.id)
    await eventually(lambda: not _left(here), 60)


async def _is(here: Ground, worker: Born, status: str) -> bool:
    return (await here.desk.worker(f"wrk_{worker.log.stem}")).status == status


def _left(here: Ground) -> list[str]:
    return [line for line in processes((str(here.work),)).values() if "misbehaving" in line]


def _part(times: list[float], part: float) -> float:
    return sorted(times)[min(int(len(times) * part), len(times) - 1)]
