"""When a server last looked for leases that ended, so that one that starts knows how long none was at work."""

from datetime import datetime, timedelta

from agentvine.store.rows import micros, moment, moment_or_none
from agentvine.store.unit import Unit

_LEASES = "leases"


def latest(unit: Unit) -> datetime | None:
    """When it was, by the wall clock of the server that did. None if none has since orders ran for the first time."""
    row = unit.one("SELECT at FROM rounds WHERE name = :name", name=_LEASES)
    return moment(row["at"]) if row else None


def note(unit: Unit, at: datetime, again_after: timedelta) -> None:
    """A server looked at this moment.

    Writes nothing while no order runs, nor if any server noted it less than `again_after` ago.
    """
    row = unit.one(
        """SELECT (SELECT at FROM rounds WHERE name = :name) AS latest,
               EXISTS (SELECT 1 FROM work_orders WHERE status = 'running') AS running""",
        name=_LEASES,
    )
    assert row  # noqa: S101 - a select without a table has one row
    latest = moment_or_none(row["latest"])
    if not row["running"] or (latest is not None and timedelta(0) <= at - latest < again_after):
        return
    unit.run(
        "INSERT INTO rounds (name, at) VALUES (:name, :at) ON CONFLICT (name) DO UPDATE SET at = excluded.at",
        name=_LEASES,
        at=micros(at),
    )
