"""Work orders, and the query that claims them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from agentvine.domain.permission import PermissionLevel
from agentvine.domain.retry import Failure
from agentvine.domain.work_order import Lease, OrderStatus, WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.store.rows import (
    build,
    json_text,
    json_value,
    micros,
    micros_or_none,
    model_or_none,
    model_text,
    moment,
    moment_or_none,
)
from agentvine.store.unit import Dialect, Row, Stale, Unit

LEVELS: Mapping[int, PermissionLevel] = MappingProxyType({level.rank: level for level in PermissionLevel})
_STATUSES = MappingProxyType({status.value: status for status in OrderStatus})
_TYPES = MappingProxyType({type_.value: type_ for type_ in TaskType})

_INSERT = """
    INSERT INTO work_orders (
        id, task_id, type, repository, branch, permission, queue, priority, requires, budget_usd, max_attempts,
        created_at, updated_at, status, claimable, blocked_by, front, attempts, forgiven, workers_lost, lease_token,
        spent_usd)
    VALUES (
        :id, :task_id, :type, :repository, :branch, :permission, :queue, :priority, :requires, :budget_usd,
        :max_attempts, :created_at, :created_at, 'pending', :claimable, :blocked_by, 0, 0, 0, 0, 0, 0)"""


def insert(unit: Unit, order: WorkOrder, budget_usd: float) -> None:
    """Keep a new order, which is pending."""
    unit.run(
        _INSERT,
        id=order.id,
        task_id=order.task_id,
        type=order.type.value,
        repository=order.repository,
        branch=order.branch,
        permission=order.permission_level.rank,
        queue=order.queue,
        priority=order.priority,
        requires=requires_text(order.specializations),
        budget_usd=budget_usd,
        max_attempts=order.max_attempts,
        created_at=micros(order.created_at),
        claimable=int(not order.blocked_by),
        blocked_by=order.blocked_by,
    )


def requires_text(specializations: Sequence[str]) -> str:
    """A set of specializations as one value: equal sets are equal texts. Empty for none."""
    return json_text(sorted(set(specializations))) if specializations else ""


def order_of(row: Row) -> WorkOrder:
    """The order that a row of this table, or of a join that begins with it, holds."""
    return build(
        WorkOrder,
        {
            "id": row["id"],
            "task_id": row["task_id"],
            "type": _TYPES[row["type"]],
            "repository": row["repository"],
            "branch": row["branch"],
            "permission_level": LEVELS[row["permission"]],
            "queue": row["queue"],
            "priority": row["priority"],
            "specializations": tuple(json_value(row["requires"])) if row["requires"] else (),
            "created_at": moment(row["created_at"]),
            "updated_at": moment(row["updated_at"]),
            "status": _STATUSES[row["status"]],
            "blocked_by": row["blocked_by"],
            "not_before": moment_or_none(row["not_before"]),
            "front": bool(row["front"]),
            "attempts": row["attempts"],
            "forgiven": row["forgiven"],
            "max_attempts": row["max_attempts"],
            "workers_lost": row["workers_lost"],
            "setbacks": row["setbacks"],
            "lease_token": row["lease_token"],
            "lease": _lease(row),
            "request_id": row["request_id"],
            "last_execution_id": row["last_execution_id"],
            "failure": model_or_none(Failure, row["failure"]),
            "spent_usd": row["spent_usd"],
        },
    )


def _lease(row: Row) -> Lease | None:
    if row["lease_worker"] is None:
        return None
    return build(
        Lease,
        {
            "work_order_id": row["id"],
            "token": row["lease_token"],
            "worker_id": row["lease_worker"],
            "execution_id": row["lease_execution"],
            "expires_at": moment(row["lease_expires"]),
        },
    )


# ── changing one ─────────────────────────────────────────────────────────────────────────────────────────────────


def save(unit: Unit, before: WorkOrder, after: WorkOrder) -> None:
    """Replace `before` by `after`. Raises `Stale` if `before` is not what is stored."""
    changes = _changes(before, after)
    changed = unit.run(
        _update(tuple(changes)),
        **changes,
        was_id=before.id,
        was_status=before.status.value,
        was_token=before.lease_token,
    )
    if changed != 1:
        raise Stale(before.id)


@lru_cache(maxsize=256)
def _update(columns: tuple[str, ...]) -> str:
    """Only what has changed is set: a column that is mentioned costs its indexes an update."""
    assignments = ", ".join(f"{column} = :{column}" for column in columns)
    return (
        f"UPDATE work_orders SET {assignments} WHERE id = :was_id AND status = :was_status AND lease_token = :was_token"  # noqa: S608  names of columns, from below
    )


_PLAIN = (
    "blocked_by",
    "attempts",
    "forgiven",
    "workers_lost",
    "setbacks",
    "lease_token",
    "request_id",
    "last_execution_id",
    "spent_usd",
)


def _changes(before: WorkOrder, after: WorkOrder) -> dict[str, object]:
    old, new = before.__dict__, after.__dict__
    changes: dict[str, object] = {name: new[name] for name in _PLAIN if old[name] != new[name]}
    changes["updated_at"] = micros(after.updated_at)
    if before.front != after.front:
        changes["front"] = int(after.front)
    if before.failure != after.failure:
        changes["failure"] = model_text(after.failure)
    if before.lease is not after.lease:
        _change_lease(before.lease, after.lease, changes)
    if before.not_before != after.not_before:
        changes["not_before"] = micros_or_none(after.not_before)
    if before.status is not after.status:
        changes["status"] = after.status.value
    if "status" in changes or "not_before" in changes or "blocked_by" in changes:
        changes["claimable"] = int(claimable(after, after.updated_at))
    return changes


def _change_lease(before: Lease | None, after: Lease | None, changes: dict[str, object]) -> None:
    changes["lease_expires"] = after and micros(after.expires_at)
    if before is None or after is None:
        changes["lease_worker"] = after and after.worker_id
        changes["lease_execution"] = after and after.execution_id


def claimable(order: WorkOrder, now: datetime) -> bool:
    """True if a claim may choose it, apart from who claims and how busy its repository is."""
    return (
        order.status is OrderStatus.PENDING
        and not order.blocked_by
        and (order.not_before is None or order.not_before <= now)
    )


def promote_due(unit: Unit, now: datetime) -> list[WorkOrder]:
    """Make claimable what was delayed until now. Returns those orders."""
    rows = unit.all(
        """UPDATE work_orders SET claimable = 1
           WHERE status = 'pending' AND claimable = 0 AND not_before IS NOT NULL AND not_before <= :now
             AND blocked_by = 0
           RETURNING *""",
        now=micros(now),
    )
    return [order_of(row) for row in rows]


def end_delays_from_ahead(unit: Unit, now: datetime, ahead: datetime) -> int:
    """Let no order wait for a moment that was reckoned after `ahead`, on a clock that has been taken back since.

    Returns how many did; they are due.
    """
    return unit.run(
        """UPDATE work_orders SET not_before = :now
           WHERE status = 'pending' AND claimable = 0 AND not_before IS NOT NULL AND not_before > :now
             AND updated_at > :ahead""",
        now=micros(now),
        ahead=micros(ahead),
    )


# ── finding some ─────────────────────────────────────────────────────────────────────────────────────────────────


def locked(unit: Unit, work_order_id: str) -> WorkOrder | None:
    """The order; nobody else changes it before this transaction ends."""
    row = unit.one("SELECT * FROM work_orders WHERE id = :id FOR NO KEY UPDATE", id=work_order_id)
    return order_of(row) if row else None


def locked_by_task(unit: Unit, task_id: str) -> WorkOrder | None:
    """As `locked`, by the id of its task."""
    row = unit.one("SELECT * FROM work_orders WHERE task_id = :id FOR NO KEY UPDATE", id=task_id)
    return order_of(row) if row else None


def get(unit: Unit, work_order_id: str) -> WorkOrder | None:
    row = unit.one("SELECT * FROM work_orders WHERE id = :id", id=work_order_id)
    return order_of(row) if row else None


def of_task(unit: Unit, task_id: str) -> WorkOrder | None:
    row = unit.one("SELECT * FROM work_orders WHERE task_id = :id", id=task_id)
    return order_of(row) if row else None


def budget_usd(unit: Unit, work_order_id: str) -> float:
    """What the order may cost in all."""
    row = unit.one("SELECT budget_usd FROM work_orders WHERE id = :id", id=work_order_id)
    return float(row["budget_usd"]) if row else 0.0


def running_in(unit: Unit, repository: str) -> int:
    """How many orders of a repository are running."""
    row = unit.one(
        "SELECT COUNT(*) AS number FROM work_orders WHERE status = 'running' AND repository = :repository",
        repository=repository,
    )
    return int(row["number"]) if row else 0


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What is to be seen to when an order has stopped running."""

    running: int
    """How many orders of its repository run now."""
    asking: bool
    """It has open requests."""
    needed: bool
    """There are tasks that need its task."""
    known: bool
    """An operator has said something of its repository."""


