"""What is said over the wire. Domain types travel as they are; here is what goes around them.

What workers say stands here; what people say and are shown is in people.py, and can be had from here as well.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from agentvine.domain.base import Line, Model, Moment, Note, SessionName, Text
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Count, Delivery, Execution, Phase, Usage
from agentvine.domain.ids import ExecutionId, RequestId, WorkerId, WorkOrderId
from agentvine.domain.model_limit import DEFAULT_ACCOUNT, ModelAccount
from agentvine.domain.pull_followed import Growing
from agentvine.domain.repository import Sha
from agentvine.domain.repository_settings import RepositoryRules
from agentvine.domain.request import RequestKind, ToolUse, WorkerRequest
from agentvine.domain.retry import Failure
from agentvine.domain.task import QUEUES, QueueName, Specialization, Task
from agentvine.domain.work_order import Lease, WorkOrder
from agentvine.domain.worker import Metrics, Worker, WorkerStatus
from agentvine.domain.worker_types import WorkerType
from agentvine.wire.people import (
    Asked,
    Comment,
    CommentPage,
    Inbox,
    NamedTask,
    NewComment,
    Page,
    QueueLine,
    QueueReport,
    Remark,
    Reply,
    Retry,
    TaskBatch,
    TaskDetail,
    TaskFilter,
)

__all__ = [
    "LARGEST_ARTIFACT",
    "LARGEST_BODY",
    "LARGEST_WEBHOOK",
    "LONGEST_WAIT",
    "MOST_ARTIFACTS",
    "MOST_ENTRIES",
    "Asked",
    "Asking",
    "ClaimRequest",
    "Claimed",
    "Command",
    "Comment",
    "CommentPage",
    "CommentsWanted",
    "Completed",
    "Completion",
    "DeliveryIntent",
    "Earlier",
    "EvidenceReport",
    "FailureReport",
    "Heartbeat",
    "HeartbeatReply",
    "Held",
    "Inbox",
    "LeaseRef",
    "NamedTask",
    "NewComment",
    "NewRequest",
    "Page",
    "Parking",
    "PhaseReport",
    "QueueLine",
    "QueueReport",
    "Registered",
    "Registration",
    "Remark",
    "Renewal",
    "RenewalReply",
    "RenewedLease",
    "Reply",
    "Retry",
    "Surrender",
    "TaskBatch",
    "TaskDetail",
    "TaskFilter",
    "Token",
    "TranscriptBatch",
    "TranscriptPage",
    "WorkerConfiguration",
]

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
    """What a worker is told when it has presented itself."""

    worker: Worker
    server_version: Line
    lease_seconds: float
    """How long a lease lasts; renew at a third of it, fence yourself at two thirds without an acknowledgement."""
    session: str = ""
    """What shows from now on that this process speaks. The worker's next registration makes it worthless."""
    protocol: int = 1
    """What both speak from now on."""


class Heartbeat(Model):
    """How a worker is, told every few seconds."""

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
    """What the server wants of the worker."""

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
    """A lease, by its order and its token."""

    work_order_id: WorkOrderId
    token: Token


class Renewal(Model):
    """All of a worker's leases, to be renewed at once."""

    worker_id: WorkerId
    leases: Annotated[tuple[LeaseRef, ...], Field(min_length=1, max_length=1000)]


class RenewedLease(Model):
    """What became of one of them. `expires_at`: of a renewed one."""

    work_order_id: WorkOrderId
    status: Literal["renewed", "lost", "cancelled"]
    expires_at: Moment | None = None


class RenewalReply(Model):
    """What became of each, in the order in which they were named."""

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
    """A part of a transcript."""

    entries: tuple[dict[str, JsonValue], ...]
    next: Count
    """Where to go on reading."""
    over: bool
    """True when the execution has ended and nothing follows."""


class EvidenceReport(Held):
    """What the verification found, of which commit."""

    evidence: Evidence
    head_sha: Sha | None = None


class DeliveryIntent(Held):
    """What is about to be pushed: said before, so that nobody who comes after pushes it twice."""

    delivery: Delivery


class Completion(Held):
    """The order is done: it was delivered."""

    delivery: Delivery
    usage: Usage
    summary: Text = ""
    """Claude's last message."""
    next: ClaimRequest | None = None
    """What the worker would like to do next. It is looked for once, without waiting, in the same transaction."""


class Completed(WorkOrder):
    """The order that was completed, and what comes next; whoever asked for nothing reads an order."""

    next: Claimed | None = None


class FailureReport(Held):
    """The order could not be carried out, and why."""

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
