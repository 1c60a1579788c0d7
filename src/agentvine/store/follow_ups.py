"""Pull requests of ours, and what is remembered of each."""

from agentvine.domain.pull_followed import PullFollowed
from agentvine.store.unit import Row, Unit


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


def _known(row: Row) -> PullFollowed:
    return PullFollowed.model_validate_json(row["content"])
