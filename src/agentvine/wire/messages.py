"""What is said over the wire. Domain types travel as they are; here is what goes around them."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field, JsonValue, computed_field, field_validator

from agentvine.domain.base import Line, Model, Moment, Note, SessionName, Strict, Text
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Count, Delivery, Execution, Phase, Usage
from agentvine.domain.ids import ExecutionId, RequestId, TaskId, WorkerId, WorkOrderId
from agentvine.domain.model_limit import DEFAULT_ACCOUNT, ModelAccount, ModelLimit
from agentvine.domain.precedent import Remember
from agentvine.domain.pull_followed import Growing, PullShown
from agentvine.domain.repository import Sha
from agentvine.domain.repository_settings import RepositoryRules
from agentvine.domain.request import RequestKind, ToolUse, WorkerRequest
from agentvine.domain.retry import Failure
from agentvine.domain.task import QUEUES, NewTask, QueueName, Specialization, Task
from agentvine.domain.work_order import Lease, OrderStatus, WorkOrder
from agentvine.domain.worker import Metrics, Worker, WorkerStatus
from agentvine.domain.worker_types import WorkerType

Item = TypeVar("Item")
Token = Annotated[int, Field(ge=1, le=2**53)]
LONGEST_WAIT = 60.0
"""Seconds a long poll may ask for."""
LARGEST_BODY = 8 * 1024 * 1024
"""Bytes of a JSON body. A transcript batch is kept below a quarter of it."""
LARGEST_WEBHOOK = 2 * 1024 * 1024
"""Bytes of what a forge may say without a key."""
LARGEST_ARTIFACT = 256 * 1024 * 1024
"""Bytes of one stored artifact."""
MOST_ARTIFACTS = 100
"""Of one execution."""
MOST_ENTRIES = 200_000
"""Of one execution's transcript."""


# ── a worker's life ──────────────────────────────────────────────────────────────────────────────────────────────


class WorkerConfiguration(Model):
    """What the server needs to know of how a worker is set up."""

    max_concurrent_tasks: Annotated[int, Field(ge=1, le=1000)] = 1
    queue_names: Annotated[tuple[QueueName, ...], Field(min_length=1, max_length=20)] = QUEUES
    specializations: Annotated[tuple[Specialization, ...], Field(max_length=50)] = ()
    tools: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    model_account: ModelAccount = DEFAULT_ACCOUNT
    """What it shares with whoever uses the model at the same address with the same key."""


class Registration(Model):
    """A worker presents itself. An id that registers again says that its earlier process is gone, with its leases."""

    id: WorkerId
    name: Line
    worker_type: WorkerType
    version: Line
    host: Line = "unknown"
    config: WorkerConfiguration = WorkerConfiguration()
    protocol: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """The newest protocol that it speaks; `wire/protocol.py` says what that is."""
    oldest_protocol: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class Registered(Model):
    worker: Worker
    server_version: Line
    lease_seconds: float
    """How long a lease lasts; renew at a third of it, fence yourself at two thirds without an acknowledgement."""
    session: str = ""
    """What shows from now on that this process speaks. The worker's next registration makes it worthless."""
    protocol: int = 1
    """What both speak from now on."""


class Heartbeat(Model):
    status: WorkerStatus
    current_tasks: Annotated[tuple[WorkOrderId, ...], Field(max_length=1000)] = ()
    metrics: Metrics = Metrics()
    note: Note | None = None


class Command(Model):
    """Something that the server wants of the worker."""

    kind: Literal["drain", "cancel", "register"]
    """register: the server does not know this worker (any more)."""
    work_order_id: WorkOrderId | None = None


class HeartbeatReply(Model):
    commands: tuple[Command, ...] = ()


