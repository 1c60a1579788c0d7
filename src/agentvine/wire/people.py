"""What people say over the wire and are shown: answers, comments, tasks, listings, the inbox and the queues.

`messages.py` offers all of it beside what workers say.
"""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field, JsonValue, computed_field, field_validator

from agentvine.domain.base import Line, Model, Moment, Strict, Text
from agentvine.domain.execution import Count, Execution
from agentvine.domain.held_back import HeldBack, WaitsFor
from agentvine.domain.ids import TaskId, WorkOrderId
from agentvine.domain.model_limit import ModelLimit
from agentvine.domain.precedent import Remember
from agentvine.domain.pull_followed import PullShown
from agentvine.domain.request import WorkerRequest
from agentvine.domain.task import NewTask, Task
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.domain.worker_types import WorkerType

Item = TypeVar("Item")


class Reply(Strict):
    """A person's answer to a request."""

    verdict: Literal["answer", "approved", "denied"]
    message: Text = ""
    changed_input: dict[str, JsonValue] | None = None
    """With the approval of a call: the input with which it is to be made instead."""
    remember: Remember | None = None
    """Settle the like with this answer when it is asked again."""


Remark = Annotated[Text, Field(min_length=1, max_length=8000)]
"""What a person says to the agent; short enough to reach it in the middle of its work."""


class NewComment(Strict):
    """What a person wants to say to whoever works on a task."""

    text: Remark

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("a comment says something")
        return text


class Comment(Model):
    """What a person said of a task while its order lives. Numbered from 1 on for each order."""

    task_id: TaskId
    work_order_id: WorkOrderId
    number: Count
    at: Moment
    author: Line
    """`key:<id>`."""
    text: Text


class CommentPage(Model):
    """Comments of one order, oldest first."""

    comments: tuple[Comment, ...] = ()


class Retry(Strict):
    """What is to be different this time; whoever goes on with the work is told it first."""

    comment: Remark | None = None


class NamedTask(Strict):
    """A task of a batch. The other tasks of the batch know it by its name, which is not kept."""

    name: Line
    needs_names: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    """Tasks of the same batch that it needs, besides those that `task.needs` names by id."""
    task: NewTask


class TaskBatch(Strict):
    """Tasks that are accepted together or not at all."""

    tasks: Annotated[tuple[NamedTask, ...], Field(min_length=1, max_length=200)]


class Page(Model, Generic[Item]):
    """A part of a listing. `next_cursor` is opaque; None: that was all."""

    items: tuple[Item, ...]
    next_cursor: str | None = None


class Asked(Model):
    """An open request, and what one has to know of its task to see whose it is to answer."""

    request: WorkerRequest
    title: Line
    type: WorkerType
    repository: str
    parked: bool
    """True: the order waits without a slot. False: a worker holds its slot for the answer."""


class Inbox(Model):
    """Open requests, the one that waits longest first."""

    items: tuple[Asked, ...]
    total: Count
    """How many there are, with those on other pages."""
    position: Count
    """The number of an event: all before it is in here. Follow the events from it to miss nothing."""
    next_cursor: str | None = None


class TaskDetail(Model):
    """A task and what became of it."""

    task: Task
    order: WorkOrder
    executions: tuple[Execution, ...] = ()
    requests: tuple[WorkerRequest, ...] = ()
    summary: str = ""
    pull_request: PullShown | None = None
    """What the forge showed last of the pull request that it opened or lets grow, if that is followed."""
    waits_for: tuple[WaitsFor, ...] = ()
    """Why nobody takes it now, if it could be claimed."""


class TaskFilter(Model):
    """Which tasks to list; what is None does not matter."""

    status: str | None = None
    type: WorkerType | None = None
    repository: str | None = None


class QueueLine(Model):
    """One queue and type."""

    queue: str
    type: WorkerType
    pending: int = 0
    blocked: int = 0
    delayed: int = 0
    """Pending, but `not_before` lies ahead."""
    running: int = 0
    waiting: int = 0
    oldest_pending_seconds: float | None = None


class QueueReport(Model):
    """How much waits and runs, and what holds it up."""

    lines: tuple[QueueLine, ...]
    totals: dict[OrderStatus, int]
    dead_letters: tuple[WorkOrder, ...] = ()
    """The latest failed orders, at most 100."""
    limits: tuple[ModelLimit, ...] = ()
    """Model accounts whose limit is used up: their workers get no orders until it is over."""
    held_back: tuple[HeldBack, ...] = ()
    """Pending orders that nobody takes now, though they could be claimed, and why. Of at most 200 kinds of orders."""

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def demand(self) -> dict[WorkerType, int]:
        """For every worker type, how many of its orders run, or would at once if there were a worker: what to scale by.
        What is blocked, delayed or waiting needs none."""
        wanted = dict.fromkeys(WorkerType, 0)
        for line in self.lines:
            wanted[line.type] += line.pending - line.delayed + line.running
        return wanted
