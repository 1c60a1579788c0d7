"""What an operator's word on a repository allows an order of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import inf

from agentvine.domain.repository_settings import RepositoryRules
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.work_order import WorkOrder
from agentvine.store import repositories, work_orders
from agentvine.store.unit import Unit


@dataclass(frozen=True, slots=True)
class Allowance:
    """What goes with an order that is handed out."""

    rules: RepositoryRules | None = None
    left_usd: float = inf
    """What its repository may still cost today, beside what its other orders that run were promised."""


def allowance(unit: Unit, order: WorkOrder, now: datetime) -> Allowance:
    """What is allowed now."""
    known = repositories.of(unit, order.repository)
    if known is None:
        return Allowance()
    settings = known.repository.settings
    most = settings.budget_per_day_usd
    left = inf if most is None else repositories.day(unit, known.repository.id, now, but=order.id).left_usd(most)
    return Allowance(settings.rules, left)


def till_the_day_affords_it(
    unit: Unit, order: WorkOrder, began: datetime, spent_usd: float, now: datetime
) -> Failure | None:
    """What to make of a running order that spent all it was given: None if that was its own budget.

    Else it was what was left of the day on which it `began`, as the operator's word was then, and the order goes on:
    at once where the day or the word is another now, else when the day is over. `spent_usd`: by all its executions.
    """
    known = repositories.of(unit, order.repository)
    budget_usd = work_orders.budget_usd(unit, order.id)
    if known is None or spent_usd >= budget_usd:
        return None
    if repositories.day_of(began) < repositories.day_of(now) or began < known.repository.updated_at:
        detail = (
            f"its repository had less left for it when it began (agentvine repo show {order.repository}); it goes on"
        )
        return Failure(reason=FailureReason.REPOSITORY_BUDGET, detail=detail)
    if allowance(unit, order, now).left_usd >= budget_usd - order.spent_usd:
        return None
    midnight = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
    return Failure(
        reason=FailureReason.REPOSITORY_BUDGET,
        detail=f"its repository has cost today what it may (agentvine repo show {order.repository}); it goes on at "
        f"{midnight:%Y-%m-%d %H:%M} UTC",
        retry_after_seconds=(midnight - now).total_seconds(),
    )