# ── work ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class ClaimRequest(Model):
    """Asks for an order. `execution_id` is made by the worker: the same one asked for twice gets the same order."""

    worker_id: WorkerId
    execution_id: ExecutionId
    queue_names: Annotated[tuple[QueueName, ...], Field(min_length=1, max_length=20)] = QUEUES
    wait_seconds: Annotated[float, Field(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 0.0
    number: Annotated[int, Field(ge=0, le=2**53)] = 0
    """The how manieth claim of this process, counted by execution ids; once one was answered with nothing, it and those
    before it get nothing, however late they arrive. 0: not said."""


class Earlier(Model):
    """What an earlier execution of the order left behind, so that this one does not begin again."""

    execution: Execution
    verified: bool = False
    """Its result is stored and passed verification: only the delivery remains."""
    request: WorkerRequest | None = None
    """The request for which it was parked, with its response if there is one."""
    approvals: Annotated[tuple[WorkerRequest, ...], Field(max_length=200)] = ()
    """What was agreed to in earlier executions and holds still, the newest last: without the inputs, but with the files
    as they were approved."""


class Claimed(Model):
    """An order, and all that is needed to work on it."""

    order: WorkOrder
    task: Task
    lease: Lease
    lease_seconds: float
    budget_left_usd: float
    earlier: Earlier | None = None
    rules: RepositoryRules | None = None
    """What an operator says of its repository."""
    follows: Execution | None = None
    """For a task that goes on with a completed one: the execution that delivered that one."""
    grows: Growing | None = None
    """For one that goes on with a delivery onto a branch of its own: where that began."""


class LeaseRef(Model):
    work_order_id: WorkOrderId
    token: Token


class Renewal(Model):
    worker_id: WorkerId
    leases: Annotated[tuple[LeaseRef, ...], Field(min_length=1, max_length=1000)]


class RenewedLease(Model):
    work_order_id: WorkOrderId
    status: Literal["renewed", "lost", "cancelled"]
    expires_at: Moment | None = None


class RenewalReply(Model):
    leases: tuple[RenewedLease, ...]


class Held(Model):
    """Base of all that only the holder of the lease may say. A stale token gets `LeaseLost` and changes nothing."""

    token: Token


class PhaseReport(Held):
    """Progress. What is None stays as it was; usage is the total of this execution so far."""

    phase: Phase
    base_sha: Sha | None = None
    session_id: SessionName | None = None
    usage: Usage | None = None
    comments_heard: Count | None = None
    """Up to which comment the agent was told."""


class CommentsWanted(Held):
    """Asks for comments above number `after`; waits for one if there is none yet."""

    after: Count = 0
    wait_seconds: Annotated[float, Field(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 0.0


class TranscriptBatch(Held):
    """Entries of Claude's transcript, as it writes them. `first` numbers the first; sent again, it changes nothing."""

    first: Count
    entries: Annotated[tuple[dict[str, JsonValue], ...], Field(min_length=1, max_length=1000)]


class TranscriptPage(Model):
    entries: tuple[dict[str, JsonValue], ...]
    next: Count
    """Where to go on reading."""
    over: bool
    """True when the execution has ended and nothing follows."""


class EvidenceReport(Held):
    evidence: Evidence
    head_sha: Sha | None = None


class DeliveryIntent(Held):
    delivery: Delivery


class Completion(Held):
    delivery: Delivery
    usage: Usage
    summary: Text = ""
    """Claude's last message."""


class FailureReport(Held):
    failure: Failure
    usage: Usage = Usage()


class Surrender(Held):
    """The order is given back unharmed."""

    usage: Usage = Usage()
    why: Line = "drained"


class NewRequest(Held):
    """A request as the worker sends it; the server adds the rest."""

    id: RequestId
    kind: RequestKind
    message: Text
    context: Text = ""
    options: Annotated[tuple[Line, ...], Field(max_length=20)] = ()
    call: ToolUse | None = None
    expires_in_seconds: Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)] = 3 * 86_400


class Asking(Model):
    """A request that is asked while the order is kept."""

    execution_id: ExecutionId
    request: NewRequest


class Parking(Held):
    """Stop here until `request` is answered: no slot, no lease, no process until then."""

    request: NewRequest
    usage: Usage = Usage()


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────


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


class TaskFilter(Model):
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
    lines: tuple[QueueLine, ...]
    totals: dict[OrderStatus, int]
    dead_letters: tuple[WorkOrder, ...] = ()
    """The latest failed orders, at most 100."""
    limits: tuple[ModelLimit, ...] = ()
    """Model accounts whose limit is used up: their workers get no orders until it is over."""

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def demand(self) -> dict[WorkerType, int]:
        """For every worker type, how many of its orders run, or would at once if there were a worker: what to scale by.
        What is blocked, delayed or waiting needs none."""
        wanted = dict.fromkeys(WorkerType, 0)
        for line in self.lines:
            wanted[line.type] += line.pending - line.delayed + line.running
        return wanted
