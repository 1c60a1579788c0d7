"""An hour of faults at low load, in which whatever leaks adds up: memory, descriptors, threads, disk, processes.

Neither the server nor the broker nor the first worker is ended meanwhile, but everything else is done to them.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.kit.doorbell import pause
from tests.chaos.fleet import Fleet
from tests.chaos.history import processes

_MIB = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TOGETHER = 10
"""Looks of which the lowest counts."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a figure may grow, by its own straight line over the last two thirds of the run."""

    part: float
    """Of what it was on the average."""
    least: float
    """Less than this is no growth, whatever part of the whole it is."""


_MEMORY = Bound(0.10, 8.0)
_FEW = Bound(0.10, 3.0)
BOUNDS: Mapping[str, Bound] = {
    "server memory MiB": _MEMORY,
    "server descriptors": _FEW,
    "server threads": _FEW,
    "worker memory MiB": _MEMORY,
    "worker descriptors": _FEW,
    "worker threads": _FEW,
    "broker memory MiB": _MEMORY,
    "broker descriptors": _FEW,
    "processes": _FEW,
    "disk, executions MiB": Bound(0.10, 4.0),
}
"""What has to stay flat."""
GROWS = ("disk, server MiB", "disk, mirrors MiB")
"""What grows with every order, by what is kept of it."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure over the last two thirds of a run, and the straight line that fits it best."""

    name: str
    least: float
    average: float
    most: float
    growth: float
    """From the beginning to the end of that line, which goes through the lowest of every few."""

    @property
    def flat(self) -> bool:
        bound = BOUNDS.get(self.name)
        return bound is None or self.growth <= max(bound.part * self.average, bound.least)

    def __str__(self) -> str:
        verdict = "grows with the orders" if self.name in GROWS else "flat" if self.flat else "GROWS"
        figures = f"{self.least:8.1f} {self.average:8.1f} {self.most:8.1f} {self.growth:+8.2f}"
        return f"{self.name:24}{figures}  {verdict}"


@dataclass(slots=True)
class Samples:
    """What was seen, and when."""

    kept: Path
    """The file that gets a line for each look."""
    every: float = 10.0
    times: list[float] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)

    async def watch(self, fleet: Fleet) -> None:
        """Look every few seconds, until cancelled."""
        while "w0" not in fleet.workers:
            await pause(0.1)
        broker = next(pid for pid in processes((str(fleet.here.where),)) if _comm(pid) == "valkey-server")
        while True:
            with suppress(OSError):  # something ended while it was looked at: the next time, then
                row = _look(fleet, broker)
                self.times.append(time.monotonic())
                self.rows.append(row)
                with self.kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"at": self.times[-1], **row}) + "\n")
            await pause(self.every)

    def trends(self) -> list[Trend]:
        """Of every figure that was seen often enough."""
        first = len(self.rows) // 3
        times, rows = self.times[first:], self.rows[first:]
        if len(rows) < 4 * _TOGETHER:
            return []
        return [trend(name, times, [row[name] for row in rows]) for name in (*BOUNDS, *GROWS)]

    def __str__(self) -> str:
        minutes = (self.times[-1] - self.times[0]) / 60 if self.times else 0.0
        head = f"{len(self.rows)} samples in {minutes:.0f} minutes; of the last two thirds:"
        columns = f"{'':24}{'least':>8} {'average':>8} {'most':>8} {'growth':>8}"
        return "\n".join([head, columns, *map(str, self.trends())])


def trend(name: str, times: Sequence[float], values: Sequence[float]) -> Trend:
    """Least squares through the lowest of every few: what leaks is there also when nothing is done, while what an
    order takes comes and goes, and stays longer when the machine is busy."""
    begins = range(0, len(values) - _TOGETHER + 1, _TOGETHER)
    floors = [min(values[begin : begin + _TOGETHER]) for begin in begins]
    moments = [times[begin] for begin in begins]
    middle, average = sum(moments) / len(moments), sum(floors) / len(floors)
    spread = sum((at - middle) ** 2 for at in moments)
    slope = sum((at - middle) * (value - average) for at, value in zip(moments, floors, strict=True)) / spread
    growth = slope * (times[-1] - times[0])
    return Trend(name, min(values), sum(values) / len(values), max(values), growth)


def _look(fleet: Fleet, broker: int) -> dict[str, float]:
    here, worker = fleet.here, fleet.workers["w0"]
    row: dict[str, float] = {}
    for name, pid in (("server", here.server.pid), ("worker", worker.pid), ("broker", broker)):
        entry = Path(f"/proc/{pid}")
        row[f"{name} memory MiB"] = int((entry / "statm").read_text().split()[1]) * _PAGE / _MIB
        row[f"{name} descriptors"] = len(list((entry / "fd").iterdir()))
        row[f"{name} threads"] = len(list((entry / "task").iterdir()))
    row["processes"] = len(processes((str(here.where),)))
    row["disk, executions MiB"] = _size(here.work / "executions")
    row["disk, mirrors MiB"] = _size(here.work) - row["disk, executions MiB"]
    row["disk, server MiB"] = _size(here.data)
    return row


def _comm(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return ""


def _size(folder: Path) -> float:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(where) / name).lstat().st_blocks * 512
    return total / _MIB
