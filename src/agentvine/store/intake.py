"""What was made of issues and comments on forges: each at most once, whatever is brought back how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from agentvine.store.rows import json_text, json_value, micros, moment
from agentvine.store.unit import Row, Unit

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Taken:
    """A task that was made of an issue or a comment, and what was said of it there."""

    task_id: str
    repository_id: str
    number: int
    """Of the issue or pull request where its status comment stands."""
    is_pull: bool
    said: str = ""
    """What the status comment is to say."""
    asked: str | None = None
    """The question that the status comment shows."""
    asked_at: datetime | None = None
    """Since when, by the forge's clock."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How far a repository was looked at."""

    seen_to: datetime
    """By the forge's clock."""
    named: Mapping[str, datetime]
    """Whose words count, in lower case, and since when."""
    wished: datetime
    """Whatever is brought back was seen after this, by our clock."""


def take(unit: Unit, address: str, what: str, task_id: str, at: datetime) -> bool:
    """Note what becomes of an issue (`issue:<number>`) or a comment (`comment:<id>`). False if something has already.

    `task_id` is empty for a comment that answers a question.
    """
    return bool(
        unit.run(
            """INSERT INTO intake (address, what, task_id, at) VALUES (:address, :what, :task_id, :at)
               ON CONFLICT (address, what) DO NOTHING""",
            address=address,
            what=what,
            task_id=task_id,
            at=micros(at),
        )
    )


def is_taken(unit: Unit, address: str, what: str) -> bool:
    """Whether something became of it."""
    return (
        unit.one("SELECT 1 FROM intake WHERE address = :address AND what = :what", address=address, what=what)
        is not None
    )


def leave(unit: Unit, address: str, what: str) -> None:
    """Nothing became of it after all."""
    unit.run("DELETE FROM intake WHERE address = :address AND what = :what", address=address, what=what)


def respell(unit: Unit, address: str) -> None:
    """Let what was made of a repository's issues and comments count for this address, in which the case of letters says
    nothing: the repository was removed, and added again in another case. What is another one's stays with that."""
    for row in unit.all("SELECT DISTINCT address FROM intake WHERE address NOT IN (SELECT address FROM repositories)"):
        if row["address"] != address and row["address"].lower() == address.lower():
            unit.run(
                """UPDATE intake SET address = :address WHERE address = :before AND NOT EXISTS (
                       SELECT 1 FROM intake i WHERE i.address = :address AND i.what = intake.what)""",
                address=address,
                before=row["address"],
            )


def follow(unit: Unit, taken: Taken) -> None:
    """Keep a status comment for a new task."""
    unit.run(
        """INSERT INTO intake_tasks (task_id, repository_id, number, is_pull)
           VALUES (:task_id, :repository_id, :number, :is_pull)
           ON CONFLICT (task_id) DO NOTHING""",
        task_id=taken.task_id,
        repository_id=taken.repository_id,
        number=taken.number,
        is_pull=int(taken.is_pull),
    )


def move(unit: Unit, address: str, repository_id: str, most: int) -> tuple[str, ...]:
    """Have all status comments of a repository belong to `repository_id`: it was removed and added again. Returns the
    tasks of those that did not, the latest `most` of them."""
    mine = """repository_id <> :id AND task_id IN (SELECT task_id FROM intake WHERE address = :address)"""
    rows = unit.all(
        f"SELECT task_id FROM intake_tasks WHERE {mine} ORDER BY task_id DESC LIMIT :most",  # noqa: S608
        id=repository_id,
        address=address,
        most=most,
    )
    if rows:
        unit.run(f"UPDATE intake_tasks SET repository_id = :id WHERE {mine}", id=repository_id, address=address)  # noqa: S608
    return tuple(row["task_id"] for row in rows)


def locked(unit: Unit, task_id: str) -> Taken | None:
    """The task, if it was made of something on a forge."""
    row = unit.one("SELECT * FROM intake_tasks WHERE task_id = :id FOR NO KEY UPDATE", id=task_id)
    return _taken(row) if row else None


def asking(unit: Unit, repository_id: str) -> tuple[Taken, ...]:
    """Those of a repository whose status comments show a question, the one that was shown first first; locked."""
    rows = unit.all(
        """SELECT * FROM intake_tasks WHERE repository_id = :id AND asked IS NOT NULL AND asked_at IS NOT NULL
           ORDER BY asked_at, task_id FOR NO KEY UPDATE""",
        id=repository_id,
    )
    return tuple(_taken(row) for row in rows)


def is_asking(unit: Unit, repository_id: str) -> bool:
    """Whether a status comment of this repository shows a question, or is about to."""
    row = unit.one(
        "SELECT task_id FROM intake_tasks WHERE repository_id = :id AND asked IS NOT NULL LIMIT 1", id=repository_id
    )
    return row is not None


def say(unit: Unit, task_id: str, said: str, asked: str | None) -> None:
    """Note what the status comment is to say. Another question has not been shown yet."""
    unit.run(
        """UPDATE intake_tasks SET said = :said, asked = :asked,
               asked_at = CASE WHEN asked = CAST(:asked AS TEXT) THEN asked_at ELSE NULL END
           WHERE task_id = :id""",
        id=task_id,
        said=said,
        asked=asked,
    )


def shown(unit: Unit, task_id: str, asked: str, at: datetime) -> None:
    """Note that the status comment shows this question since then."""
    unit.run(
        "UPDATE intake_tasks SET asked_at = :at WHERE task_id = :id AND asked = :asked AND asked_at IS NULL",
        id=task_id,
        asked=asked,
        at=micros(at),
    )


def any_taken(unit: Unit) -> bool:
    """Whether any task was ever made of something on a forge."""
    return unit.one("SELECT task_id FROM intake_tasks LIMIT 1") is not None


def looks(unit: Unit, repository_id: str) -> Looks | None:
    """How far a repository was looked at; None: it never was."""
    row = unit.one("SELECT seen_to, users FROM intake_looks WHERE repository_id = :id", id=repository_id)
    if row is None:
        return None
    kept = json_value(row["users"])
    if isinstance(kept, list):  # as it was written before there were moments in it
        return Looks(moment(row["seen_to"]), dict.fromkeys(kept, _ALWAYS), _ALWAYS)
    named = {user: moment(since) for user, since in kept["named"].items()}
    return Looks(moment(row["seen_to"]), named, moment(kept["wished"]))


def look_on(unit: Unit, repository_id: str, looks: Looks) -> None:
    """Go on from here. Never goes back."""
    named = {user: micros(since) for user, since in looks.named.items()}
    unit.run(
        """INSERT INTO intake_looks (repository_id, seen_to, users) VALUES (:id, :seen_to, :users)
           ON CONFLICT (repository_id) DO UPDATE SET
               users = excluded.users,
               seen_to = CASE WHEN excluded.seen_to > intake_looks.seen_to THEN excluded.seen_to
                              ELSE intake_looks.seen_to END""",
        id=repository_id,
        seen_to=micros(looks.seen_to),
        users=json_text({"named": named, "wished": micros(looks.wished)}),
    )


def stop(unit: Unit, repository_id: str) -> None:
    """It is looked at no more: what is written meanwhile will ask for nothing when it is looked at again."""
    unit.run("DELETE FROM intake_looks WHERE repository_id = :id", id=repository_id)


def _taken(row: Row) -> Taken:
    return Taken(
        row["task_id"],
        row["repository_id"],
        row["number"],
        bool(row["is_pull"]),
        row["said"],
        row["asked"],
        moment(row["asked_at"]) if row["asked_at"] is not None else None,
    )
