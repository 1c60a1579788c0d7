"""Facts, in the order in which they became visible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from agentvine.domain.event import Event, EventKind
from agentvine.store.rows import build, json_text, json_value, micros, moment
from agentvine.store.unit import Row, Unit
from agentvine.wire.channels import Ring

_RING = Ring(kind="event")
_KINDS = frozenset(EventKind)
_INSERT = """
    INSERT INTO events (at, kind, task_id, work_order_id, execution_id, worker_id, actor, data)
    VALUES (:at, :kind, :task_id, :work_order_id, :execution_id, :worker_id, :actor, :data)"""


@dataclass(frozen=True, slots=True)
class Fact:
    """An event that has no number yet."""

    kind: EventKind
    at: datetime
    actor: str
    task_id: str | None = None
    work_order_id: str | None = None
    execution_id: str | None = None
    worker_id: str | None = None
    data: Mapping[str, JsonValue] = field(default_factory=dict)


def write(unit: Unit, fact: Fact) -> None:
    """Record a fact with the rest of this transaction, and tell the readers once it is committed."""
    unit.run_in_order(
        _INSERT,
        at=micros(fact.at),
        kind=fact.kind.value,
        task_id=fact.task_id,
        work_order_id=fact.work_order_id,
        execution_id=fact.execution_id,
        worker_id=fact.worker_id,
        actor=fact.actor,
        data=json_text(fact.data) if fact.data else "{}",
    )
    unit.ring(_RING)


def newest(unit: Unit) -> int:
    """The number of the newest event, 0 if there is none."""
    row = unit.one("SELECT COALESCE(MAX(seq), 0) AS seq FROM events")
    return int(row["seq"]) if row else 0


@dataclass(frozen=True, slots=True)
class Found:
    """Some events; a reader goes on behind `position`, at once if there are `more`."""

    events: Sequence[Event]
    position: int
    more: bool


def after(
    unit: Unit,
    seq: int,
    task_id: str | None,
    repositories: Sequence[str] | None,
    limit: int,
    types: Sequence[str] | None = None,
) -> Found:
    """Events above `seq`, oldest first, of one task or of all.

    With `repositories` or `types` only events of their tasks, and those that are about no task. Kinds that only a newer
    server knows, which writes to the same database, are passed over.
    """
    if task_id is None:
        rows = unit.all("SELECT * FROM events WHERE seq > :seq ORDER BY seq LIMIT :limit", seq=seq, limit=limit)
    else:
        rows = unit.all(
            "SELECT * FROM events WHERE task_id = :task_id AND seq > :seq ORDER BY seq LIMIT :limit",
            task_id=task_id,
            seq=seq,
            limit=limit,
        )
    position = rows[-1]["seq"] if rows else seq
    everything = repositories is None and types is None
    shown = [
        row
        for row in rows
        if row["kind"] in _KINDS and (everything or _is_about(unit, row["task_id"], repositories, types))
    ]
    return Found([_event(row) for row in shown], position, len(rows) == limit)


def _is_about(unit: Unit, task_id: str | None, repositories: Sequence[str] | None, types: Sequence[str] | None) -> bool:
    if task_id is None:
        return True
    row = unit.one("SELECT repository, type FROM tasks WHERE id = :id", id=task_id)
    return (
        row is not None
        and (repositories is None or row["repository"] in repositories)
        and (types is None or row["type"] in types)
    )


def _event(row: Row) -> Event:
    return build(
        Event,
        {
            "seq": row["seq"],
            "at": moment(row["at"]),
            "kind": EventKind(row["kind"]),
            "task_id": row["task_id"],
            "work_order_id": row["work_order_id"],
            "execution_id": row["execution_id"],
            "worker_id": row["worker_id"],
            "actor": row["actor"],
            "data": json_value(row["data"]),
        },
    )
