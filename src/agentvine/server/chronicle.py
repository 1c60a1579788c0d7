"""How what happens to orders and requests is told as events."""

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from agentvine.domain import lifecycle
from agentvine.domain.event import EventKind
from agentvine.domain.execution import Execution
from agentvine.domain.key import Key
from agentvine.domain.request import WorkerRequest
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.store import events
from agentvine.store.unit import Unit

SERVER = "server"
_K = EventKind
_KINDS = {
    lifecycle.Claim: _K.ORDER_CLAIMED,
    lifecycle.Release: _K.ORDER_RELEASED,
    lifecycle.Park: _K.ORDER_PARKED,
    lifecycle.Complete: _K.ORDER_COMPLETED,
    lifecycle.Fail: _K.ORDER_RETRIED,
    lifecycle.Lose: _K.ORDER_LOST,
    lifecycle.Resume: _K.ORDER_RESUMED,
    lifecycle.Expire: _K.ORDER_RESUMED,
    lifecycle.Cancel: _K.ORDER_CANCELLED,
    lifecycle.Requeue: _K.ORDER_REQUEUED,
    lifecycle.Unblock: _K.ORDER_UNBLOCKED,
    lifecycle.Abandon: _K.ORDER_FAILED,
}
_BECAUSE = frozenset({_K.ORDER_FAILED, _K.ORDER_RETRIED, _K.ORDER_LOST})


def actor_of(key: Key) -> str:
    """A key, as events name it."""
    return f"key:{key.id}"


@dataclass(frozen=True, slots=True)
class Told:
    """What an event says besides what happened."""

    actor: str = SERVER
    execution: Execution | None = None
    data: dict[str, JsonValue] = field(default_factory=dict)


def tell_move(unit: Unit, move: lifecycle.Move, after: WorkOrder, told: Told) -> None:
    """A move, and that it ended in failure if it did; a retry that did not come about is not told."""
    failed = after.status is OrderStatus.FAILED
    if not (failed and isinstance(move, lifecycle.Fail | lifecycle.Expire | lifecycle.Abandon)):
        tell(unit, _KINDS[type(move)], after, told)
    if failed:
        tell(unit, _K.ORDER_FAILED, after, told)


def tell(unit: Unit, kind: EventKind, order: WorkOrder, told: Told) -> None:
    """Something happened to an order, which now is `order`."""
    execution = told.execution
    data: dict[str, JsonValue] = {"status": order.status.value, "token": order.lease_token}
    if kind is _K.ORDER_CLAIMED:
        data |= {"attempt": order.attempts, "queue": order.queue, "priority": order.priority}
    elif order.failure is not None and kind in _BECAUSE:
        data |= {"reason": order.failure.reason.value, "detail": order.failure.detail}
    fact = events.Fact(
        kind,
        order.updated_at,
        told.actor,
        order.task_id,
        order.id,
        execution.id if execution else None,
        execution.worker_id if execution else None,
        data | told.data,
    )
    events.write(unit, fact)


def tell_execution(unit: Unit, kind: EventKind, at: datetime, execution: Execution, told: Told) -> None:
    """An execution got on."""
    fact = events.Fact(
        kind,
        at,
        told.actor,
        execution.task_id,
        execution.work_order_id,
        execution.id,
        execution.worker_id,
        {"token": execution.lease_token, **told.data},
    )
    events.write(unit, fact)


def tell_request(unit: Unit, kind: EventKind, at: datetime, request: WorkerRequest, told: Told) -> None:
    """Something happened to a request."""
    fact = events.Fact(
        kind,
        at,
        told.actor,
        request.task_id,
        request.work_order_id,
        request.execution_id,
        data={"request_id": request.id, "kind": request.kind.value, **told.data},
    )
    events.write(unit, fact)
