"""Which open questions the assistant has been given, so that each is given once, whichever server process does it."""

from datetime import datetime

from agentvine.domain.request import RequestKind, RequestStatus
from agentvine.store.rows import micros
from agentvine.store.unit import Unit

_ASKED, _LEFT = "asked", "left"


def due(unit: Unit, stale: datetime, limit: int) -> tuple[str, ...]:
    """The ids of open questions that it has not seen, longest waiting first, or that it was given before `stale`
    without anything becoming of it: that server is gone."""
    rows = unit.all(
        """SELECT id FROM requests WHERE status = :open AND kind = :kind
             AND (assistant IS NULL OR (assistant = :asked AND assistant_at < :stale))
           ORDER BY created_at, id LIMIT :limit""",
        open=RequestStatus.OPEN.value,
        kind=RequestKind.CLARIFICATION.value,
        asked=_ASKED,
        stale=micros(stale),
        limit=limit,
    )
    return tuple(row["id"] for row in rows)


def give(unit: Unit, request_id: str, now: datetime, stale: datetime) -> bool:
    """Note that it is given this question now; False if somebody else was faster, or it is no longer open."""
    return bool(
        unit.run(
            """UPDATE requests SET assistant = :asked, assistant_at = :now WHERE id = :id AND status = :open
                 AND (assistant IS NULL OR (assistant = :asked AND assistant_at < :stale))""",
            id=request_id,
            asked=_ASKED,
            now=micros(now),
            open=RequestStatus.OPEN.value,
            stale=micros(stale),
        )
    )


def leave(unit: Unit, request_id: str) -> None:
    """Note that this question is for people."""
    unit.run("UPDATE requests SET assistant = :left WHERE id = :id", id=request_id, left=_LEFT)


def given_since(unit: Unit, since: datetime) -> int:
    """How many questions it was given since then."""
    row = unit.one("SELECT count(*) AS given FROM requests WHERE assistant_at >= :since", since=micros(since))
    return int(row["given"]) if row else 0
