"""Requests of workers and their answers, and what an answer does to the order that waits for it.

A request that is stored is judged in the same transaction, by the policy and then by precedents: what they settle is
answered before anybody sees it open, in the way in which a person's answer is kept, told and handed on.
"""

from datetime import datetime, timedelta

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import Conflict, Forbidden
from agentvine.domain.event import EventKind
from agentvine.domain.execution import Execution, Outcome
from agentvine.domain.key import Key
from agentvine.domain.precedent import Remember
from agentvine.domain.request import ControllerResponse, RequestKind, RequestStatus, Unanswered, WorkerRequest
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.kit.clock import Clock
from agentvine.server.answers import check_fits, lapsed, over, same_answer, told_of, told_of_answer, with_end
from agentvine.server.chronicle import Told, actor_of, tell_request
from agentvine.server.control_plane import Orders
from agentvine.server.controller import PolicyInForce, Ruling, response_of
from agentvine.server.holding import held, live_execution
from agentvine.server.permits import known, not_found
from agentvine.server.precedents import Precedents
from agentvine.server.terms import Terms
from agentvine.store import audit, executions, keys, requests, work_orders
from agentvine.store.unit import Unit
from agentvine.wire import messages as m
from agentvine.wire.channels import RequestMessage, Ring


class Conversations:
    """Runs inside transactions, as `Orders` does; orders are locked before requests."""

    def __init__(
        self, orders: Orders, clock: Clock, policy: PolicyInForce, precedents: Precedents, terms: Terms
    ) -> None:
        self._orders = orders
        self._clock = clock
        self._policy = policy
        self._precedents = precedents
        self._terms = terms

    def ask(self, unit: Unit, execution_id: str, new: m.NewRequest, key: Key) -> WorkerRequest:
        """Store what a live execution asks. Asked again it is returned as it stands; what was approved, and is not any
        more, is opened again."""
        again = requests.get(unit, new.id)
        mine = again is not None and again.execution_id == execution_id and _is_from(unit, again, key)
        if again is not None and mine and not lapsed(again, self._clock.now()):
            return again
        execution = live_execution(unit, execution_id, new.token, key).execution
        order = work_orders.get(unit, execution.work_order_id)
        assert order  # noqa: S101 - there is no execution without one; what rules look at never changes
        return self._opened(unit, order, execution, new, actor_of(key))

    def take(self, unit: Unit, message: RequestMessage) -> WorkerRequest:
        """As `ask`, for a worker that is known only by what it says, so all of it is checked.

        Raises `NotFound` and `Forbidden` besides.
        """
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

    def answer(
        self,
        unit: Unit,
        request_id: str,
        response: ControllerResponse,
        actor: str,
        remembered: tuple[Remember, Key] | None = None,
    ) -> WorkerRequest:
        """The first answer stands, and what waited for it goes on. One that comes too late is kept all the same: the
        call finds it if it is asked again. `remembered`: settle the like with it, in the name of this key."""
        request, order = self._locked(unit, request_id)
        check_fits(request, response)
        if request.response is not None:
            answered = same_answer(request, request.response, response)
        elif request.status is RequestStatus.WITHDRAWN:
            raise over(request)
        else:
            answered = self._answered(unit, request, response, Told(actor))
            self._go_on(unit, order, answered)
        if remembered is not None:
            self._precedents.keep(unit, order, answered, *remembered)
        return answered

    def answer_open(self, unit: Unit, request_id: str, response: ControllerResponse) -> bool:
        """As `answer`, for one who has no right to be first: False if the request is no longer open."""
        request, order = self._locked(unit, request_id)
        if request.status is not RequestStatus.OPEN:
            return False
        check_fits(request, response)
        self._go_on(unit, order, self._answered(unit, request, response, Told(response.made_by)))
        return True

    def leave_to_people(self, unit: Unit, request_id: str, by: str, why: str) -> None:
        """Tell that somebody who could have answered an open request leaves it to people."""
        request, _ = self._locked(unit, request_id)
        if request.status is RequestStatus.OPEN:
            told = Told(by, data={"by": by, "why": why})
            tell_request(unit, EventKind.REQUEST_LEFT_TO_PEOPLE, self._clock.now(), request, told)

    def expire(self, unit: Unit, request_id: str) -> None:
        """Nobody answered. The order that waits fails or goes on without, as was decided when it was asked."""
        request, order = self._locked(unit, request_id)
        if request.status is not RequestStatus.OPEN:
            return
        requests.set_status(unit, request.id, RequestStatus.EXPIRED)
        expired = request.model_copy(update={"status": RequestStatus.EXPIRED})
        told = Told(data={"unanswered": _applied(expired).value, **told_of(expired)})
        tell_request(unit, EventKind.REQUEST_EXPIRED, self._clock.now(), expired, told)
        unit.ring(Ring(kind="response", request_id=request.id, worker_id=_asker(unit, request)))
        self._go_on(unit, order, expired)

    def _opened(
        self, unit: Unit, order: WorkOrder, execution: Execution, new: m.NewRequest, actor: str
    ) -> WorkerRequest:
        now = self._clock.now()
        request = _request(execution, new, now)
        ruling = self._policy.ruling(order, request)
        request = ruling.applied(request)
        told = Told(actor, data={"unanswered": request.unanswered.value, **told_of(request)})
        if requests.insert(unit, request):
            tell_request(unit, EventKind.REQUEST_OPENED, now, request, told)
            return self._judged(unit, order, request, ruling)
        there = requests.locked(unit, new.id)
        if there is None or there.work_order_id != execution.work_order_id:
            raise Conflict(f"the request id {new.id} is taken", status="taken")
        if not lapsed(there, now) and not _ended_with(there, execution):
            return there
        requests.reopen(unit, request)
        tell_request(unit, EventKind.REQUEST_OPENED, now, request, told)
        return self._judged(unit, order, request, ruling)

    def _judged(self, unit: Unit, order: WorkOrder, request: WorkerRequest, ruling: Ruling) -> WorkerRequest:
        """A new request, answered if a rule settles it, or a precedent where there is no rule. Nothing waits for it
        yet."""
        rule = ruling.rule
        if rule is None:
            response = self._precedents.settles(unit, order, request)
            return self._answered(unit, request, response, Told(response.made_by)) if response else request
        if not ruling.settles:
            return request
        response = response_of(rule, self._clock.now())
        if response.verdict == "denied" and _denied_before(unit, request, response.made_by):
            return request
        return self._answered(unit, request, response, Told(response.made_by, data={"reason": rule.reason}))

    def _answered(self, unit: Unit, request: WorkerRequest, response: ControllerResponse, told: Told) -> WorkerRequest:
        """The answer to an open request, or the late one to an expired request, kept and told."""
        late = request.status is RequestStatus.EXPIRED
        response = with_end(request, response, self._terms.approval_seconds)
        kind = EventKind.REQUEST_ANSWERED_LATE if late else EventKind.REQUEST_ANSWERED
        data = {**told_of_answer(request, response), **told.data}
        if late:
            data["unanswered"] = _applied(request).value
            requests.save_late_answer(unit, request.id, response)
        else:
            requests.save_answer(unit, request.id, response)
        status = request.status if late else RequestStatus.ANSWERED
        answered = request.model_copy(update={"status": status, "response": response})
        now = self._clock.now()
        tell_request(unit, kind, now, answered, Told(told.actor, data=data))
        if response.made_by.startswith(("key:", "forge:")):
            entry = {"request_id": request.id, "task_id": request.task_id, "late": late, **data}
            audit.append(unit, audit.Draft(AuditKind.REQUEST_ANSWERED, now, told.actor, entry))
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
            self._orders.expire(unit, order, request.id, fatal=_applied(request) is Unanswered.FAIL)


def _applied(request: WorkerRequest) -> Unanswered:
    """What happens to a request that nobody answers. A result that nobody approved never leaves."""
    delivery = request.kind is RequestKind.APPROVAL and request.call is None
    return Unanswered.FAIL if delivery else request.unanswered


def _ended_with(request: WorkerRequest, execution: Execution) -> bool:
    """True if the order ended while it asked this, and was requeued: then it is asked again."""
    if request.status is RequestStatus.WITHDRAWN:
        return True
    failed = request.status is RequestStatus.EXPIRED and _applied(request) is Unanswered.FAIL
    return failed and request.response is None and request.execution_id != execution.id


def _denied_before(unit: Unit, request: WorkerRequest, made_by: str) -> bool:
    """True if this order was denied the same in the same name: a delivery that is denied with a reason is made again
    and asked for again, so a rule that denies it each time would let the order run until its budget is spent."""
    return request.call is None and any(
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
