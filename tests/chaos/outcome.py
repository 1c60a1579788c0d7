"""What a run is to be, what came of it, and how a person is told."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agentvine.testing.git_server import GitServer
from tests.chaos.ground import Ground
from tests.chaos.history import Violation, check
from tests.chaos.ledger import Ledger

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be."""

    seed: int
    seconds: float
    workers: int = 4
    servers: int = 1
    """With more than one they share a port and a database."""
    every: float = 2.0
    """Seconds from one fault to the next, on the average."""
    in_flight: int = 6
    """How many orders are under way at once."""
    lease: float = 4.0
    claude: bool = True
    """One more worker with the real CLI."""
    planted: bool = False
    """The server believes workers that have lost their lease."""
    small_disks: bool = False
    """Server and workers have small disks, for which the run has to have mounts of its own."""
    lasting: bool = False
    """Neither the server nor the broker nor the first worker is ever ended, so that what they leak adds up."""
    rest: float = 0.0
    """Seconds after an order is submitted in which none is."""
    misbehaving: bool = True
    """Some of the agents do not do as they should."""
    without: frozenset[str] = frozenset()
    """Kinds of faults that it shall not have: after some it takes long until an order is tried again."""
    patience: float = 660.0
    """Seconds that everything has to end after the last fault: an order that failed often waits up to 600 s."""

    def slow(self, seconds: float) -> "Plan":
        """The same for long, with few orders and few faults."""
        few = replace(self, seconds=seconds, every=10.0, workers=3, in_flight=2, rest=10.0, lease=8.0)
        return replace(few, lasting=True, small_disks=False)

    def spares(self, worker: str) -> bool:
        """True if this worker is not to be ended."""
        return self.lasting and worker == "w0"


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
    agents: Counter[str] = field(default_factory=Counter)
    """How often a stand-in was told to misbehave."""
    left_out: list[str] = field(default_factory=list)
    """Kinds of faults that this run does not have."""
    claims: int = 0
    claude: int = 0
    pulls: int = 0
    seconds: float = 0.0


def recovered(ledger: Ledger, deaths: Sequence[tuple[float, str]]) -> list[float]:
    """Seconds from the death of a worker to the next claim of what it held, for each order that it held."""
    lost = ledger.rows(
        """SELECT e.worker_id, e.started_at / 1e6 AS began, e.ended_at / 1e6 AS ended,
                  (SELECT MIN(n.started_at) / 1e6 FROM executions n
                   WHERE n.work_order_id = e.work_order_id AND n.lease_token = e.lease_token + 1) AS again
           FROM executions e WHERE e.outcome = 'lost'
             AND NOT EXISTS (SELECT 1 FROM events v WHERE v.execution_id = e.id AND v.kind = 'order.failed')"""
    )
    took = []
    for one in lost:
        began, ended = float(one["began"]), float(one["ended"])
        known = [at for at, dead in deaths if dead == one["worker_id"] and began <= at <= ended + 0.2]
        if known and one["again"] is not None:
            took.append(max(float(one["again"]) - known[-1], 0.0))
    return sorted(one for one in took if one < _HOUR)  # else a clock was wrong


async def judge(here: Ground, remotes: GitServer, result: Result) -> None:
    scene = here.scene(
        workspaces=(here.work, here.where / "work-claude"),
        statuses=dict(result.statuses),
        spared=frozenset({os.getpid()}),
        clock_was_set=result.faults["server's clock is set"] > 0,
    )
    scene = scene.but(remotes={**scene.remotes, remotes.url("remote.git"): here.remote})
    result.violations += await check(scene)
    if here.forge is not None:
        result.pulls = len(here.forge.forge.world.pulls)
        result.violations += [
            f"the forge was asked what it does not know: {one}" for one in here.forge.forge.violations
        ]
    with scene.ledger.look() as rows:
        orders = rows("SELECT status, failure FROM work_orders")
        result.claims = rows("SELECT COUNT(*) AS number FROM executions")[0]["number"]
    result.orders = Counter(one["status"] for one in orders)
    result.reasons += Counter(json.loads(one["failure"])["reason"] for one in orders if one["status"] == "failed")


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
        f"pull requests     {result.pulls}",
        f"killed with -9    {result.kills} by the schedule, and whoever came to a failpoint",
        f"faults            {sum(result.faults.values())}: {_counted(result.faults)}",
        f"not among them    {', '.join(result.left_out) or '-'}",
        f"agents that       {_counted(result.agents) or 'behaved'}",
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
