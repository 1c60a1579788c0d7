"""What claims go by, looked at without claiming: who is there, and which kinds of orders nobody has taken."""

from dataclasses import dataclass
from types import MappingProxyType

from agentvine.domain.key import Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.task import QUEUES
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import WorkerType
from agentvine.store.listings import SCOPED, Slice
from agentvine.store.rows import json_value, strings
from agentvine.store.unit import Unit
from agentvine.store.work_orders import LEVELS, requires_text


@dataclass(frozen=True, slots=True)
class Wanting:
    """Claimable orders that are alike to whoever may claim them."""

    type: WorkerType
    repository: str
    level: PermissionLevel
    requires: frozenset[str]
    orders: int = 1
    queue: str | None = None
    """None: they may be in several."""


@dataclass(frozen=True, slots=True)
class Present:
    """A worker that takes orders."""

    type: WorkerType
    specializations: frozenset[str]
    free: bool
    account: str
    scope: Scope


_KINDS = MappingProxyType(
    {
        dialect: f"""
    SELECT o.type, o.repository, o.permission, o.requires, COUNT(*) AS orders FROM work_orders o
    WHERE o.claimable = 1 AND {scoped}
    GROUP BY o.type, o.repository, o.permission, o.requires
    ORDER BY orders DESC, o.type, o.repository LIMIT :most"""  # noqa: S608  constants only
        for dialect, scoped in SCOPED.items()
    }
)


def wanting(unit: Unit, part: Slice, most: int) -> list[Wanting]:
    """The kinds of orders of this part that could be claimed, those with the most orders first."""
    rows = unit.all(_KINDS[unit.dialect], scope=part.scope, types=part.types_scope, most=most)
    return [
        Wanting(
            WorkerType(row["type"]),
            row["repository"],
            LEVELS[row["permission"]],
            frozenset(json_value(row["requires"])) if row["requires"] else frozenset(),
            int(row["orders"]),
        )
        for row in rows
    ]


def wanting_of(order: WorkOrder) -> Wanting:
    """One order, as what it looks like to whoever may claim it."""
    requires = frozenset(order.specializations)
    return Wanting(order.type, order.repository, order.permission_level, requires, queue=order.queue)


def first_rest_usd(unit: Unit, wanting: Wanting) -> float:
    """What that one of them may still cost that a claim comes to first; of one order, the first up to its queue."""
    for queue in QUEUES:
        row = unit.one(
            """SELECT budget_usd - spent_usd AS rest_usd FROM work_orders
               WHERE claimable = 1 AND type = :type AND queue = :queue AND repository = :repository
                 AND permission = :rank AND requires = :requires
               ORDER BY front DESC, priority DESC, created_at, id LIMIT 1""",
            type=wanting.type.value,
            queue=queue,
            repository=wanting.repository,
            rank=wanting.level.rank,
            requires=requires_text(tuple(wanting.requires)),
        )
        if row is not None:
            return float(row["rest_usd"])
        if queue == wanting.queue:
            break
    return 0.0


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
