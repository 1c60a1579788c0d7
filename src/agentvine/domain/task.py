"""What a person asks for."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from agentvine.domain.base import Line, Model, Moment, Strict, Text
from agentvine.domain.forge import Number, Word
from agentvine.domain.ids import TaskId, WorkOrderId
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository import RepositoryUrl, check_branch
from agentvine.domain.worker_types import PROFILES, TaskType

QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
Specialization = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.+#-]{0,49}$")]
QUEUES: tuple[QueueName, ...] = ("high_priority", "default", "low_priority")
"""The queues, in the order in which a worker serves them unless it is told another."""
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\[\]:-]{1,255}:[0-9]{1,5}$")]
"""`host:port`; an IPv6 address stands in brackets."""
Hosts = Annotated[tuple[Host, ...], Field(max_length=20)]


def _branch_or_none(name: str) -> str:
    return check_branch(name) if name else name


_Branch = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(_branch_or_none)]


class TaskStatus(StrEnum):
    """A task's status is its work order's, with one word more: blocked, while a task that it needs is not completed."""

    BLOCKED = "blocked"
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Budget(Strict):
    """What an order may cost, over all of its executions."""

    usd: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 5.0
    turns: Annotated[int, Field(gt=0, le=10_000)] = 200
    """Turns of one Claude Code run, a repair included."""


class Origin(Strict):
    """What on a forge a task was made of."""

    kind: Literal["issue", "comment"]
    number: Number
    """Of the issue, or of the pull request."""
    url: Word = ""
    author: Word
    """Who wrote the issue, or the comment that asks for it."""


class NewTask(Strict):
    """A task as it is submitted. Only type, title and repository are needed, and mostly the branch."""

    type: TaskType
    title: Line
    description: Text = ""
    requirements: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    repository: RepositoryUrl
    branch: _Branch = ""
    """Where the work starts, and where an autonomous result is pushed. Left out: the repository's default branch, if
    the server was told of it."""
    permission_level: PermissionLevel | None = None
    """None: the type's default."""
    queue: Annotated[str, Field(json_schema_extra={"enum": list(QUEUES)})] = "default"
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Higher goes first within a queue."""
    needs: Annotated[tuple[TaskId, ...], Field(max_length=100)] = ()
    """Tasks that must be completed before this one may be claimed."""
    specializations: Annotated[tuple[Specialization, ...], Field(max_length=20)] = ()
    """Only a worker that has all of these may claim it."""
    budget: Budget = Budget()
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """The hard limit of one execution; None: the worker's `task_timeout`."""
    follows: TaskId | None = None
    """The completed task whose conversation and branch this one goes on with. Only the server sets it."""
    origin: Origin | None = None
    """Set if its words come from a forge, where strangers write. Only the server sets it."""
    hosts: Hosts = ()
    """What its sandbox shall be able to reach, of that which the worker offers; a package index for instance."""

    @model_validator(mode="after")
    def _known_queue(self) -> Self:
        if self.queue not in QUEUES:
            raise ValueError(f"there is no queue '{self.queue}'; the queues are {', '.join(QUEUES)}")
        return self

    @property
    def level(self) -> PermissionLevel:
        """The permission level asked for, or the type's default."""
        return self.permission_level or PROFILES[self.type].permission_level


class Task(Model):
    """A task that was accepted. Immutable but for its status, which follows its work order."""

    id: TaskId
    work_order_id: WorkOrderId
    created_at: Moment
    created_by: str
    """The id of the key that submitted it."""
    asked: NewTask
    permission_level: PermissionLevel
    """The lowest of what was asked, what the type gives, what the key may and what its repository lets it."""
    status: TaskStatus = TaskStatus.PENDING
