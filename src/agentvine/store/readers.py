"""How far those have read who follow the events on the server's side. Of several servers, one reads for each name."""

from dataclasses import dataclass
from datetime import datetime

from agentvine.store import events
from agentvine.store.rows import micros
from agentvine.store.unit import Unit


@dataclass(frozen=True, slots=True)
class Hold:
    """Whose reading it is: `holder` reads as `name`, until `until` unless it says so again."""

    name: str
    holder: str
    until: datetime


def take(unit: Unit, hold: Hold, now: datetime) -> int | None:
    """Read under this name from now on; returns the number of the last event that was read.

    None if another one does, and was heard of not long ago. Who reads for the first time begins with what comes next.
    """
    unit.run(
        "INSERT INTO readers (name, position) VALUES (:name, :position) ON CONFLICT (name) DO NOTHING",
        name=hold.name,
        position=events.newest(unit),
    )
    taken = unit.run(
        """UPDATE readers SET held_by = :holder, held_until = :until
           WHERE name = :name AND (held_by IS NULL OR held_by = :holder OR held_until < :now)""",
        name=hold.name,
        holder=hold.holder,
        until=micros(hold.until),
        now=micros(now),
    )
    row = unit.one("SELECT position FROM readers WHERE name = :name", name=hold.name) if taken else None
    return int(row["position"]) if row else None


def advance(unit: Unit, hold: Hold, position: int) -> bool:
    """All up to `position` is read. False if another one reads by now: then nothing has changed."""
    return bool(
        unit.run(
            "UPDATE readers SET position = :position, held_until = :until WHERE name = :name AND held_by = :holder",
            name=hold.name,
            holder=hold.holder,
            until=micros(hold.until),
            position=position,
        )
    )


def leave(unit: Unit, hold: Hold) -> None:
    """Let another one read."""
    unit.run(
        "UPDATE readers SET held_by = NULL, held_until = NULL WHERE name = :name AND held_by = :holder",
        name=hold.name,
        holder=hold.holder,
    )
