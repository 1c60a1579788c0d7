"""What people look at: pages of tasks, orders and requests, and the state of the queues."""

from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from agentvine.domain.request import RequestStatus, WorkerRequest
from agentvine.domain.task import Task
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.domain.worker_types import WorkerType
from agentvine.store.requests import request_of
from agentvine.store.rows import json_text, micros
from agentvine.store.tasks import task_of
from agentvine.store.unit import Dialect, Row, Unit
from agentvine.store.work_orders import order_of
from agentvine.wire.messages import QueueLine

SCOPED = MappingProxyType(
    {
        Dialect.SQLITE: """(:scope IS NULL OR o.repository IN (SELECT value FROM json_each(:scope)))
            AND (:types IS NULL OR o.type IN (SELECT value FROM json_each(:types)))""",
        Dialect.POSTGRESQL: """(CAST(:scope AS TEXT) IS NULL
            OR o.repository IN (SELECT jsonb_array_elements_text(CAST(:scope AS JSONB))))
            AND (CAST(:types AS TEXT) IS NULL
            OR o.type IN (SELECT jsonb_array_elements_text(CAST(:types AS JSONB))))""",
    }
)


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a listing: at most `limit` items behind `after`, of these repositories and types (None: of any)."""

    limit: int
    after: str | None = None
    repositories: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None

    @property
    def types_scope(self) -> str | None:
        """The types as a parameter."""
        return None if self.types is None else json_text(self.types)

    @property
    def scope(self) -> str | None:
        """The repositories as a parameter."""
        return None if self.repositories is None else json_text(self.repositories)


@dataclass(frozen=True, slots=True)
class TasksWanted:
    """What to list. None means any; `blocked` picks between blocked and claimable ones where the status is pending."""

    status: str | None = None
    blocked: bool | None = None
    type: str | None = None
    repository: str | None = None


def tasks(unit: Unit, wanted: TasksWanted, part: Slice) -> list[Task]:
    """Tasks, newest first."""
    rows = unit.all(
        _TASKS[unit.dialect],
        after=part.after,
        status=wanted.status,
        blocked=None if wanted.blocked is None else int(wanted.blocked),
        type=wanted.type,
        repository=wanted.repository,
        scope=part.scope,
        types=part.types_scope,
        limit=part.limit,
    )
    return [task_of(row, row["id"], row["work_order_id"]) for row in rows]


_TASKS = MappingProxyType(
    {
        dialect: f"""
    SELECT t.id, t.work_order_id, t.created_at AS submitted_at, t.created_by, t.asked, t.permission,
           o.status, o.blocked_by
    FROM tasks t JOIN work_orders o ON o.id = t.work_order_id
    WHERE (CAST(:after AS TEXT) IS NULL OR t.id < :after)
      AND (CAST(:status AS TEXT) IS NULL OR o.status = :status)
      AND (CAST(:blocked AS BIGINT) IS NULL OR (o.blocked_by > 0) = (CAST(:blocked AS BIGINT) > 0))
      AND (CAST(:type AS TEXT) IS NULL OR t.type = :type)
      AND (CAST(:repository AS TEXT) IS NULL OR t.repository = :repository)
      AND {scoped}
    ORDER BY t.id DESC LIMIT :limit"""  # noqa: S608  constants only
        for dialect, scoped in SCOPED.items()
    }
)
_HAS_STATUS: dict[OrderStatus | None, str] = {None: ""} | {
    status: f"AND o.status = '{status.value}'" for status in OrderStatus
}
"""In words of its own for each status, so that the planner may take the partial indexes."""
_ORDERS = MappingProxyType(
    {
        (dialect, status): f"""
    SELECT o.* FROM work_orders o
    WHERE (CAST(:after AS TEXT) IS NULL OR o.id < :after) {condition} AND {scoped}
    ORDER BY o.id DESC LIMIT :limit"""  # noqa: S608  constants only
        for dialect, scoped in SCOPED.items()
        for status, condition in _HAS_STATUS.items()
    }
)
_IN_STATUS: dict[RequestStatus | None, str] = {None: ""} | {
    status: f"r.status = '{status.value}' AND" for status in RequestStatus
}
_REQUESTS = MappingProxyType(
    {
        (dialect, status): f"""
    SELECT r.* FROM requests r JOIN work_orders o ON o.id = r.work_order_id
    WHERE {condition} (r.created_at, r.id) > (:at, :after) AND {scoped}
    ORDER BY r.created_at, r.id LIMIT :limit"""  # noqa: S608  constants only
        for dialect, scoped in SCOPED.items()
        for status, condition in _IN_STATUS.items()
    }
)


def orders(unit: Unit, status: OrderStatus | None, part: Slice) -> list[WorkOrder]:
    """Orders, newest first."""
    rows = unit.all(
        _ORDERS[unit.dialect, status],
        after=part.after,
        scope=part.scope,
        types=part.types_scope,
        limit=part.limit,
    )
    return [order_of(row) for row in rows]


def requests(unit: Unit, status: RequestStatus | None, at: int, part: Slice) -> list[WorkerRequest]:
    """Requests, oldest first, behind the one that was made at `at` (microseconds) and is called `part.after`."""
    rows = unit.all(
        _REQUESTS[unit.dialect, status],
        at=at,
        after=part.after or "",
        scope=part.scope,
        types=part.types_scope,
        limit=part.limit,
    )
    return [request_of(row) for row in rows]


_OPEN = MappingProxyType(
    {
        dialect: f"""
    SELECT COUNT(*) AS number FROM requests r JOIN work_orders o ON o.id = r.work_order_id
    WHERE r.status = 'open' AND {scoped}"""  # noqa: S608  constants only
        for dialect, scoped in SCOPED.items()
    }
)


def open_requests(unit: Unit, part: Slice) -> int:
    """How many requests are open, of the slice's repositories and types."""
    if part.repositories is None and part.types is None:
        row = unit.one("SELECT COUNT(*) AS number FROM requests WHERE status = 'open'")
    else:
        row = unit.one(_OPEN[unit.dialect], scope=part.scope, types=part.types_scope)
    return int(row["number"]) if row else 0


