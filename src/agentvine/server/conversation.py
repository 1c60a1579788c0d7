"""Requests of workers and their answers, and what an answer does to the order that waits for it.

A request that is stored is judged by the policy in the same transaction: what a rule settles is answered before anybody
sees it open, in the way in which a person's answer is kept, told and handed on.
"""

from datetime import datetime, timedelta

from agentvine.domain.errors import AlreadyAnswered, Conflict, Forbidden
from agentvine.domain.event import EventKind
from agentvine.domain.execution import Execution, Outcome
from agentvine.domain.key import Key
from agentvine.domain.request import ControllerResponse, RequestKind, RequestStatus, WorkerRequest
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.kit.clock import Clock
from agentvine.server.chronicle import Told, actor_of, tell_request
from agentvine.server.control_plane import Orders
from agentvine.server.controller import PolicyInForce, response_of
from agentvine.server.holding import held, live_execution
from agentvine.server.permits import known, not_found
from agentvine.store import executions, keys, requests, work_orders
from agentvine.store.unit import Unit
from agentvine.wire import messages as m
from agentvine.wire.channels import RequestMessage, Ring


class Conversations:
    """Runs inside transactions, as `Orders` does; orders are locked before requests."""

    def __init__(self, orders: Orders, clock: Clock, policy: PolicyInForce) -> None:
        self._orders = orders
        self._clock = clock
        self._policy = policy

    def ask(self, unit: Unit, execution_id: str, new: m.NewRequest, key: Key) -> WorkerRequest:
        """Store what a live execution asks. Asked again it is returned as it stands."""
        again = requests.get(unit, new.id)
        if again is not None and again.execution_id == execution_id and _is_from(unit, again, key):
            return again
        execution = live_execution(unit, execution_id, new.token, key).execution
        order = work_orders.get(unit, execution.work_order_id)
        assert order  # noqa: S101 - there is no execution without one; what rules look at never changes
        return self._opened(unit, order, execution, new, actor_of(key))

    def take(self, unit: Unit, message: RequestMessage) -> WorkerRequest:
        """As `ask`, for a worker that is known only by what it says, so all of it is checked."""
        kept = executions.get(unit, known("execution", message.execution_id))
        key = keys.get(unit, kept.key_id) if kept else None
        if kept is None or key is None:
            raise not_found("execution", message.execution_id)
        if kept.execution.worker_id != message.worker_id or not key.usable(self._clock.now()):
            raise Forbidden("the execution is another worker's, or its key is revoked", needs={})
        return self.ask(unit, message.execution_id, message.request, key)

    def park(self, unit: Unit, work_order_id: str, parking: m.Parking, key: Key) -> WorkerRequest:
        """Store what is asked, and let the order wait; if the answer is there already it goes on at once."""
        order, kept = held(unit, work_order_id, parking.token, key)
        if kept.execution.outcome is Outcome.PARKED and (again := requests.get(unit, parking.request.id)):
            return again
        request = self._opened(unit, order, kept.execution, parking.request, actor_of(key))
        after = self._orders.park(unit, order, kept, parking, request.id, actor_of(key))
        self._go_on(unit, after, request)
        return request

    def answer(self, unit: Unit, request_id: str, response: ControllerResponse, actor: str) -> WorkerRequest:
        """The first answer stands, and what waited for it goes on."""
        request, order = self._locked(unit, request_id)
        if request.response is not None:
            return _same_answer(request, request.response, response)
        if request.status is not RequestStatus.OPEN:
            raise Conflict(f"the request is {request.status}", status=request.status.value)
        answered = self._answered(unit, request, response, Told(actor))
        self._go_on(unit, order, answered)
        return answered

    def expire(self, unit: Unit, request_id: str) -> None:
        """Nobody answered. A clarification's order goes on without; an approval's fails, as if it had been denied."""
        request, order = self._locked(unit, request_id)
        if request.status is not RequestStatus.OPEN:
            return
        requests.set_status(unit, request.id, RequestStatus.EXPIRED)
        expired = request.model_copy(update={"status": RequestStatus.EXPIRED})
        tell_request(unit, EventKind.REQUEST_EXPIRED, self._clock.now(), expired, Told())
        self._go_on(unit, order, expired)

    def _opened(
        self, unit: Unit, order: WorkOrder, execution: Execution, new: m.NewRequest, actor: str
    ) -> WorkerRequest:
        now = self._clock.now()
        request = _request(execution, new, now)
        if requests.insert(unit, request):
            tell_request(unit, EventKind.REQUEST_OPENED, now, request, Told(actor))
            return self._judged(unit, order, request)
        there = requests.locked(unit, new.id)
        if there is None or there.work_order_id != execution.work_order_id:
            raise Conflict(f"the request id {new.id} is taken", status="taken")
        if there.status is not RequestStatus.WITHDRAWN:
            return there
        requests.reopen(unit, request)  # the order had ended, and was requeued
        tell_request(unit, EventKind.REQUEST_OPENED, now, request, Told(actor))
        return self._judged(unit, order, request)

    def _judged(self, unit: Unit, order: WorkOrder, request: WorkerRequest) -> WorkerRequest:
        """A new request, answered if a rule settles it. Nothing waits for it yet."""
        rule = self._policy.rule_for(order, request)
        if rule is None:
            return request
        response = response_of(rule, self._clock.now())
        if response.verdict == "denied" and _denied_before(unit, request, response.made_by):
            return request
        return self._answered(unit, request, response, Told(response.made_by, data={"reason": rule.reason}))

    def _answered(self, unit: Unit, request: WorkerRequest, response: ControllerResponse, told: Told) -> WorkerRequest:
        requests.save_answer(unit, request.id, response)
        answered = request.model_copy(update={"status": RequestStatus.ANSWERED, "response": response})
        told = Told(told.actor, data={"verdict": response.verdict, "by": response.made_by, **told.data})
        tell_request(unit, EventKind.REQUEST_ANSWERED, self._clock.now(), answered, told)
        unit.ring(Ring(kind="response", request_id=request.id, worker_id=_asker(unit, request)))
        return answered

    def _locked(self, unit: Unit, request_id: str) -> tuple[WorkerRequest, WorkOrder]:
        seen = requests.get(unit, known("request", request_id))
        order = work_orders.locked(unit, seen.work_order_id) if seen else None
        request = requests.locked(unit, request_id) if order else None
        if request is None or order is None:
            raise not_found("request", request_id)
        return request, order

    def _go_on(self, unit: Unit, order: WorkOrder, request: WorkerRequest) -> None:
        if order.status is not OrderStatus.WAITING or order.request_id != request.id:
            return
        if request.status is RequestStatus.ANSWERED:
            self._orders.resume(unit, order, request.id)
        elif request.status is not RequestStatus.OPEN:
            self._orders.expire(unit, order, request.id, fatal=request.kind is RequestKind.APPROVAL)


