"""The unit that workers claim."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Model, Moment
from agentvine.domain.execution import Count, Dollars
from agentvine.domain.ids import ExecutionId, RequestId, TaskId, WorkerId, WorkOrderId
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository import BranchName, RepositoryUrl
from agentvine.domain.retry import Failure
from agentvine.domain.task import QueueName, Specialization, TaskStatus
from agentvine.domain.worker_types import TaskType


class OrderStatus(StrEnum):
    """Who moves an order on is said by `lifecycle.TRANSITIONS`."""

    PENDING = "pending"
    """Claimable, once nothing blocks it and `not_before` has passed."""
    RUNNING = "running"
    """Leased to a worker."""
    WAITING = "waiting"
    """Parked: no worker, no lease, no process; a request is open."""
    COMPLETED = "completed"
    FAILED = "failed"
    """In the dead-letter list, with its reason, until somebody requeues it."""
    CANCELLED = "cancelled"


TERMINAL = frozenset({OrderStatus.COMPLETED, OrderStatus.FAILED, OrderStatus.CANCELLED})
LIVE = frozenset(OrderStatus) - TERMINAL


class Lease(Model):
    """The right to a work order until a time. `token` grows with every claim of the order."""

    work_order_id: WorkOrderId
    token: Annotated[int, Field(ge=1)]
    worker_id: WorkerId
    execution_id: ExecutionId
    expires_at: Moment


class WorkOrder(Model):
    """One live order per task. Changed by `lifecycle.step` and by nothing else."""

    id: WorkOrderId
    task_id: TaskId
    type: TaskType
    repository: RepositoryUrl
    branch: BranchName
    permission_level: PermissionLevel
    queue: QueueName
    priority: int
    specializations: tuple[Specialization, ...] = ()
    created_at: Moment
    updated_at: Moment
    status: OrderStatus = OrderStatus.PENDING
    blocked_by: Count = 0
    """How many of the tasks that it needs are not completed."""
    not_before: Moment | None = None
    front: bool = False
    """True for one that was parked: it goes before all others of its queue."""
    attempts: Count = 0
    """How often it was claimed; never shrinks."""
    forgiven: Count = 0
    """How many of these attempts do not count."""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    workers_lost: Count = 0
    setbacks: Count = 0
    """How many failures for which it is not to blame came in a row; the wait before the next try grows with them."""
    lease_token: Count = 0
    lease: Lease | None = None
    request_id: RequestId | None = None
    """The open request for which it waits."""
    last_execution_id: ExecutionId | None = None
    failure: Failure | None = None
    """Why the last execution did not succeed, also while it is to be tried again."""
    spent_usd: Dollars = 0.0

    @property
    def charged(self) -> int:
        """Attempts that count."""
        return self.attempts - self.forgiven

    @property
    def task_status(self) -> TaskStatus:
        """What its task says of itself."""
        if self.status is OrderStatus.PENDING and self.blocked_by:
            return TaskStatus.BLOCKED
        return TaskStatus(self.status.value)
