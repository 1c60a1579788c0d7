"""Tasks: submitting them, and what became of them."""

from typing import Annotated

from fastapi import Query

from agentvine.domain.task import NewTask, Task, TaskStatus
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.server.api.operations import Cursor, Desk, IdempotencyKey, Limit, Operations, Plain
from agentvine.wire import messages as m
from agentvine.wire import routes

api = Operations("tasks")
_Repository = Annotated[str | None, Query(max_length=1000, pattern=Plain)]


@api.route(routes.SUBMIT, status=201)
async def submit(desk: Desk, task: NewTask, idempotency_key: IdempotencyKey = None) -> Task:
    """Submit a task."""
    return await desk.submit(task, idempotency_key)


@api.route(routes.SUBMIT_BATCH, status=201)
async def submit_all(desk: Desk, batch: m.TaskBatch) -> tuple[Task, ...]:
    """Submit tasks that may need one another: all of them are accepted, or none."""
    return await desk.submit_all(batch)


@api.route(routes.TASKS)
async def tasks(
    desk: Desk,
    status: TaskStatus | None = None,
    type: TaskType | None = None,
    repository: _Repository = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> m.Page[Task]:
    """Tasks, newest first."""
    return await desk.tasks(m.TaskFilter(status=status, type=type, repository=repository), cursor, limit)


@api.route(routes.TASK)
async def task(desk: Desk, task_id: str) -> m.TaskDetail:
    """A task, its work order, its executions and its requests."""
    return await desk.task(task_id)


@api.route(routes.CANCEL_TASK)
async def cancel(desk: Desk, task_id: str) -> WorkOrder:
    """End a task that is not over. Cancelling it again changes nothing."""
    return await desk.cancel(task_id)


@api.route(routes.RETRY_TASK)
async def retry(desk: Desk, task_id: str, retry: m.Retry | None = None) -> WorkOrder:
    """Reopen a failed task. With a comment, its last conversation goes on and hears that first; a completed task is
    then followed by a new one, whose work order is returned."""
    return await desk.retry(task_id, retry)


@api.route(routes.COMMENT, status=201)
async def comment(desk: Desk, task_id: str, new: m.NewComment) -> m.Comment:
    """Say something to whoever works on a task."""
    return await desk.comment(task_id, new)


@api.route(routes.COMMENTS)
async def comments(desk: Desk, task_id: str) -> tuple[m.Comment, ...]:
    """What people said of a task, oldest first."""
    return await desk.comments(task_id)
