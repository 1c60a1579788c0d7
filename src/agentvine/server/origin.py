"""Where a task began that goes on with others."""

from agentvine.domain.execution import Execution
from agentvine.domain.pull_followed import Growing
from agentvine.domain.task import Task
from agentvine.store import executions, follow_ups, tasks
from agentvine.store.unit import Unit

_MOST = 10_000
"""Tasks that follow one another."""
_OWN = frozenset({"branch", "pull_request"})


def origin_of(unit: Unit, task: Task) -> Task:
    """The task that follows none, at the beginning of those of which this is the last."""
    for _ in range(_MOST):
        before = tasks.get(unit, task.asked.follows) if task.asked.follows is not None else None
        if before is None:
            return task
        task = before
    return task


def growing(unit: Unit, task: Task) -> Growing | None:
    """The branch of its own that a task lets grow; None if it follows no delivery onto one."""
    if task.asked.follows is None:
        return None
    origin = origin_of(unit, task)
    first = executions.of_order(unit, origin.work_order_id)
    opened = next((one for one in reversed(first) if one.execution.delivery is not None), None)
    if origin.id == task.id or opened is None or opened.execution.delivery is None:
        return None
    if opened.execution.delivery.kind not in _OWN:
        return None
    known = follow_ups.get(unit, origin.id)
    causes = known.causes if known is not None and known.gone_on == task.id else ()
    return Growing(
        work_order_id=origin.work_order_id,
        target=origin.asked.branch,
        summary=opened.summary,
        talked=_talked(unit, task),
        causes=causes,
    )


def _talked(unit: Unit, task: Task) -> Execution | None:
    """The last execution before `task`, in the row that ends with it, that delivered and has a conversation."""
    for _ in range(_MOST):
        before = tasks.get(unit, task.asked.follows) if task.asked.follows is not None else None
        done = executions.last_completed(unit, before.work_order_id) if before is not None else None
        if before is None or (done is not None and done.session_id is not None):
            return done
        task = before
    return None