def aftermath(unit: Unit, order: WorkOrder) -> Aftermath:
    """In one look: it is the hot path, and mostly nothing is to be seen to."""
    row = unit.one(
        """SELECT
               (SELECT COUNT(*) FROM work_orders WHERE status = 'running' AND repository = :repository) AS running,
               EXISTS (SELECT 1 FROM requests WHERE work_order_id = :id AND status = 'open') AS asking,
               EXISTS (SELECT 1 FROM needs WHERE needed_id = :task_id) AS needed,
               EXISTS (SELECT 1 FROM repository_spellings WHERE url = :repository) AS known""",
        repository=order.repository,
        id=order.id,
        task_id=order.task_id,
    )
    assert row  # noqa: S101 - a select without a table has one row
    return Aftermath(row["running"], bool(row["asking"]), bool(row["needed"]), bool(row["known"]))


def expired(unit: Unit, now: datetime, limit: int) -> list[WorkOrder]:
    """Running orders whose lease has ended."""
    rows = unit.all(
        """SELECT * FROM work_orders WHERE status = 'running' AND lease_expires <= :now
           ORDER BY lease_expires LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED""",
        now=micros(now),
        limit=limit,
    )
    return [order_of(row) for row in rows]


def running(unit: Unit) -> list[WorkOrder]:
    """All running orders."""
    return [
        order_of(row)
        for row in unit.all("SELECT * FROM work_orders WHERE status = 'running' ORDER BY id FOR NO KEY UPDATE")
    ]


