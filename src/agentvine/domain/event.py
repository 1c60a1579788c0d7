"""Immutable facts, written in the transaction that made them true."""

from enum import StrEnum

from pydantic import JsonValue

from agentvine.domain.base import Model, Moment
from agentvine.domain.ids import ExecutionId, TaskId, WorkerId, WorkOrderId


class EventKind(StrEnum):
    """`<what>.<happened>`; new kinds may appear, a reader passes over those that it does not know."""

    TASK_SUBMITTED = "task.submitted"
    TASK_COMMENTED = "task.commented"
    ORDER_CLAIMED = "order.claimed"
    ORDER_STARTED = "order.started"
    ORDER_RELEASED = "order.released"
    ORDER_PARKED = "order.parked"
    ORDER_RESUMED = "order.resumed"
    ORDER_COMPLETED = "order.completed"
    ORDER_RETRIED = "order.retried"
    ORDER_FAILED = "order.failed"
    ORDER_LOST = "order.lost"
    ORDER_CANCELLED = "order.cancelled"
    ORDER_REQUEUED = "order.requeued"
    ORDER_UNBLOCKED = "order.unblocked"
    EXECUTION_PHASE = "execution.phase"
    EXECUTION_RESULT_STORED = "execution.result_stored"
    DELIVERY_INTENDED = "delivery.intended"
    FOLLOW_UP_STARTED = "follow_up.started"
    FOLLOW_UP_RUN_AGAIN = "follow_up.run_again"
    FOLLOW_UP_FLAKY = "follow_up.flaky"
    FOLLOW_UP_STOPPED = "follow_up.stopped"
    FOLLOW_UP_ENDED = "follow_up.ended"
    REQUEST_OPENED = "request.opened"
    REQUEST_ANSWERED = "request.answered"
    REQUEST_EXPIRED = "request.expired"
    REQUEST_ANSWERED_LATE = "request.answered_late"
    REQUEST_LEFT_TO_PEOPLE = "request.left_to_people"
    PRECEDENT_MADE = "precedent.made"
    PRECEDENT_FORGOTTEN = "precedent.forgotten"
    WORKER_REGISTERED = "worker.registered"
    WORKER_OFFLINE = "worker.offline"
    KEY_CREATED = "key.created"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"


class Event(Model):
    """One fact. `seq` grows in the order in which facts became visible: who has read up to n misses nothing above n."""

    seq: int
    at: Moment
    kind: EventKind
    task_id: TaskId | None = None
    work_order_id: WorkOrderId | None = None
    execution_id: ExecutionId | None = None
    worker_id: WorkerId | None = None
    actor: str = "server"
    """`key:<id>` or `server`."""
    data: dict[str, JsonValue] = {}
