"""What is old and may go: found and removed some at a time, so that nobody waits long for the database.

Only what is over is ever removed. An order that is pending, running or waiting keeps all that belongs to it, the tasks
that it needs, those that it follows, and all events since its first. An order whose answer settles requests by
precedent stays as long as that holds, one whose pull request is followed as long as that is open. The audit log, keys
and evidence of orders that stay are not touched.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime

from agentvine.domain.work_order import LIVE, TERMINAL
from agentvine.domain.worker import WorkerStatus
from agentvine.store import audit
from agentvine.store.rows import json_text, json_value, micros
from agentvine.store.unit import Dialect, Unit

ORDERS_AT_ONCE = 50
EVENTS_AT_ONCE = 5000
_LIVE = ", ".join(f"'{status.value}'" for status in sorted(LIVE))
_OVER = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))
_IN = {
    Dialect.SQLITE: "(SELECT value FROM json_each(:{0}))",
    Dialect.POSTGRESQL: "(SELECT jsonb_array_elements_text(CAST(:{0} AS JSONB)))",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """What was removed, or would be."""

    orders: int = 0
    executions: int = 0
    transcript_entries: int = 0
    artifacts: int = 0
    artifact_bytes: int = 0
    """Of the artifacts; contents that are still named elsewhere stay on the disk."""
    workers: int = 0
    events: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Counts)})


@dataclass(frozen=True, slots=True)
class Step:
    """Some of one kind; `position` is where to go on, None at the end."""

    counts: Counts
    position: str | None


Remove = Callable[[Unit, datetime, datetime, str], Step]
"""(unit, older than this, now, position) → what was removed."""


def orders(unit: Unit, before: datetime, now: datetime, position: str) -> Step:
    """Orders that ended, with their tasks and all that belongs to them."""
    rows = unit.all(
        f"""SELECT o.id, o.task_id, t.asked FROM work_orders o JOIN tasks t ON t.id = o.task_id
            WHERE o.id > :position AND o.status IN ({_OVER}) AND o.updated_at < :before
              AND NOT EXISTS (SELECT 1 FROM needs n JOIN work_orders w ON w.task_id = n.task_id
                              WHERE n.needed_id = o.task_id AND w.status IN ({_LIVE}))
              AND NOT EXISTS (SELECT 1 FROM precedents p JOIN requests r ON r.id = p.request_id
                              WHERE r.work_order_id = o.id AND p.forgotten_at IS NULL
                                AND (p.expires_at IS NULL OR p.expires_at > :now))
              AND NOT EXISTS (SELECT 1 FROM follow_ups f WHERE f.state = 'open' AND f.latest = o.task_id)
              AND NOT EXISTS (SELECT 1 FROM follow_ups f WHERE f.state = 'open' AND f.task_id = o.task_id)
            ORDER BY o.id LIMIT :limit""",  # noqa: S608  words of the domain
        position=position,
        before=micros(before),
        now=micros(now),
        limit=ORDERS_AT_ONCE,
    )
    followed = _followed(unit) if rows else frozenset()
    counts = Counts()
    for row in rows:
        if row["task_id"] not in followed and _before(row["asked"]) not in followed:
            counts += _remove_order(unit, row["id"], row["task_id"])
    return Step(counts, rows[-1]["id"] if len(rows) == ORDERS_AT_ONCE else None)


def transcripts(unit: Unit, before: datetime, now: datetime, position: str) -> Step:
    """Conversations of executions that ended, of orders that ended: they can then not be gone on with."""
    ids, last = _executions(unit, before, position, "EXISTS (SELECT 1 FROM transcripts x WHERE x.execution_id = e.id)")
    if not ids:
        return Step(Counts(), None)
    chosen = _IN[unit.dialect].format("ids")
    entries = unit.run(f"DELETE FROM transcripts WHERE execution_id IN {chosen}", ids=json_text(ids))  # noqa: S608
    unit.run(f"UPDATE executions SET session_id = NULL WHERE id IN {chosen}", ids=json_text(ids))  # noqa: S608
    return Step(Counts(transcript_entries=entries), last)


def artifacts(unit: Unit, before: datetime, now: datetime, position: str) -> Step:
    """Bundles, diffs and the like of executions that ended, of orders that ended."""
    ids, last = _executions(unit, before, position, "EXISTS (SELECT 1 FROM artifacts x WHERE x.execution_id = e.id)")
    if not ids:
        return Step(Counts(), None)
    counts = _remove_artifacts(unit, ids)
    chosen = _IN[unit.dialect].format("ids")
    unit.run(f"UPDATE executions SET artifacts = '[]', verified = 0 WHERE id IN {chosen}", ids=json_text(ids))  # noqa: S608
    return Step(counts, last)


def workers(unit: Unit, before: datetime, now: datetime, position: str) -> Step:
    """Workers that left, or were not heard of any more, with their last heartbeat."""
    gone = unit.run(
        """DELETE FROM workers WHERE status = :offline AND seen_at < :before
             AND NOT EXISTS (SELECT 1 FROM work_orders o WHERE o.status = 'running' AND o.lease_worker = workers.id)""",
        offline=WorkerStatus.OFFLINE.value,
        before=micros(before),
    )
    return Step(Counts(workers=gone), None)


def last_old_event(unit: Unit, before: datetime) -> int:
    """Up to which event all may go: old, none since the first of an order that is live, and the end of a sealed range.

    0 if none may. The newest event stays always, so that no number is given twice.
    """
    row = unit.one(
        f"""SELECT
                (SELECT seq FROM events WHERE at >= :before ORDER BY seq LIMIT 1) AS young,
                (SELECT MAX(seq) FROM events) AS newest,
                (SELECT MIN((SELECT MIN(e.seq) FROM events e WHERE e.task_id = o.task_id))
                 FROM work_orders o WHERE o.status IN ({_LIVE})) AS live""",  # noqa: S608
        before=micros(before),
    )
    bounds = [int(row[name]) for name in ("young", "newest", "live") if row[name] is not None] if row else []
    return audit.sealed_before(unit, min(bounds)) if bounds else 0


def old_events(unit: Unit, up_to: int) -> Step:
    """Some of the events up to that number; an entry of the audit log that says so is there already."""
    gone = unit.run(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= :up_to ORDER BY seq LIMIT :limit)",
        up_to=up_to,
        limit=EVENTS_AT_ONCE,
    )
    return Step(Counts(events=gone), "again" if gone == EVENTS_AT_ONCE else None)


def events_up_to(unit: Unit, up_to: int) -> int:
    """How many there are."""
    row = unit.one("SELECT COUNT(*) AS number FROM events WHERE seq <= :up_to", up_to=up_to)
    return int(row["number"]) if row else 0


def named_digests(unit: Unit, beginning: str) -> frozenset[str]:
    """The digests with this beginning that artifacts name."""
    rows = unit.all(
        "SELECT DISTINCT sha256 FROM artifacts WHERE sha256 >= :first AND sha256 < :last",
        first=beginning,
        last=f"{beginning}g",  # above all that is hexadecimal
    )
    return frozenset(row["sha256"] for row in rows)


def _executions(unit: Unit, before: datetime, position: str, having: str) -> tuple[list[str], str | None]:
    rows = unit.all(
        f"""SELECT e.id FROM executions e JOIN work_orders o ON o.id = e.work_order_id
            WHERE e.id > :position AND o.status IN ({_OVER}) AND o.updated_at < :before AND {having}
            ORDER BY e.id LIMIT :limit""",  # noqa: S608
        position=position,
        before=micros(before),
        limit=ORDERS_AT_ONCE,
    )
    ids = [row["id"] for row in rows]
    return ids, ids[-1] if len(ids) == ORDERS_AT_ONCE else None


def _followed(unit: Unit) -> frozenset[str]:
    """Tasks of rows that end with a live one, or that let a pull request grow which is followed: each but a live one.

    Whoever follows one of those stays, too: the rows are counted by them, cancelled ones included.
    """
    rows = unit.all(
        f"""SELECT t.asked FROM tasks t JOIN work_orders o ON o.task_id = t.id
            WHERE o.status IN ({_LIVE}) AND t.asked LIKE :named""",  # noqa: S608
        named='%"follows":"tsk_%',
    )
    latest = unit.all("SELECT latest FROM follow_ups WHERE state = 'open'")
    followed: set[str] = set()
    chosen = _IN[unit.dialect].format("ids")
    new = {row["latest"] for row in latest} | {_before(row["asked"]) for row in rows} - {""}
    while new:
        followed |= new
        asked = unit.all(f"SELECT asked FROM tasks WHERE id IN {chosen}", ids=json_text(sorted(new)))  # noqa: S608
        new = {_before(row["asked"]) for row in asked} - followed - {""}
    return frozenset(followed)


def _before(asked: str) -> str:
    """The task that one follows; empty: none."""
    return str(json_value(asked).get("follows") or "")


_OF_AN_ORDER = (
    "DELETE FROM precedents WHERE request_id IN (SELECT id FROM requests WHERE work_order_id = :id)",
    "DELETE FROM requests WHERE work_order_id = :id",
    "DELETE FROM evidence WHERE execution_id IN (SELECT id FROM executions WHERE work_order_id = :id)",
    "DELETE FROM comments WHERE work_order_id = :id",
)
_OF_A_TASK = (
    "DELETE FROM needs WHERE task_id = :id OR needed_id = :id",
    "DELETE FROM submissions WHERE task_id = :id",
    "DELETE FROM follow_ups WHERE task_id = :id",
    "DELETE FROM intake_tasks WHERE task_id = :id",
    "DELETE FROM tasks WHERE id = :id",
)


def _remove_order(unit: Unit, work_order_id: str, task_id: str) -> Counts:
    rows = unit.all("SELECT id FROM executions WHERE work_order_id = :id", id=work_order_id)
    counts = _remove_artifacts(unit, [row["id"] for row in rows])
    entries = unit.run(
        "DELETE FROM transcripts WHERE execution_id IN (SELECT id FROM executions WHERE work_order_id = :id)",
        id=work_order_id,
    )
    for statement in _OF_AN_ORDER:
        unit.run(statement, id=work_order_id)
    gone = unit.run("DELETE FROM executions WHERE work_order_id = :id", id=work_order_id)
    unit.run("DELETE FROM work_orders WHERE id = :id", id=work_order_id)
    for statement in _OF_A_TASK:
        unit.run(statement, id=task_id)
    return counts + Counts(orders=1, executions=gone, transcript_entries=entries)


def _remove_artifacts(unit: Unit, execution_ids: list[str]) -> Counts:
    chosen = _IN[unit.dialect].format("ids")
    row = unit.one(
        f"SELECT COUNT(*) AS number, COALESCE(SUM(size), 0) AS bytes FROM artifacts WHERE execution_id IN {chosen}",  # noqa: S608
        ids=json_text(execution_ids),
    )
    unit.run(f"DELETE FROM artifacts WHERE execution_id IN {chosen}", ids=json_text(execution_ids))  # noqa: S608
    return Counts(artifacts=int(row["number"]), artifact_bytes=int(row["bytes"])) if row else Counts()
