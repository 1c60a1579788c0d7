"""The state machine of a work order: every legal move, and what it does. All changes of an order go through `step`.

    pending ──claim──▶ running ──park──▶ waiting ──resume──▶ pending (first in its queue)
       ▲                │ │ └─complete─▶ completed    └─expire─▶ pending, or failed
       ├──── release ───┘ │
       ├──── fail, lose ──┴─ for good ─▶ failed ──requeue──▶ pending          any live state ──cancel──▶ cancelled
       └─ abandon, while blocked ──────▶ failed, for ever

A move that carries a lease token is a worker's; it is refused with `LeaseLost` unless the token is the order's present
one. A move that carries none is the server's own or a person's. `step` is pure: the time comes with the move, and so
does the draw that spreads retries.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from agentvine.domain.errors import Conflict, LeaseLost
from agentvine.domain.retry import RETRY_RULES, Failure, FailureReason
from agentvine.domain.work_order import Lease, OrderStatus, WorkOrder

LOST_WORKERS_LIMIT = 3
"""An order that was being worked on while this many workers died is taken out of circulation."""


@dataclass(frozen=True, slots=True)
class Move:
    """Base of all moves. `at` is the server's time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class HeldMove(Move):
    """A move of the worker that holds the lease."""

    token: int


@dataclass(frozen=True, slots=True)
class Claim(Move):
    """A worker takes the order, with a lease that lasts so long."""

    worker_id: str
    execution_id: str
    lease_for: timedelta


@dataclass(frozen=True, slots=True)
class Renew(HeldMove):
    """Its holder is at work still: the lease lasts so long from now on."""

    lease_for: timedelta


@dataclass(frozen=True, slots=True)
class Release(HeldMove):
    """The worker gives the order back unharmed; the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Park(HeldMove):
    """It waits for an answer, and holds no slot and no lease meanwhile."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Complete(HeldMove):
    """Its result was delivered."""


@dataclass(frozen=True, slots=True)
class Fail(HeldMove):
    """It did not work out; whether it is tried again is said by the retry rules."""

    failure: Failure
    draw: float = 1.0
    """In [0, 1]: where in the upper half of the backoff the retry falls."""


@dataclass(frozen=True, slots=True)
class Lose(Move):
    """The lease ran out, or its worker is known to be gone."""

    detail: str = "the worker stopped renewing its lease"


@dataclass(frozen=True, slots=True)
class Resume(Move):
    """The request was answered."""