# ── the queues ───────────────────────────────────────────────────────────────────────────────────────────────────

_LINES = """
    SELECT queue, type, COUNT(*) AS number, status,
           SUM(CASE WHEN blocked_by > 0 THEN 1 ELSE 0 END) AS blocked,
           SUM(CASE WHEN blocked_by = 0 AND not_before > :now THEN 1 ELSE 0 END) AS delayed,
           MIN(CASE WHEN claimable = 1 THEN created_at END) AS oldest
    FROM work_orders WHERE status IN ('pending', 'running', 'waiting') GROUP BY queue, type, status"""


def queue_lines(unit: Unit, now: datetime) -> tuple[QueueLine, ...]:
    """One line for each queue and type that has live orders. What is blocked does not count as pending."""
    lines: dict[tuple[str, str], dict[str, int | float | None]] = {}
    for row in unit.all(_LINES, now=micros(now)):
        line = lines.setdefault((row["queue"], row["type"]), {})
        line[row["status"]] = int(row["number"])
        if row["status"] == OrderStatus.PENDING.value:
            line["pending"] = int(row["number"]) - int(row["blocked"])
            line["blocked"], line["delayed"] = int(row["blocked"]), int(row["delayed"])
            line["oldest_pending_seconds"] = _age(row, now)
    return tuple(
        QueueLine.model_validate({"queue": queue, "type": WorkerType(type_), **line})
        for (queue, type_), line in sorted(lines.items())
    )


def _age(row: Row, now: datetime) -> float | None:
    return None if row["oldest"] is None else max((micros(now) - row["oldest"]) / 1e6, 0.0)


def totals(unit: Unit) -> dict[OrderStatus, int]:
    """How many orders are in each state."""
    rows = unit.all("SELECT status, COUNT(*) AS number FROM work_orders GROUP BY status")
    return dict.fromkeys(OrderStatus, 0) | {OrderStatus(row["status"]): int(row["number"]) for row in rows}
