"""Pull requests of ours, and what is remembered of each."""

from collections.abc import Sequence
from datetime import datetime

from agentvine.domain.pull_followed import PullFollowed
from agentvine.store.rows import json_text, moment
from agentvine.store.unit import Dialect, Row, Unit


def save(unit: Unit, known: PullFollowed) -> None:
    """Keep what is known of a pull request, in the place of what was."""
    unit.run(
        """INSERT INTO follow_ups (task_id, latest, state, content) VALUES (:task_id, :latest, :state, :content)
           ON CONFLICT (task_id) DO UPDATE
           SET latest = excluded.latest, state = excluded.state, content = excluded.content""",
        task_id=known.task_id,
        latest=known.latest,
        state=known.state.value,
        content=known.model_dump_json(),
    )


def get(unit: Unit, task_id: str) -> PullFollowed | None:
    """That of the task that opened it."""
    row = unit.one("SELECT content FROM follow_ups WHERE task_id = :id", id=task_id)
    return _known(row) if row else None


def locked(unit: Unit, task_id: str) -> PullFollowed | None:
    """As `get`; nobody else changes it before this transaction ends."""
    row = unit.one("SELECT content FROM follow_ups WHERE task_id = :id FOR NO KEY UPDATE", id=task_id)
    return _known(row) if row else None


def taken_in(unit: Unit, address: str, comments: Sequence[str]) -> frozenset[str]:
    """Which of these comments became a task of their own, or answered a question."""
    listed = {
        Dialect.SQLITE: "SELECT value FROM json_each(:whats)",
        Dialect.POSTGRESQL: "SELECT jsonb_array_elements_text(CAST(:whats AS JSONB))",
    }
    rows = unit.all(
        f"SELECT what FROM intake WHERE address = :address AND what IN ({listed[unit.dialect]})",  # noqa: S608
        address=address,
        whats=json_text([f"comment:{one}" for one in comments]),
    )
    return frozenset(row["what"].removeprefix("comment:") for row in rows)


def asked_at(unit: Unit, address: str, number: int) -> datetime | None:
    """Since when, by the forge's clock, a task from the forge asks something on that pull request, if one does."""
    row = unit.one(
        """SELECT MIN(t.asked_at) AS at FROM intake_tasks t
           WHERE t.number = :number AND t.is_pull = 1 AND t.asked IS NOT NULL AND t.asked_at IS NOT NULL
             AND EXISTS (SELECT 1 FROM intake i WHERE i.address = :address AND i.task_id = t.task_id)""",
        address=address,
        number=number,
    )
    return moment(row["at"]) if row is not None and row["at"] is not None else None


def _known(row: Row) -> PullFollowed:
    return PullFollowed.model_validate_json(row["content"])
