"""What an earlier execution left for the next one."""

from collections.abc import Sequence
from datetime import datetime

from agentvine.domain.approval import Grant
from agentvine.domain.execution import Execution, Outcome
from agentvine.domain.task import Task
from agentvine.store import executions, requests, tasks
from agentvine.store.executions import Kept
from agentvine.store.unit import Unit
from agentvine.wire import messages as m

_MOST_APPROVALS = 400
"""How many of the latest calls that somebody decided about are looked through for approvals."""


def earlier(unit: Unit, work_order_id: str, token: int, now: datetime) -> m.Earlier | None:
    """What whoever holds the lease `token` has to know of those before; None for the first.

    The request is the last that was asked for the order, whoever asked it: an answer must reach whoever goes on.
    """
    before = [kept for kept in executions.of_order(unit, work_order_id) if kept.execution.lease_token < token]
    if not before:
        return None
    chosen = _chosen(before[::-1])
    return m.Earlier(
        execution=chosen.execution,
        verified=chosen.verified,
        request=requests.newest_of_order(unit, work_order_id),
        approvals=Grant.kept(requests.approvals_of_order(unit, work_order_id, _MOST_APPROVALS), now),
    )


def followed(unit: Unit, task: Task) -> Execution | None:
    """The execution that delivered the task which this one follows."""
    before = tasks.get(unit, task.asked.follows or "")
    return executions.last_completed(unit, before.work_order_id) if before else None


def _chosen(newest_first: Sequence[Kept]) -> Kept:
    """Of those before, the one that left most.

    That is the newest that parked, has a verified result, or was interrupted in its conversation. One that ended before
    its agent began has left nothing, and what it found is still there. One whose agent ended badly is the last word on
    its conversation; only a verified result from before may still count.
    """
    for kept in newest_first:
        execution = kept.execution
        if execution.outcome is Outcome.PARKED or kept.verified:
            return kept
        if execution.session_id is not None:
            if execution.broken_off:
                return kept
            return next((older for older in newest_first if older.verified), kept)
    return newest_first[0]
