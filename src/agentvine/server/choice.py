"""Which order a worker gets next."""

from dataclasses import dataclass, field
from datetime import datetime

from agentvine.domain.key import Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.store import repositories, work_orders
from agentvine.store.rows import json_value
from agentvine.store.unit import Dialect, Row, Unit
from agentvine.store.work_orders import Obstacles, Wanted
from agentvine.store.workers import Claimer


@dataclass(slots=True)
class Search:
    """One worker's search: its queues strictly in their order; in each, by priority, then by age.

    What was parked or lost goes before all others of its queue. What stands in the way (a repository with enough
    running, a specialization that the worker lacks) is learnt from the first order that shows it, and from then on
    passed over inside the query.
    """

    claimer: Claimer
    scope: Scope
    queues: tuple[str, ...]
    repository_concurrency: int
    now: datetime
    _obstacles: Obstacles = field(default_factory=Obstacles)

    def next(self, unit: Unit) -> Row | None:
        """The best order there is now, locked, joined with its task; None if there is none."""
        wanted = Wanted(self.claimer.worker_type, self.scope.permission_level.rank, self.scope.repositories or None)
        for queue in self.queues:
            row = self._first(unit, wanted, queue)
            if row is not None:
                return row
        return None

    def _first(self, unit: Unit, wanted: Wanted, queue: str) -> Row | None:
        while row := work_orders.first_claimable(unit, wanted, queue, self._obstacles, lock=False):
            if self._fits(unit, row, row["running"]):
                if unit.dialect is Dialect.SQLITE:
                    return row
                # Only now, knowing the obstacles: to lock an order that does not fit would hide it from others.
                row = work_orders.first_claimable(unit, wanted, queue, self._obstacles, lock=True)
                if row is None or self._still_fits(unit, row):
                    return row
        return None

    def _fits(self, unit: Unit, row: Row, running: int) -> bool:
        requires: str = row["requires"]
        if requires and not set(json_value(requires)) <= set(self.claimer.specializations):
            self._obstacles.beyond.append(requires)
            return False
        if row["known_as"] is not None:
            return self._allowed(unit, row)
        if running >= self.repository_concurrency:
            self._obstacles.full.append(row["repository"])
            return False
        return True

    def _allowed(self, unit: Unit, row: Row) -> bool:
        """What an operator says of its repository goes before the rule for all."""
        known_as, said = row["known_as"], json_value(row["said"])
        level, most = said.get("permission_level"), said.get("budget_per_day_usd")
        if level is not None and row["permission"] > PermissionLevel(level).rank:
            repositories.lower(unit, known_as, PermissionLevel(level).rank)  # submitted while this was being said
            return False
        full = repositories.running(unit, known_as) >= (said.get("concurrency") or self.repository_concurrency)
        rest = row["budget_usd"] - row["spent_usd"]
        if full or (most is not None and not repositories.day(unit, known_as, self.now).affords(most, rest)):
            self._obstacles.full.append(row["repository"])
            return False
        return True

    def _still_fits(self, unit: Unit, row: Row) -> bool:
        repositories.lock(unit, row["known_as"] or row["repository"])
        return self._fits(unit, row, work_orders.running_in(unit, row["repository"]))
