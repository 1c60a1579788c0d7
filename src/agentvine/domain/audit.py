"""The audit log: entries that can only be added, each of which seals all before it.

An entry's hash is the SHA-256 of one line of JSON: `[seq,at,kind,actor,events_to,data,previous]`, where `at` is in
microseconds since 1970, `data` is the JSON text as it is stored, and `previous` is the hash of the entry before (64
zeros before the first). An entry of the kind `events` seals what happened: its data has the first and the last number
of a range of events, how many they are, and the SHA-256 of their rows, a line of JSON each:
`[seq,at,kind,task_id,work_order_id,execution_id,worker_id,actor,data]`.
JSON is written without blanks, in UTF-8, so that whoever has the rows can compute all of it again.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum

import orjson
from pydantic import JsonValue

from agentvine.domain.base import Model, Moment

GENESIS = "0" * 64
"""The hash before the first entry."""


class AuditKind(StrEnum):
    """What an entry is about."""

    EVENTS = "events"
    """What happened: a range of events."""
    REFUSED = "refused"
    """Somebody was refused, once or, in a short time, often."""
    KEY_CREATED = "key.created"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    REQUEST_ANSWERED = "request.answered"
    """A person answered, approved or denied, in time or late."""
    PRECEDENT_MADE = "precedent.made"
    PRECEDENT_FORGOTTEN = "precedent.forgotten"
    REPOSITORY_ADDED = "repository.added"
    REPOSITORY_CHANGED = "repository.changed"
    REPOSITORY_REMOVED = "repository.removed"
    CREDENTIAL_HANDED_OUT = "credential.handed_out"
    """A worker got what is kept for a repository."""
    PRUNED = "pruned"
    """What was old was removed; its data says what, and up to which event: those cannot be computed again."""


class AuditEntry(Model):
    """One entry. `seq` counts from 1 without a gap."""

    seq: int
    at: Moment
    kind: AuditKind
    actor: str
    """`key:<id>`, `server` or, for whoever had no good key, `nobody`."""
    events_to: int
    """The number of the last event that is sealed by this entry or those before it."""
    data: dict[str, JsonValue] = {}
    previous: str
    hash: str


def canonical(value: object) -> str:
    """JSON without blanks."""
    return orjson.dumps(value).decode()


def seal_of(parts: Sequence[int | str]) -> str:
    """The hash of an entry; `parts` are seq, at, kind, actor, events_to, data and previous."""
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


class EventsDigest:
    """The digest of a range of events, row by row."""

    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.sha256()

    def add(self, row: Sequence[int | str | None]) -> None:
        """The columns of an event, in the order above, as they are stored."""
        self._digest.update(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        self.count += 1

    @property
    def hash(self) -> str:
        """Of all that was added so far, in hexadecimal."""
        return self._digest.hexdigest()
