"""What a run is to be, what came of it, and how a person is told."""

import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.testing.git_server import GitServer
from tests.chaos.ground import Ground
from tests.chaos.history import Violation, check


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be."""

    seed: int
    seconds: float
    workers: int = 4
    every: float = 2.0
    """Seconds from one fault to the next, on the average."""
    in_flight: int = 6
    """How many orders are under way at once."""
    lease: float = 4.0
    claude: bool = True
    """One more worker with the real CLI."""
    planted: bool = False
    """The server believes workers that have lost their lease."""
    patience: float = 660.0
    """Seconds that everything has to end after the last fault: an order that failed often waits up to 600 s."""


@dataclass(slots=True)
class Result:
    """What came of it."""

    plan: Plan
    violations: list[Violation | str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    recovered: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    network: Counter[str] = field(default_factory=Counter)
    claims: int = 0
    claude: int = 0
    seconds: float = 0.0


def recovered(database: Path, deaths: Sequence[tuple[float, str]]) -> list[float]:
    """Seconds from the death of a worker to the next claim of what it held, for each order that it held."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        lost = connection.execute(
            """SELECT e.worker_id, e.started_at / 1e6, e.ended_at / 1e6,
                      (SELECT MIN(n.started_at) / 1e6 FROM executions n
                       WHERE n.work_order_id = e.work_order_id AND n.lease_token = e.lease_token + 1)
               FROM executions e WHERE e.outcome = 'lost'
                 AND NOT EXISTS (SELECT 1 FROM events v WHERE v.execution_id = e.id AND v.kind = 'order.failed')"""
        ).fetchall()
    connection.close()
    took = []
    for worker, began, ended, again in lost:
        known = [at for at, dead in deaths if dead == worker and began <= at <= ended + 0.2]
        if known and again is not None:
            took.append(max(again - known[-1], 0.0))
    return sorted(took)


async def judge(here: Ground, remotes: GitServer, result: Result) -> None:
    scene = here.scene(
        remotes={str(here.remote): here.remote, remotes.url("remote.git"): here.remote},
        workspaces=(here.work, here.where / "work-claude"),
        statuses=dict(result.statuses),
        spared=frozenset({os.getpid()}),
    )
    result.violations += await check(scene)
    with sqlite3.connect(f"file:{scene.database}?mode=ro", uri=True) as connection:
        result.orders = Counter(dict(connection.execute("SELECT status, COUNT(*) FROM work_orders GROUP BY status")))
        reasons = connection.execute(
            "SELECT json_extract(failure, '$.reason') FROM work_orders WHERE status = 'failed'"
        )
        result.reasons += Counter(reason for (reason,) in reasons)
        result.claims = connection.execute("SELECT COUNT(*) FROM executions").fetchone()[0]
    connection.close()


def summary(result: Result) -> str:
    """What a person reads at the end."""
    broken = Counter(one.invariant if isinstance(one, Violation) else "?" for one in result.violations)
    times = result.recovered
    lines = [
        f"seed {result.plan.seed}, {result.plan.seconds:g} s of faults, {result.seconds:.0f} s in all",
        f"orders            {sum(result.orders.values())}: {_counted(result.orders)}",
        f"claims            {result.claims}",
        f"failures          {_counted(result.reasons) or '-'}",
        f"with the real CLI {result.claude}",
        f"killed with -9    {result.kills} by the schedule, and whoever came to a failpoint",
        f"faults            {sum(result.faults.values())}: {_counted(result.faults)}",
        f"network           {_counted(result.network)}",
        f"answers           {_counted(result.statuses)}",
        f"recovered         {len(times)} orders of dead workers; p50 {_part(times, 0.5)}, p95 {_part(times, 0.95)}",
        f"lost              {broken['I1']}",
        f"duplicated        {broken['I2'] + broken['I4']}",
        f"late writes taken {broken['I3']}",
        f"orphan processes  {broken['I7']}",
        f"broken in all     {len(result.violations)}",
    ]
    return "\n".join([*lines, *map(str, result.violations)])


def _counted(counter: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items(), key=str))


def _part(sorted_times: Sequence[float], part: float) -> str:
    return f"{sorted_times[min(int(len(sorted_times) * part), len(sorted_times) - 1)]:.1f} s" if sorted_times else "-"