def _same_answer(request: WorkerRequest, given: ControllerResponse, offered: ControllerResponse) -> WorkerRequest:
    if (given.verdict, given.message) == (offered.verdict, offered.message):
        return request
    raise AlreadyAnswered(
        f"{given.made_by} answered it first: {given.verdict}", status="answered", response=given.model_dump(mode="json")
    )


def _denied_before(unit: Unit, request: WorkerRequest, made_by: str) -> bool:
    """True if this order was denied the same in the same name: a delivery that is denied with a reason is made again
    and asked for again, so a rule that denies it each time would let the order run until its budget is spent."""
    return any(
        earlier.message == request.message and earlier.response is not None and earlier.response.made_by == made_by
        for earlier in requests.of_order(unit, request.work_order_id)
    )


def _is_from(unit: Unit, request: WorkerRequest, key: Key) -> bool:
    kept = executions.get(unit, request.execution_id)
    return kept is not None and kept.key_id == key.id


def _asker(unit: Unit, request: WorkerRequest) -> str | None:
    kept = executions.get(unit, request.execution_id)
    return kept.execution.worker_id if kept else None


def _request(execution: Execution, new: m.NewRequest, now: datetime) -> WorkerRequest:
    return WorkerRequest(
        id=new.id,
        task_id=execution.task_id,
        work_order_id=execution.work_order_id,
        execution_id=execution.id,
        kind=new.kind,
        message=new.message,
        context=new.context,
        options=new.options,
        call=new.call,
        created_at=now,
        expires_at=now + timedelta(seconds=new.expires_in_seconds),
    )
