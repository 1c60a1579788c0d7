"""Errands: what is wanted of forges, who has been given what, and what went wrong.

`ready_at` says when an errand may be taken, and is kept right with every change, so that one index finds the next one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from agentvine.domain.errand import Errand
from agentvine.store.rows import json_text, micros, moment, strings
from agentvine.store.unit import Dialect, Row, Unit

_ERRAND: TypeAdapter[Errand] = TypeAdapter(Errand)


@dataclass(frozen=True, slots=True)
class Kept:
    """An errand as it stands."""

    id: str
    key: str
    errand: Errand
    due: datetime
    not_before: datetime
    worker_id: str | None
    fresh: bool
    """False: it was wished again after the worker was given it."""
    tries: int
    unable: tuple[str, ...]
    """Workers that have no way to that forge."""


@dataclass(frozen=True, slots=True)
class Taker:
    """Who wants one. `repositories` None: of any; else as the errands spell them."""

    worker_id: str
    repositories: tuple[str, ...] | None = None


_SCOPED = MappingProxyType(
    {
        Dialect.SQLITE: """(:scope IS NULL OR repository IN (SELECT value FROM json_each(:scope)))
            AND NOT EXISTS (SELECT 1 FROM json_each(unable) WHERE value = :worker)""",
        Dialect.POSTGRESQL: """(CAST(:scope AS TEXT) IS NULL
            OR repository IN (SELECT jsonb_array_elements_text(CAST(:scope AS JSONB))))
            AND NOT jsonb_exists(CAST(unable AS JSONB), CAST(:worker AS TEXT))""",
    }
)
_READY = MappingProxyType(
    {
        dialect: f"SELECT * FROM errands WHERE ready_at <= :now AND {scoped} ORDER BY ready_at, id LIMIT 1 "  # noqa: S608
        "FOR NO KEY UPDATE SKIP LOCKED"
        for dialect, scoped in _SCOPED.items()
    }
)
_NEXT = MappingProxyType(
    {
        dialect: f"SELECT MIN(ready_at) AS ready_at FROM errands WHERE {scoped}"  # noqa: S608  constants only
        for dialect, scoped in _SCOPED.items()
    }
)


def wish(unit: Unit, errand_id: str, key: str, errand: Errand, due: datetime) -> bool:
    """Have it run at `due`, or earlier if that was wished before. False if nothing new was said.

    `errand_id` is for one that is not there yet.
    """
    return bool(
        unit.run(
            """INSERT INTO errands (id, key, repository, errand, due, ready_at)
               VALUES (:id, :key, :repository, :errand, :due, :due)
               ON CONFLICT (key) DO UPDATE SET
                   errand = excluded.errand,
                   repository = excluded.repository,
                   version = errands.version + 1,
                   due = CASE WHEN excluded.due < errands.due THEN excluded.due ELSE errands.due END,
                   ready_at = CASE WHEN errands.worker_id IS NOT NULL THEN errands.ready_at
                                   WHEN excluded.due >= errands.due THEN errands.ready_at
                                   WHEN excluded.due > errands.not_before THEN excluded.due
                                   ELSE errands.not_before END
               WHERE errands.errand <> excluded.errand OR excluded.due < errands.due""",
            id=errand_id,
            key=key,
            repository=errand.repository,
            errand=errand.model_dump_json(),
            due=micros(due),
        )
    )


def forget(unit: Unit, key: str) -> bool:
    """True if it was there."""
    return bool(unit.run("DELETE FROM errands WHERE key = :key", key=key))


_LOOKS_AT_PULLS = MappingProxyType(
    {None: "", True: " AND substr(key, 1, 5) = 'pull:'", False: " AND substr(key, 1, 5) <> 'pull:'"}
)


def hasten(unit: Unit, repositories: Collection[str], now: datetime, *, afresh: bool, pulls: bool | None = None) -> int:
    """Make due now what is wanted of these repositories. Returns how many. `afresh`: whatever went wrong before.

    `pulls` says whether only looks at pull requests are, or only all else.
    """
    changed = 0
    for repository in repositories:
        changed += unit.run(
            f"""UPDATE errands SET
                   version = version + 1,
                   due = CASE WHEN due > :now THEN :now ELSE due END,
                   ready_at = CASE WHEN worker_id IS NOT NULL THEN ready_at
                                   WHEN not_before > :now THEN not_before ELSE :now END
               WHERE repository = :repository
                 AND (due > :now OR (worker_id IS NOT NULL AND given_version = version))
                 {_LOOKS_AT_PULLS[pulls]}""",  # noqa: S608  constants only
            repository=repository,
            now=micros(now),
        )
        if afresh:
            changed += unit.run(
                """UPDATE errands SET not_before = 0, tries = 0, unable = '[]', trouble = '',
                       ready_at = CASE WHEN worker_id IS NULL THEN due ELSE ready_at END
                   WHERE repository = :repository AND (not_before > 0 OR unable <> '[]' OR trouble <> '')""",
                repository=repository,
            )
    return changed


def is_wished(unit: Unit, key: str) -> bool:
    """Whether this is wanted. While what came back is handled: whether it was wished again since it was given out."""
    return unit.one("SELECT id FROM errands WHERE key = :key", key=key) is not None


def repositories(unit: Unit) -> tuple[str, ...]:
    """Of which repositories anything is wanted, as the errands spell them."""
    return tuple(row["repository"] for row in unit.all("SELECT DISTINCT repository FROM errands"))


def given_to(unit: Unit, worker_id: str) -> Kept | None:
    """What this worker was given and has not brought back, locked."""
    row = unit.one(
        "SELECT * FROM errands WHERE worker_id = :worker ORDER BY id LIMIT 1 FOR NO KEY UPDATE", worker=worker_id
    )
    return _kept(row) if row else None


def has_one(unit: Unit, worker_id: str) -> bool:
    """Whether this worker was given one that it has not brought back."""
    return unit.one("SELECT id FROM errands WHERE worker_id = :worker LIMIT 1", worker=worker_id) is not None


def ready(unit: Unit, taker: Taker, now: datetime) -> Kept | None:
    """What may be given to `taker` now, longest due first; locked."""
    row = unit.one(_READY[unit.dialect], now=micros(now), **_who(taker))
    return _kept(row) if row else None


def next_ready_at(unit: Unit, taker: Taker) -> datetime | None:
    """When there may be something for `taker`."""
    row = unit.one(_NEXT[unit.dialect], **_who(taker))
    return moment(row["ready_at"]) if row and row["ready_at"] is not None else None


def give(unit: Unit, errand_id: str, worker_id: str, until: datetime) -> None:
    """Let this worker have it until then."""
    unit.run(
        """UPDATE errands SET worker_id = :worker, ready_at = :until, given_version = version, tries = tries + 1
           WHERE id = :id""",
        id=errand_id,
        worker=worker_id,
        until=micros(until),
    )


def locked(unit: Unit, errand_id: str) -> Kept | None:
    row = unit.one("SELECT * FROM errands WHERE id = :id FOR NO KEY UPDATE", id=errand_id)
    return _kept(row) if row else None


def held(unit: Unit, errand_id: str, worker_id: str, now: datetime) -> str | None:
    """The repository of an errand that this worker has; None if it has not, or not any more."""
    row = unit.one(
        "SELECT repository FROM errands WHERE id = :id AND worker_id = :worker AND ready_at > :now",
        id=errand_id,
        worker=worker_id,
        now=micros(now),
    )
    return str(row["repository"]) if row else None


def finish(unit: Unit, kept: Kept) -> None:
    """It is done: gone, unless it was wished again meanwhile."""
    if kept.fresh:
        unit.run("DELETE FROM errands WHERE id = :id", id=kept.id)
    else:
        _lay_back(unit, kept, not_before=0, tries=0, unable=(), trouble="")


def put_off(unit: Unit, kept: Kept, until: datetime, why: str) -> None:
    """It failed; again then, by anybody."""
    _lay_back(unit, kept, not_before=micros(until), tries=kept.tries, unable=(), trouble=why)


def offer_to_others(unit: Unit, kept: Kept, worker_id: str) -> None:
    """This worker cannot do it."""
    unable = (*(other for other in kept.unable if other != worker_id), worker_id)
    _lay_back(unit, kept, not_before=micros(kept.not_before), tries=max(kept.tries - 1, 0), unable=unable, trouble=None)


def release_all(unit: Unit, worker_id: str) -> int:
    """Take from a worker that is gone what it was given. Returns how many."""
    return unit.run(
        """UPDATE errands SET worker_id = NULL, ready_at = CASE WHEN not_before > due THEN not_before ELSE due END
           WHERE worker_id = :worker""",
        worker=worker_id,
    )


def troubles(unit: Unit, repository: str) -> tuple[str, ...]:
    """What is wrong with errands to this repository, each thing once."""
    rows = unit.all(
        "SELECT DISTINCT trouble FROM errands WHERE repository = :repository AND trouble <> '' ORDER BY trouble",
        repository=repository,
    )
    return tuple(row["trouble"] for row in rows)


def keys(unit: Unit, prefix: str) -> tuple[str, ...]:
    """The keys that begin so; `prefix` ends with a colon."""
    rows = unit.all(
        "SELECT key FROM errands WHERE key >= :first AND key < :last ORDER BY key", first=prefix, last=f"{prefix[:-1]};"
    )
    return tuple(row["key"] for row in rows)


def able_workers(unit: Unit, unable: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Workers that are there and not among `unable`, each with the id of its key."""
    rows = unit.all("SELECT id, key_id FROM workers WHERE status <> 'offline' AND draining = 0")
    return tuple((row["id"], row["key_id"]) for row in rows if row["id"] not in unable)


def _lay_back(
    unit: Unit, kept: Kept, *, not_before: int, tries: int, unable: Sequence[str], trouble: str | None
) -> None:
    unit.run(
        """UPDATE errands SET worker_id = NULL, not_before = :not_before, tries = :tries, unable = :unable,
               trouble = COALESCE(CAST(:trouble AS TEXT), trouble),
               ready_at = CASE WHEN CAST(:not_before AS BIGINT) > due THEN CAST(:not_before AS BIGINT) ELSE due END
           WHERE id = :id""",
        id=kept.id,
        not_before=not_before,
        tries=tries,
        unable=json_text(unable),
        trouble=trouble,
    )


def _who(taker: Taker) -> dict[str, Any]:
    return {"worker": taker.worker_id, "scope": None if taker.repositories is None else json_text(taker.repositories)}


def _kept(row: Row) -> Kept:
    return Kept(
        row["id"],
        row["key"],
        _ERRAND.validate_json(row["errand"]),
        moment(row["due"]),
        moment(row["not_before"]),
        row["worker_id"],
        row["given_version"] == row["version"],
        row["tries"],
        strings(row["unable"]),
    )
