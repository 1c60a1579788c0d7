"""What claims go by, looked at without claiming: who is there, and which kinds of orders nobody has taken."""

from dataclasses import dataclass

from agentvine.domain.key import Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import WorkerType
from agentvine.store.rows import json_value, strings
from agentvine.store.unit import Unit
from agentvine.store.work_orders import LEVELS


@dataclass(frozen=True, slots=True)
class Wanting:
    """Claimable orders that are alike to whoever may claim them."""

    type: WorkerType
    repository: str
    level: PermissionLevel
    requires: frozenset[str]
    rest_usd: float
    """What the one that may cost least may still cost."""
    orders: int = 1


@dataclass(frozen=True, slots=True)
class Present:
    """A worker that takes orders."""

    type: WorkerType
    specializations: frozenset[str]
    free: bool
    account: str
    scope: Scope


def wanting(unit: Unit, most: int) -> list[Wanting]:
    """The kinds of orders that could be claimed, those with the most orders first."""
    rows = unit.all(
        """SELECT type, repository, permission, requires, COUNT(*) AS orders, MIN(budget_usd - spent_usd) AS rest_usd
           FROM work_orders WHERE claimable = 1
           GROUP BY type, repository, permission, requires ORDER BY orders DESC, type, repository LIMIT :most""",
        most=most,
    )
    return [
        Wanting(
            WorkerType(row["type"]),
            row["repository"],
            LEVELS[row["permission"]],
            frozenset(json_value(row["requires"])) if row["requires"] else frozenset(),
            float(row["rest_usd"]),
            int(row["orders"]),
        )
        for row in rows
    ]


def wanting_of(order: WorkOrder, budget_usd: float) -> Wanting:
    """One order, as what it looks like to whoever may claim it."""
    requires = frozenset(order.specializations)
    return Wanting(order.type, order.repository, order.permission_level, requires, budget_usd - order.spent_usd)


def present(unit: Unit, now: int) -> list[Present]:
    """The workers that take orders, with keys that are good at `now` (microseconds)."""
    rows = unit.all(
        """SELECT w.worker_type, w.specializations, w.slots, w.account, k.scope,
                  (SELECT COUNT(*) FROM work_orders o WHERE o.status = 'running' AND o.lease_worker = w.id) AS running
           FROM workers w JOIN keys k ON k.id = w.key_id
           WHERE w.status NOT IN ('offline', 'error') AND w.draining = 0
             AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > :now)""",
        now=now,
    )
    return [
        Present(
            WorkerType(row["worker_type"]),
            frozenset(strings(row["specializations"])),
            int(row["running"]) < int(row["slots"]),
            row["account"],
            Scope.model_validate_json(row["scope"]),
        )
        for row in rows
    ]
