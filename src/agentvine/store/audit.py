"""The audit log: added to, read, and computed again. Databases refuse to change or delete its rows by a trigger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from agentvine.domain.audit import GENESIS, AuditEntry, AuditKind, EventsDigest, canonical, seal_of
from agentvine.store.rows import build, json_value, micros, moment
from agentvine.store.unit import Dialect, Row, Unit

_APPEND_LOCK = 0x6175_6469_74  # any number, the same in every server process
_INSERT = """
    INSERT INTO audit (seq, at, kind, actor, events_to, data, previous, hash)
    VALUES (:seq, :at, :kind, :actor, :events_to, :data, :previous, :hash)"""
_EVENTS = """
    SELECT seq, at, kind, task_id, work_order_id, execution_id, worker_id, actor, data
    FROM events WHERE seq > :after AND seq <= :up_to ORDER BY seq LIMIT :limit"""
_LAST = 2**62


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that has no place in the log yet."""

    kind: AuditKind
    at: datetime
    actor: str
    data: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends."""

    seq: int = 0
    hash: str = GENESIS
    events_to: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """Some events that follow one another, `after` the one before them, and their digest."""

    after: int
    first: int
    last: int
    count: int
    hash: str


def append(unit: Unit, draft: Draft) -> None:
    """Add an entry. Whoever else adds one waits until this transaction is over."""
    _add(unit, _locked_head(unit), draft)


def append_events(unit: Unit, events: Range, at: datetime) -> bool:
    """Add an entry that seals `events`. False if somebody else has sealed some of them meanwhile."""
    head = _locked_head(unit)
    if head.events_to != events.after:
        return False
    data: dict[str, JsonValue] = {
        "from": events.first,
        "to": events.last,
        "count": events.count,
        "sha256": events.hash,
    }
    _add(unit, head, Draft(AuditKind.EVENTS, at, "server", data), events.last)
    return True


def head(unit: Unit) -> Head:
    """Where the log ends; of an empty one, its beginning."""
    row = unit.one("SELECT seq, hash, events_to FROM audit ORDER BY seq DESC LIMIT 1")
    return Head(row["seq"], row["hash"], row["events_to"]) if row else Head()


def unsealed(unit: Unit, after: int, limit: int) -> Range | None:
    """Up to `limit` events above number `after`, or None if there are none."""
    return _range(unit, after, _LAST, limit)


def entries(unit: Unit, before: int | None, limit: int) -> list[AuditEntry]:
    """Entries, newest first, below number `before`."""
    rows = unit.all(
        "SELECT * FROM audit WHERE seq < :before ORDER BY seq DESC LIMIT :limit", before=before or _LAST, limit=limit
    )
    return [_entry(row) for row in rows]


def pruned_to(unit: Unit) -> int:
    """Up to which event all were removed as old, as the last entry about that says; 0 if none were."""
    row = unit.one("SELECT data FROM audit WHERE kind = :kind ORDER BY seq DESC LIMIT 1", kind=AuditKind.PRUNED.value)
    return int(json_value(row["data"])["events_to"]) if row else 0


def sealed_before(unit: Unit, seq: int) -> int:
    """The last event below number `seq` with which a sealed range ends; 0 if there is none."""
    row = unit.one("SELECT MAX(events_to) AS last FROM audit WHERE events_to < :seq", seq=seq)
    return int(row["last"] or 0) if row else 0


def _locked_head(unit: Unit) -> Head:
    if unit.dialect is Dialect.POSTGRESQL:  # SQLite has one writer at a time anyway
        unit.one("SELECT pg_advisory_xact_lock(:number)", number=_APPEND_LOCK)
    return head(unit)


def _add(unit: Unit, last: Head, draft: Draft, events_to: int | None = None) -> None:
    values: list[int | str] = [
        last.seq + 1,
        micros(draft.at),
        draft.kind.value,
        draft.actor,
        last.events_to if events_to is None else events_to,
        canonical(draft.data),
        last.hash,
    ]
    names = ("seq", "at", "kind", "actor", "events_to", "data", "previous")
    unit.run(_INSERT, **dict(zip(names, values, strict=True)), hash=seal_of(values))


def _range(unit: Unit, after: int, up_to: int, limit: int) -> Range | None:
    rows = unit.all(_EVENTS, after=after, up_to=up_to, limit=limit)
    if not rows:
        return None
    digest = EventsDigest()
    for row in rows:
        digest.add(_columns(row))
    return Range(after, rows[0]["seq"], rows[-1]["seq"], digest.count, digest.hash)


def _columns(row: Row) -> Sequence[int | str | None]:
    return (
        row["seq"],
        row["at"],
        row["kind"],
        row["task_id"],
        row["work_order_id"],
        row["execution_id"],
        row["worker_id"],
        row["actor"],
        row["data"],
    )


def _entry(row: Row) -> AuditEntry:
    return build(
        AuditEntry,
        {
            "seq": row["seq"],
            "at": moment(row["at"]),
            "kind": AuditKind(row["kind"]),
            "actor": row["actor"],
            "events_to": row["events_to"],
            "data": json_value(row["data"]),
            "previous": row["previous"],
            "hash": row["hash"],
        },
    )


# ── computed again ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Check:
    """A walk along the log: how far it came, and what it found."""

    head: Head
    entries: int = 0
    events: int = 0
    more: bool = False
    broken_at: int | None = None
    why: str = ""
    pruned_to: int = 0
    """Up to here an entry of the log says that events were removed."""


def check(unit: Unit, after: int, expected: str | None, most_entries: int, most_events: int) -> Check:
    """Compute again what follows entry `after`, at most so many entries, and events up to about that number.

    `expected`: the hash that entry `after` must have; None: any. Stops at the first entry that is broken.
    """
    found = Check(_start(unit, after), pruned_to=pruned_to(unit))
    if found.head.seq != after or (expected is not None and found.head.hash != expected):
        found.broken_at, found.why = after, "it is missing, or not what it was"
        return found
    rows = unit.all(
        "SELECT * FROM audit WHERE seq > :after ORDER BY seq LIMIT :limit", after=after, limit=most_entries + 1
    )
    for row in rows:
        if found.entries == most_entries or found.events >= most_events:
            found.more = True
            break
        why = _wrong(unit, found, row)
        if why is not None:
            found.broken_at, found.why = found.head.seq + 1, why
            break
        found.entries += 1
        found.head = Head(row["seq"], row["hash"], row["events_to"])
    return found


def _start(unit: Unit, after: int) -> Head:
    row = unit.one("SELECT seq, hash, events_to FROM audit WHERE seq = :seq", seq=after)
    return Head(row["seq"], row["hash"], row["events_to"]) if row else Head()


def _wrong(unit: Unit, found: Check, row: Row) -> str | None:
    """What is wrong with an entry that should follow where the walk has come to."""
    last = found.head
    if row["seq"] != last.seq + 1:
        return f"it is missing; the next one is {row['seq']}"
    if row["previous"] != last.hash:
        return "it does not follow the entry before it"
    names = ("seq", "at", "kind", "actor", "events_to", "data", "previous")
    if seal_of([row[name] for name in names]) != row["hash"]:
        return "its content was changed"
    if row["kind"] != AuditKind.EVENTS.value:
        return None if row["events_to"] == last.events_to else "it claims to seal events"
    return _wrong_events(unit, found, row)


def _wrong_events(unit: Unit, found: Check, row: Row) -> str | None:
    if row["events_to"] <= found.pruned_to:
        return None
    data = json_value(row["data"])
    there = _range(unit, found.head.events_to, row["events_to"], int(data["count"]) + 1)
    if there is None or (there.first, there.last, there.count) != (data["from"], data["to"], data["count"]):
        return f"events {data['from']} to {data['to']} are not complete, or some were added"
    if there.hash != data["sha256"]:
        return f"among the events {data['from']} to {data['to']} one was changed"
    found.events += there.count
    return None
