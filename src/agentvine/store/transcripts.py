"""Claude's transcripts, entry by entry."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from agentvine.store.rows import json_text, json_value
from agentvine.store.unit import Unit

Entry = Mapping[str, JsonValue]
_AT_ONCE = 100
_LARGE = 4_000_000


def add(unit: Unit, execution_id: str, first: int, entries: Sequence[Entry]) -> None:
    """Keep entries under the numbers from `first` on; a number that is taken stays as it is."""
    unit.run_for_each(
        """INSERT INTO transcripts (execution_id, number, entry) VALUES (:id, :number, :entry)
           ON CONFLICT DO NOTHING""",
        [
            {"id": execution_id, "number": number, "entry": json_text(entry)}
            for number, entry in enumerate(entries, first)
        ],
    )


def page(unit: Unit, execution_id: str, after: int, limit: int) -> tuple[tuple[dict[str, JsonValue], ...], int, bool]:
    """At most `limit` entries from number `after` on, the number to go on from, and whether that was all.

    Ends early when it has grown large; a page is never empty while there is an entry.
    """
    entries: list[dict[str, JsonValue]] = []
    size = 0
    while len(entries) < limit and size < _LARGE:
        rows = unit.all(
            """SELECT number, entry FROM transcripts WHERE execution_id = :id AND number >= :after
               ORDER BY number LIMIT :limit""",
            id=execution_id,
            after=after,
            limit=_AT_ONCE,
        )
        taken = rows[: limit - len(entries)]
        for row in taken:
            entries.append(json_value(row["entry"]))
            size += len(row["entry"])
            after = row["number"] + 1
        if len(taken) == len(rows) < _AT_ONCE:
            return tuple(entries), after, True
    return tuple(entries), after, False