@dataclass(frozen=True, slots=True)
class Expire(Move):
    """No answer came in time. `fatal`: the order fails instead of going on without one."""

    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Cancel(Move):
    """Nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Requeue(Move):
    """A person reopens a failed order; all its attempts so far are forgiven."""


@dataclass(frozen=True, slots=True)
class Unblock(Move):
    """One of the tasks that it needs was completed."""


@dataclass(frozen=True, slots=True)
class Abandon(Move):
    """A task that it needs was cancelled, or waited for one that was: it can never run. Only for a blocked order."""

    cancelled_task_id: str


_S = OrderStatus
TRANSITIONS: Mapping[tuple[OrderStatus, type[Move]], frozenset[OrderStatus]] = MappingProxyType(
    {
        (_S.PENDING, Claim): frozenset({_S.RUNNING}),
        (_S.PENDING, Unblock): frozenset({_S.PENDING}),
        (_S.PENDING, Abandon): frozenset({_S.FAILED}),
        (_S.RUNNING, Renew): frozenset({_S.RUNNING}),
        (_S.RUNNING, Release): frozenset({_S.PENDING}),
        (_S.RUNNING, Park): frozenset({_S.WAITING}),
        (_S.RUNNING, Complete): frozenset({_S.COMPLETED}),
        (_S.RUNNING, Fail): frozenset({_S.PENDING, _S.FAILED}),
        (_S.RUNNING, Lose): frozenset({_S.PENDING, _S.FAILED}),
        (_S.WAITING, Resume): frozenset({_S.PENDING}),
        (_S.WAITING, Expire): frozenset({_S.PENDING, _S.FAILED}),
        (_S.FAILED, Requeue): frozenset({_S.PENDING}),
        **{(status, Cancel): frozenset({_S.CANCELLED}) for status in (_S.PENDING, _S.RUNNING, _S.WAITING)},
    }
)
"""From where, by which move, to where. What is not here is refused."""


def step(order: WorkOrder, move: Move) -> WorkOrder:
    """`order` after `move`.

    Raises `LeaseLost` if the move's token is not the present one, `Conflict` if the move is illegal in the order's
    state. The order that came in is untouched.
    """
    if isinstance(move, HeldMove):
        _check_token(order, move)
    targets = TRANSITIONS.get((order.status, type(move)))
    if targets is None:
        verb = type(move).__name__.lower()
        raise Conflict(
            f"the work order is {order.status}: {verb} is not possible", status=order.status.value, move=verb
        )
    changes = _EFFECTS[type(move)](order, move)
    after = order.model_copy(update={**changes, "updated_at": move.at})
    assert after.status in targets, f"{move!r} led to {after.status}"  # noqa: S101 - the table is the law
    return after


def _check_token(order: WorkOrder, move: HeldMove) -> None:
    if order.status is not OrderStatus.RUNNING or order.lease_token != move.token:
        raise LeaseLost(
            f"the lease on {order.id} with token {move.token} is over; the order is {order.status}",
            status=order.status.value,
            work_order_id=order.id,
        )


_Changes = dict[str, Any]


def _claim(order: WorkOrder, move: Claim) -> _Changes:
    if order.blocked_by or (order.not_before and order.not_before > move.at):
        raise Conflict(f"{order.id} is not claimable yet", status=order.status.value)
    token = order.lease_token + 1
    lease = Lease.model_construct(
        work_order_id=order.id,
        token=token,
        worker_id=move.worker_id,
        execution_id=move.execution_id,
        expires_at=move.at + move.lease_for,
    )
    return {
        "status": OrderStatus.RUNNING,
        "lease_token": token,
        "lease": lease,
        "attempts": order.attempts + 1,
        "last_execution_id": move.execution_id,
        "not_before": None,
        "front": False,
    }


def _renew(order: WorkOrder, move: Renew) -> _Changes:
    assert order.lease  # noqa: S101 - running orders have one
    return {"lease": order.lease.model_copy(update={"expires_at": move.at + move.lease_for})}


def _free(status: OrderStatus, **more: object) -> _Changes:
    return {"status": status, "lease": None, **more}


def _release(order: WorkOrder, move: Release) -> _Changes:
    return _free(OrderStatus.PENDING, forgiven=order.forgiven + 1, front=True)


def _park(order: WorkOrder, move: Park) -> _Changes:
    return _free(OrderStatus.WAITING, request_id=move.request_id, forgiven=order.forgiven + 1, setbacks=0)


def _complete(order: WorkOrder, move: Complete) -> _Changes:
    return _free(OrderStatus.COMPLETED, failure=None, front=False)


def _fail(order: WorkOrder, move: Fail) -> _Changes:
    rule = RETRY_RULES[move.failure.reason]
    forgiven = order.forgiven if rule.counts else order.forgiven + 1
    setbacks = 0 if rule.counts else order.setbacks + bool(rule.first_delay)
    after: _Changes = {"failure": move.failure, "forgiven": forgiven, "setbacks": setbacks}
    if not rule.retry or order.attempts - forgiven >= order.max_attempts:
        return _free(OrderStatus.FAILED, **after)
    bound = rule.delay(order.attempts - forgiven if rule.counts else setbacks)
    delay = max(bound / 2 + bound / 2 * move.draw, move.failure.retry_after_seconds or 0.0)
    return _free(OrderStatus.PENDING, not_before=move.at + timedelta(seconds=delay) if delay else None, **after)


def _lose(order: WorkOrder, move: Lose) -> _Changes:
    lost = order.workers_lost + 1
    failure = Failure(reason=FailureReason.WORKER_LOST, detail=move.detail)
    if lost >= LOST_WORKERS_LIMIT:
        failure = Failure(
            reason=FailureReason.QUARANTINED,
            detail=f"{lost} workers were lost while they worked on it; look at the last execution before you requeue",
        )
        return _free(OrderStatus.FAILED, failure=failure, workers_lost=lost)
    if order.charged >= order.max_attempts:
        return _free(OrderStatus.FAILED, failure=failure, workers_lost=lost)
    return _free(OrderStatus.PENDING, failure=failure, workers_lost=lost, front=True)


def _resume(order: WorkOrder, move: Resume) -> _Changes:
    return {"status": OrderStatus.PENDING, "request_id": None, "front": True}


def _expire(order: WorkOrder, move: Expire) -> _Changes:
    if not move.fatal:
        return _resume(order, Resume(move.at))
    failure = Failure(reason=FailureReason.REQUEST_EXPIRED, detail="nobody answered its request in time")
    return {"status": OrderStatus.FAILED, "request_id": None, "failure": failure}


def _cancel(order: WorkOrder, move: Cancel) -> _Changes:
    return _free(OrderStatus.CANCELLED, request_id=None)


def _requeue(order: WorkOrder, move: Requeue) -> _Changes:
    if order.blocked_by:  # it never ran: it was abandoned, and what is cancelled stays cancelled
        why = order.failure.detail if order.failure else "what it needs was not completed"
        raise Conflict(f"{order.id} cannot be requeued: {why}", status=order.status.value, move="requeue")
    return {
        "status": OrderStatus.PENDING,
        "forgiven": order.attempts,
        "workers_lost": 0,
        "setbacks": 0,
        "not_before": None,
    }


def _unblock(order: WorkOrder, move: Unblock) -> _Changes:
    return {"blocked_by": max(order.blocked_by - 1, 0)}


def _abandon(order: WorkOrder, move: Abandon) -> _Changes:
    if not order.blocked_by:
        raise Conflict(f"{order.id} waits for no other task", status=order.status.value, move="abandon")
    failure = Failure(
        reason=FailureReason.NEEDED_TASK_CANCELLED,
        detail=f"it needs the task {move.cancelled_task_id}, itself or through others, and that was cancelled; "
        "submit it anew without that",
    )
    return _free(OrderStatus.FAILED, failure=failure)


_EFFECTS: Mapping[type[Move], Callable[[WorkOrder, Any], _Changes]] = MappingProxyType(
    {
        Claim: _claim,
        Renew: _renew,
        Release: _release,
        Park: _park,
        Complete: _complete,
        Fail: _fail,
        Lose: _lose,
        Resume: _resume,
        Expire: _expire,
        Cancel: _cancel,
        Requeue: _requeue,
        Unblock: _unblock,
        Abandon: _abandon,
    }
)
