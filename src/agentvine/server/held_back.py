"""Why nobody takes an order that could be claimed: what claims go by, in words. Computed when somebody looks; claims
themselves know nothing of it.

In which queues a worker looks is its own affair, and not known here.
"""

from datetime import datetime

from agentvine.domain.held_back import HeldBack, Obstacle, WaitsFor
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.store import held_back, model_limits, repositories, work_orders
from agentvine.store.held_back import Present, Wanting
from agentvine.store.listings import Slice
from agentvine.store.repositories import Known
from agentvine.store.rows import micros
from agentvine.store.unit import Unit

_MOST_KINDS = 200


class Obstacles:
    """Looks once at who is there, and says then of any order what it waits for."""

    def __init__(self, unit: Unit, now: datetime, repository_concurrency: int) -> None:
        self._unit = unit
        self._now = now
        self._concurrency = repository_concurrency
        self._present = held_back.present(unit, micros(now))
        self._limits = {limit.account: limit.until for limit in model_limits.lasting(unit, now)}
        self._known: dict[str, Known | None] = {}
        self._running: dict[str, int] = {}

    def of_order(self, order: WorkOrder) -> tuple[WaitsFor, ...]:
        """Nothing for an order that cannot be claimed yet, or not any more: what it waits for is said elsewhere."""
        if order.status is not OrderStatus.PENDING or order.blocked_by:
            return ()
        if order.not_before is not None and order.not_before > self._now:
            return ()
        return self._of(held_back.wanting_of(order))

    def everywhere(self, part: Slice) -> tuple[HeldBack, ...]:
        """Of the kinds of orders that wait in this part. That all who may take them are busy is no obstacle: there is
        more work than hands, and the queues say so."""
        found = []
        for wanting in held_back.wanting(self._unit, part, _MOST_KINDS):
            if waits_for := [one for one in self._of(wanting) if one.reason != "slot"]:
                shown = {"type": wanting.type, "repository": wanting.repository, "orders": wanting.orders}
                found.append(HeldBack.model_validate({**shown, "waits_for": waits_for}))
        return tuple(found)

    def _of(self, wanting: Wanting) -> tuple[WaitsFor, ...]:
        return tuple(one for one in (self._worker(wanting), self._repository(wanting)) if one is not None)

    # ── whoever could take it ────────────────────────────────────────────────────────────────────────────────────

    def _worker(self, wanting: Wanting) -> WaitsFor | None:
        there = [one for one in self._present if one.type is wanting.type]
        if not there:
            return _waits("worker", f"a worker of the type {wanting.type.value}: none is there")
        there = [one for one in there if _reaches(one, wanting)]
        if not there:
            level, type_ = wanting.level.value, wanting.type.value
            return _waits(
                "key", f"a {type_} worker whose key is for this repository and the level {level}: none is there"
            )
        there = [one for one in there if wanting.requires <= one.specializations]
        if not there:
            return _waits("capability", f"a worker with {', '.join(sorted(wanting.requires))}: none is there")
        asking = [one for one in there if one.account not in self._limits]
        if not asking:
            until = min(self._limits[one.account] for one in there)
            return _waits("model", f"the model: its limit lasts until {until:%Y-%m-%d %H:%M} UTC (agentvine queue)")
        if not any(one.free for one in asking):
            return _waits("slot", f"a free slot: whoever may take it is busy ({len(asking)})")
        return None

    # ── its repository ───────────────────────────────────────────────────────────────────────────────────────────

    def _repository(self, wanting: Wanting) -> WaitsFor | None:
        url = wanting.repository
        known = self._known_at(url)
        settings = known.repository.settings if known is not None else None
        most = settings.concurrency if settings is not None else None
        running = self._running_in(url, known)
        if running >= (most or self._concurrency):
            return _waits("repository", f"its repository: {running} of its tasks run, as many as may at once")
        budget = settings.budget_per_day_usd if settings is not None else None
        if known is None or budget is None:
            return None
        day = repositories.day(self._unit, known.repository.id, self._now)
        if day.affords(budget, held_back.first_rest_usd(self._unit, wanting)):
            return None
        spent = f"its repository has cost {day.spent_usd:.2f} of {budget:.2f} dollars today"
        if day.running and day.left_usd(budget) + day.held_usd > 0:
            held = f"{spent}, and what runs may cost {day.held_usd:.2f}: less is left than the next may cost"
            return _waits("budget", f"{held}; it begins when something ends, or after midnight (UTC)")
        return _waits("budget", f"{spent}; it begins after midnight (UTC), or with a larger --budget-per-day")

    def _known_at(self, url: str) -> Known | None:
        if url not in self._known:
            self._known[url] = repositories.of(self._unit, url)
        return self._known[url]

    def _running_in(self, url: str, known: Known | None) -> int:
        if url not in self._running:
            unit = self._unit
            count = repositories.running(unit, known.repository.id) if known else work_orders.running_in(unit, url)
            self._running[url] = count
        return self._running[url]


def _reaches(worker: Present, wanting: Wanting) -> bool:
    scope = worker.scope
    return (
        wanting.level.rank <= scope.permission_level.rank
        and (not scope.worker_types or wanting.type in scope.worker_types)
        and (not scope.repositories or wanting.repository in scope.repositories)
    )


def _waits(reason: Obstacle, detail: str) -> WaitsFor:
    return WaitsFor(reason=reason, detail=detail)
