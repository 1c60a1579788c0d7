"""The faults of a run, drawn from its seed: the same seed, the same faults at the same moments."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from agentvine.kit import failpoints

_ROOT = {
    "kill a worker": 6,
    "freeze a worker": 4,
    "suspend a host": 1,
    "server's clock is set": 2,
    "workers' clock is set": 1,
    "drain a worker": 2,
    "failpoint in a worker": 8,
    "freeze before a report": 5,
    "kill the server": 2,
    "freeze the server": 1,
    "failpoint in the server": 4,
    "kill the broker": 1,
    "flush the broker": 3,
    "broker out of reach": 1,
    "broker slow": 1,
    "broker half-answers": 1,
    "broker out of memory": 1,
    "broker read-only": 1,
    "server out of reach": 2,
    "replies lost": 3,
    "requests repeated": 3,
    "network slow": 2,
    "database locked": 2,
    "database restarted": 1,
    "database connections ended": 2,
    "server's disk full": 1,
    "workers' disk full": 1,
    "remote fails": 2,
    "remote loses replies": 2,
    "remote hangs": 1,
    "remote moved": 1,
    "remote rejects": 1,
    "somebody pushes": 3,
    "forge misbehaves": 3,
}
"""How often each kind comes, in proportion."""
KINDS = tuple(_ROOT)
POSTGRESQL = frozenset({"database restarted", "database connections ended"})
"""For which there has to be a server."""
DISKS = frozenset({"server's disk full", "workers' disk full"})
"""For which there have to be small disks."""
CLOCKS = frozenset({"server's clock is set", "workers' clock is set"})
_AHEAD = (-7200.0, -30.0, 30.0, 7200.0)
"""Seconds by which a clock is set wrong, before it is set right again."""
ENDINGS = frozenset({"kill the server", "failpoint in the server", "kill the broker"})
"""After which the server or the broker is another process."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, when (seconds after the start), to whom, and how long it lasts."""

    at: float
    kind: str
    worker: int
    seconds: float
    failpoint: str = ""
    ahead: float = 0.0
    """By how many seconds a clock is wrong."""

    def __str__(self) -> str:
        what = self.failpoint or (f"{self.seconds:.1f} s" if self.seconds else "")
        what += f", {self.ahead:+.0f} s" if self.ahead else ""
        return f"{self.at:7.2f}  {self.kind}  {what}"


def schedule(
    seed: int, seconds: float, workers: int, lease: float, every: float, without: frozenset[str] = frozenset()
) -> Sequence[Fault]:
    """All faults of a run; on the average one in `every` seconds."""
    random = Random(seed)
    faults, at = [], 1.0
    kinds = {kind: often for kind, often in _ROOT.items() if kind not in without}
    while (at := at + random.expovariate(1 / every)) < seconds:
        kind = random.choices(list(kinds), weights=list(kinds.values()))[0]
        ahead = random.choice(_AHEAD) if kind in CLOCKS else 0.0
        whom, lasts = random.randrange(workers), _lasts(kind, random, lease)
        faults.append(Fault(at, kind, whom, lasts, _failpoint(kind, random), ahead))
    return faults


def _lasts(kind: str, random: Random, lease: float) -> float:
    if kind in {"freeze a worker", "suspend a host"}:
        return lease * random.uniform(0.3, 2.5)
    if kind == "server out of reach":
        return lease * random.uniform(0.2, 1.5)
    return random.uniform(0.5, 4.0)


def _failpoint(kind: str, random: Random) -> str:
    if kind == "freeze before a report":
        return "report.before:stop"
    if kind == "failpoint in a worker":
        point = random.choice(failpoints.WORKER_POINTS)
        action = random.choice(
            ["kill9", "stop", "delay=2", *sorted(failpoints.POINTS[point] & {"error", "reply_lost"})]
        )
        return f"{point}:{action}"
    if kind == "failpoint in the server":
        point = random.choice(failpoints.SERVER_POINTS)
        action = random.choice(["kill9", "delay=1", *sorted(failpoints.POINTS[point] & {"error", "reply_lost"})])
        return f"{point}:{action}:n={random.randint(1, 5)}"
    return ""
