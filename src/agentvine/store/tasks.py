"""Tasks, what they need, and the keys under which they were submitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from agentvine.domain.permission import PermissionLevel
from agentvine.domain.task import Budget, NewTask, Origin, Task, TaskStatus
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.store.rows import build, json_value, micros, moment
from agentvine.store.unit import Row, Unit
from agentvine.store.work_orders import LEVELS

_BUDGET = Budget()
_TUPLES = ("requirements", "needs", "specializations", "hosts")
_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {name: field.get_default() for name, field in NewTask.model_fields.items() if not field.is_required()}
)


def insert(unit: Unit, task: Task) -> None:
    """Keep a new task. Its order and its needs come after it."""
    unit.run(
        """INSERT INTO tasks (id, work_order_id, created_at, created_by, type, repository, permission, asked)
           VALUES (:id, :work_order_id, :created_at, :created_by, :type, :repository, :permission, :asked)""",
        id=task.id,
        work_order_id=task.work_order_id,
        created_at=micros(task.created_at),
        created_by=task.created_by,
        type=task.asked.type.value,
        repository=task.asked.repository,
        permission=task.permission_level.rank,
        asked=task.asked.model_dump_json(),
    )


def insert_needs(unit: Unit, task_id: str, needed: Sequence[str]) -> None:
    unit.run_for_each(
        "INSERT INTO needs (task_id, needed_id) VALUES (:task_id, :needed_id)",
        [{"task_id": task_id, "needed_id": needed_id} for needed_id in needed],
    )


_GET = """
    SELECT t.id, t.work_order_id, t.created_at AS submitted_at, t.created_by, t.asked, t.permission,
           o.status, o.blocked_by
    FROM tasks t JOIN work_orders o ON o.id = t.work_order_id WHERE t.id = :id"""


def get(unit: Unit, task_id: str) -> Task | None:
    row = unit.one(_GET, id=task_id)
    return task_of(row, row["id"], row["work_order_id"]) if row else None


def task_of(row: Row, task_id: str, work_order_id: str) -> Task:
    """The task in a row that joins it with its order; its `created_at` is called `submitted_at` there."""
    return build(
        Task,
        {
            "id": task_id,
            "work_order_id": work_order_id,
            "created_at": moment(row["submitted_at"]),
            "created_by": row["created_by"],
            "asked": asked(row["asked"]),
            "permission_level": LEVELS[row["permission"]],
            "status": status_of(row["status"], row["blocked_by"]),
        },
    )


def status_of(status: str, blocked_by: int) -> TaskStatus:
    """A task's status, from its order's columns."""
    return TaskStatus.BLOCKED if blocked_by and status == OrderStatus.PENDING.value else TaskStatus(status)


def asked(text: str) -> NewTask:
    """What was submitted, as it was stored."""
    values: dict[str, Any] = {**_DEFAULTS, **json_value(text)}
    for name in _TUPLES:
        values[name] = tuple(values[name])
    values["type"] = TaskType(values["type"])
    if values["permission_level"] is not None:
        values["permission_level"] = PermissionLevel(values["permission_level"])
    if values["origin"] is not None:
        values["origin"] = build(Origin, values["origin"])
    if not isinstance(values["budget"], Budget):
        values["budget"] = build(Budget, {**_BUDGET.__dict__, **values["budget"]})
    return build(NewTask, values)


# ── submissions ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Submission:
    """A task submitted under an Idempotency-Key: whoever says the same again gets the same task."""

    key_id: str
    idempotency_key: str
    digest: str
    """Of what was said."""
    task_id: str
    at: datetime


def claim_submission(unit: Unit, submission: Submission) -> Submission | None:
    """None if it is the first under its key, and is kept; else the one that was."""
    fresh = unit.run(
        """INSERT INTO submissions (key_id, idempotency_key, digest, task_id, created_at)
           VALUES (:key_id, :idempotency_key, :digest, :task_id, :at) ON CONFLICT DO NOTHING""",
        key_id=submission.key_id,
        idempotency_key=submission.idempotency_key,
        digest=submission.digest,
        task_id=submission.task_id,
        at=micros(submission.at),
    )
    if fresh:
        return None
    row = unit.one(
        "SELECT * FROM submissions WHERE key_id = :key_id AND idempotency_key = :idempotency_key",
        key_id=submission.key_id,
        idempotency_key=submission.idempotency_key,
    )
    if row is None:
        return None
    return Submission(row["key_id"], row["idempotency_key"], row["digest"], row["task_id"], moment(row["created_at"]))


def submitted_as(unit: Unit, key_id: str, idempotency_key: str) -> str | None:
    """The task that was submitted so."""
    row = unit.one(
        "SELECT task_id FROM submissions WHERE key_id = :key_id AND idempotency_key = :idempotency_key",
        key_id=key_id,
        idempotency_key=idempotency_key,
    )
    return row["task_id"] if row else None


class Prospect(StrEnum):
    """What can be hoped of a task that another one needs."""

    COMPLETED = "completed"
    OPEN = "open"
    """It may yet be completed, be it after somebody requeues it."""
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"
    """It failed before it ever ran, because what it needs was cancelled."""


def locked_prospect(unit: Unit, task_id: str) -> Prospect | None:
    """What can be hoped of a task, which does not change in this transaction; None if it is unknown."""
    row = unit.one("SELECT status, blocked_by FROM work_orders WHERE task_id = :id FOR SHARE", id=task_id)
    if row is None:
        return None
    status = OrderStatus(row["status"])
    if status is OrderStatus.FAILED and row["blocked_by"]:
        return Prospect.ABANDONED
    return Prospect(status.value) if status in {OrderStatus.COMPLETED, OrderStatus.CANCELLED} else Prospect.OPEN