def skip_tokens(unit: Unit, by: int) -> None:
    """Let the next lease of every order have a token above all that an earlier life of this database handed out."""
    unit.run("UPDATE work_orders SET lease_token = lease_token + :by", by=by)


def held_by(unit: Unit, worker_id: str) -> list[WorkOrder]:
    """The running orders of a worker."""
    rows = unit.all(
        """SELECT * FROM work_orders WHERE status = 'running' AND lease_worker = :id
           ORDER BY id FOR NO KEY UPDATE""",
        id=worker_id,
    )
    return [order_of(row) for row in rows]


def waiting_for_task(unit: Unit, task_id: str) -> list[WorkOrder]:
    """Pending orders whose task needs that one."""
    rows = unit.all("SELECT task_id FROM needs WHERE needed_id = :id ORDER BY task_id", id=task_id)
    orders = [locked_by_task(unit, row["task_id"]) for row in rows]
    return [order for order in orders if order is not None and order.status is OrderStatus.PENDING]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a claimer may get. `repositories` None: of any."""

    type: TaskType
    rank: int
    repositories: tuple[str, ...] | None = None


_FIRST = """
    SELECT o.*, t.created_at AS submitted_at, t.created_by, t.asked, k.id AS known_as, k.settings AS said,
           (SELECT COUNT(*) FROM work_orders r WHERE r.status = 'running' AND r.repository = o.repository) AS running
    FROM work_orders o JOIN tasks t ON t.id = o.task_id
    LEFT JOIN repository_spellings s ON s.url = o.repository LEFT JOIN repositories k ON k.id = s.repository_id
    WHERE o.claimable = 1 AND o.type = :type AND o.queue = :queue AND o.permission <= :rank"""
_NARROWER = MappingProxyType(
    {
        Dialect.SQLITE: """
      AND (:only IS NULL OR o.repository IN (SELECT value FROM json_each(:only)))
      AND o.repository NOT IN (SELECT value FROM json_each(:full))
      AND o.requires NOT IN (SELECT value FROM json_each(:beyond))""",
        Dialect.POSTGRESQL: """
      AND (CAST(:only AS TEXT) IS NULL OR o.repository IN (SELECT jsonb_array_elements_text(CAST(:only AS JSONB))))
      AND o.repository NOT IN (SELECT jsonb_array_elements_text(CAST(:full AS JSONB)))
      AND o.requires NOT IN (SELECT jsonb_array_elements_text(CAST(:beyond AS JSONB)))""",
    }
)
_ORDER = """
    ORDER BY o.front DESC, o.priority DESC, o.created_at, o.id LIMIT 1"""
_LOCKED = """ FOR NO KEY UPDATE OF o SKIP LOCKED"""
_ANY = {False: _FIRST + _ORDER, True: _FIRST + _ORDER + _LOCKED}
_SOME = {
    (dialect, lock): _FIRST + narrower + _ORDER + (_LOCKED if lock else "")
    for dialect, narrower in _NARROWER.items()
    for lock in (False, True)
}


@dataclass(slots=True)
class Obstacles:
    """What a claimer has learnt to pass over."""

    full: list[str] = field(default_factory=list)
    """Repositories with enough running."""
    beyond: list[str] = field(default_factory=list)
    """`requires` texts that ask for what it lacks."""


def first_claimable(unit: Unit, wanted: Wanted, queue: str, obstacles: Obstacles, *, lock: bool) -> Row | None:
    """The first order of a queue, joined with its task; with `lock` the first that nobody else has locked.

    `running` in it is how many of its repository run; `known_as` and `said` are what an operator said of that, if so.
    """
    common = {"type": wanted.type.value, "queue": queue, "rank": wanted.rank}
    if not (obstacles.full or obstacles.beyond or wanted.repositories is not None):
        return unit.one(_ANY[lock], **common)
    return unit.one(
        _SOME[unit.dialect, lock],
        **common,
        only=None if wanted.repositories is None else json_text(wanted.repositories),
        full=json_text(obstacles.full),
        beyond=json_text(obstacles.beyond),
    )


def not_held(unit: Unit, worker_id: str, work_order_ids: Sequence[str]) -> list[str]:
    """Those of these orders that are not, or no longer, the worker's."""
    strangers = []
    for work_order_id in work_order_ids:
        row = unit.one("SELECT lease_worker FROM work_orders WHERE id = :id", id=work_order_id)
        if row is None or row["lease_worker"] != worker_id:
            strangers.append(work_order_id)
    return strangers
