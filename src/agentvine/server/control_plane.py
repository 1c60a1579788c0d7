"""How work orders change: every move of every order, made here, by asking `domain/lifecycle.py`.

Each method runs inside one transaction (`Unit`): it locks the order, lets `lifecycle.step` judge the move, keeps what
comes out together with the execution's end and the event that tells of it, and notes whom to wake after the commit.
Either all of that becomes true, or none. Methods raise what the contract in `wire/` says.
"""

from datetime import timedelta
from random import Random, SystemRandom

from agentvine.domain import lifecycle
from agentvine.domain.errors import Conflict, LeaseLost
from agentvine.domain.event import EventKind
from agentvine.domain.execution import Execution, Outcome, Phase, Usage
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key
from agentvine.domain.retry import RETRY_RULES, Failure, FailureReason
from agentvine.domain.task import Task
from agentvine.domain.work_order import TERMINAL, OrderStatus, WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import Clock
from agentvine.server.allowance import Allowance, allowance, till_the_day_affords_it
from agentvine.server.choice import Search
from agentvine.server.chronicle import SERVER, Told, actor_of, tell, tell_move
from agentvine.server.handover import earlier, followed
from agentvine.server.holding import held, locked_order, own_worker
from agentvine.server.model_limits import noted
from agentvine.server.origin import growing
from agentvine.server.permits import bad_key, permit_type
from agentvine.server.planted import planted
from agentvine.server.terms import Terms
from agentvine.store import executions, repositories, requests, tasks, work_orders, workers
from agentvine.store.executions import Ending, Kept
from agentvine.store.rows import build
from agentvine.store.unit import Row, Unit
from agentvine.wire import messages as m
from agentvine.wire.channels import Ring


class WorkerLeaving(Exception):
    """The worker was told to drain: there will be no order for it, however long it waits."""


class ClaimAnswered(Exception):
    """This claim was answered with nothing before: whoever asks once more, or late, gets no order for it."""


class Orders:
    """The moves of work orders. Knows no key but for whose it is that speaks, and no waiting."""

    def __init__(self, clock: Clock, terms: Terms, random: Random | None = None) -> None:
        """`random` draws where in its backoff a retry falls."""
        self._clock = clock
        self._terms = terms
        self._random = random or SystemRandom()

    # ── claim ────────────────────────────────────────────────────────────────────────────────────────────────────

    def claim(self, unit: Unit, ask: m.ClaimRequest, key: Key) -> m.Claimed | None:
        """Hand out the best order, or the one that was handed out under this execution id already.

        Raises `Unauthenticated` for a key that has ended, `WorkerLeaving`, `ClaimAnswered`.
        """
        claimer = own_worker(unit, ask.worker_id, key, ask.execution_id)
        if not claimer.key_usable(self._clock.now()):  # it may have ended while this claim was parked
            raise bad_key()
        if claimer.execution_known:
            return self._claimed_before(unit, ask)
        permit_type(key, claimer.worker_type)
        if claimer.draining:
            raise WorkerLeaving
        if claimer.model_from is not None and self._clock.now() < claimer.model_from:
            return None
        _check_open(ask, claimer.claims_answered)
        search = Search(claimer, key.scope, ask.queue_names, self._terms.repository_concurrency, self._clock.now())
        while row := search.next(unit) or self._next_after_promotion(unit, search):
            order = work_orders.order_of(row)
            if row["budget_usd"] > order.spent_usd:
                if ask.number:  # a look before it was answered must not find something after that
                    _check_open(ask, workers.claims_answered(unit, ask.worker_id))
                after, _ = self._begin(unit, order, ask.execution_id, ask.worker_id, key)
                task = tasks.task_of(row, order.task_id, order.id)
                return self._claimed(unit, after, task, row["budget_usd"], known=row["known_as"] is not None)
            self._refuse_overspent(unit, order, ask.worker_id, key)
        return None

    def answer_with_nothing(self, unit: Unit, ask: m.ClaimRequest, key: Key) -> m.Claimed | None:
        """Let this claim, which has waited long enough, never get an order; unless it just got one."""
        own_worker(unit, ask.worker_id, key)
        workers.answer_claims(unit, ask.worker_id, ask.number)
        if executions.get(unit, ask.execution_id) is None:
            return None
        return self._claimed_before(unit, ask)

    def _next_after_promotion(self, unit: Unit, search: Search) -> Row | None:
        return search.next(unit) if self.promote_due(unit) else None

    def _begin(
        self, unit: Unit, order: WorkOrder, execution_id: str, worker_id: str, key: Key
    ) -> tuple[WorkOrder, Execution]:
        now = self._clock.now()
        move = lifecycle.Claim(now, worker_id, execution_id, timedelta(seconds=self._terms.claim_ack_seconds))
        execution = executions.first_record(order, move)
        after = self._move(unit, order, move, Told(actor_of(key), execution))
        executions.insert(unit, execution, key.id)
        return after, execution

    def _claimed(self, unit: Unit, order: WorkOrder, task: Task, budget_usd: float, *, known: bool = True) -> m.Claimed:
        """`known` False: nobody has said anything of its repository."""
        assert order.lease  # noqa: S101 - it was just claimed
        allowed = allowance(unit, order, self._clock.now()) if known else Allowance()
        return build(
            m.Claimed,
            {
                "order": order,
                "task": task.model_copy(update={"status": order.task_status}),
                "lease": order.lease,
                "lease_seconds": self._terms.lease_seconds,
                "budget_left_usd": max(min(budget_usd - order.spent_usd, allowed.left_usd), 0.0),
                "earlier": earlier(unit, order.id, order.lease_token, order.updated_at) if order.attempts > 1 else None,
                "rules": allowed.rules,
                "follows": followed(unit, task) if task.asked.follows is not None else None,
                "grows": growing(unit, task),
            },
        )

    def _claimed_before(self, unit: Unit, ask: m.ClaimRequest) -> m.Claimed:
        before = executions.get(unit, ask.execution_id)
        if before is None or before.execution.worker_id != ask.worker_id:
            raise Conflict(f"the execution {ask.execution_id} is another worker's", status="taken")
        order = locked_order(unit, before.execution.work_order_id)
        task = tasks.get(unit, order.task_id)
        if order.lease is None or order.lease.execution_id != ask.execution_id or task is None:
            raise LeaseLost(f"the execution {ask.execution_id} is over", status=order.status.value)
        return self._claimed(unit, order, task, work_orders.budget_usd(unit, order.id))

    def _refuse_overspent(self, unit: Unit, order: WorkOrder, worker_id: str, key: Key) -> None:
        """An order that may cost nothing more fails in the moment in which it would be handed out."""
        now = self._clock.now()
        claimed, execution = self._begin(unit, order, new_id("exe", now), worker_id, key)
        failure = _overspent(order.spent_usd)
        move = lifecycle.Fail(now, claimed.lease_token, failure)
        kept = Kept(execution, key.id, verified=False, summary="")
        self._end(unit, claimed, kept, move, Ending(Outcome.FAILED, now, Usage(), failure))

    def promote_due(self, unit: Unit) -> int:
        """Make claimable what was delayed until now. Returns how many."""
        due = work_orders.promote_due(unit, self._clock.now())
        for order in due:
            unit.ring(claimable_ring(order))
        return len(due)

    # ── hold ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, unit: Unit, work_order_id: str, token: int, key: Key) -> m.RenewedLease:
        """The claim has arrived."""
        order, kept = held(unit, work_order_id, token, key)
        after = self._renewed(unit, order, token)
        if kept.execution.phase is Phase.CLAIMED:
            executions.save_phase(unit, kept.execution.id, Phase.PREPARING)
            tell(unit, EventKind.ORDER_STARTED, after, Told(actor_of(key), kept.execution))
        return _renewed_lease(after)

    def renew(self, unit: Unit, renewal: m.Renewal, key: Key) -> m.RenewalReply:
        """Each lease that still is the worker's lasts anew."""
        own_worker(unit, renewal.worker_id, key)
        replies = {
            (ref.work_order_id, ref.token): self._renew_one(unit, ref, renewal.worker_id)
            for ref in sorted(renewal.leases, key=lambda ref: ref.work_order_id)  # rows are locked in one order
        }
        return m.RenewalReply(leases=tuple(replies[ref.work_order_id, ref.token] for ref in renewal.leases))

    def _renew_one(self, unit: Unit, ref: m.LeaseRef, worker_id: str) -> m.RenewedLease:
        order = work_orders.locked(unit, ref.work_order_id)
        current = order is not None and order.lease_token == ref.token
        if order is None or not current or order.lease is None or order.lease.worker_id != worker_id:
            cancelled = order is not None and current and order.status is OrderStatus.CANCELLED
            return m.RenewedLease(work_order_id=ref.work_order_id, status="cancelled" if cancelled else "lost")
        return _renewed_lease(self._renewed(unit, order, ref.token))

    def _renewed(self, unit: Unit, order: WorkOrder, token: int) -> WorkOrder:
        move = lifecycle.Renew(self._clock.now(), token, timedelta(seconds=self._terms.lease_seconds))
        after = lifecycle.step(order, move)
        work_orders.save(unit, order, after)
        return after

    def refresh_leases(self, unit: Unit) -> int:
        """Let every live lease last anew, because a late renewal may have been our own fault. Returns how many."""
        orders = work_orders.running(unit)
        for order in orders:
            self._renewed(unit, order, order.lease_token)
        return len(orders)

    # ── end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def complete(self, unit: Unit, work_order_id: str, completion: m.Completion, key: Key) -> WorkOrder:
        """It is delivered; what needed it may go on."""
        order, kept = held(unit, work_order_id, completion.token, key)
        if kept.execution.outcome is Outcome.COMPLETED:
            if kept.execution.delivery != completion.delivery:
                raise Conflict("it was completed with another delivery", status=order.status.value)
            return order
        now = self._clock.now()
        ending = Ending(
            Outcome.COMPLETED, now, completion.usage, delivery=completion.delivery, summary=completion.summary
        )
        return self._end(unit, order, kept, lifecycle.Complete(now, completion.token), ending, Told(actor_of(key)))

    def fail(self, unit: Unit, work_order_id: str, report: m.FailureReport, key: Key) -> WorkOrder:
        """It did not work; again, or not."""
        order, kept = held(unit, work_order_id, report.token, key)
        if kept.execution.outcome is Outcome.FAILED and kept.execution.failure == report.failure:
            return order
        now = self._clock.now()
        spent = order.spent_usd + _most(kept.execution.usage, report.usage).cost_usd
        failure = report.failure
        if RETRY_RULES[failure.reason].retry and spent >= work_orders.budget_usd(unit, order.id):
            failure = _overspent(spent, failure)
        elif report.failure.reason is FailureReason.BUDGET_EXCEEDED:
            failure = till_the_day_affords_it(unit, order, kept.execution.started_at, spent, now) or failure
        failure = noted(unit, self._clock, self._random, kept.execution.worker_id, failure)
        move = lifecycle.Fail(now, report.token, failure, self._random.random())
        ending = Ending(Outcome.FAILED, now, report.usage, report.failure)
        return self._end(unit, order, kept, move, ending, Told(actor_of(key)))

    def release(self, unit: Unit, work_order_id: str, surrender: m.Surrender, key: Key) -> WorkOrder:
        """It comes back unharmed."""
        order, kept = held(unit, work_order_id, surrender.token, key)
        if kept.execution.outcome is Outcome.RELEASED:
            return order
        now = self._clock.now()
        move = lifecycle.Release(now, surrender.token)
        told = Told(actor_of(key), data={"why": surrender.why})
        return self._end(unit, order, kept, move, Ending(Outcome.RELEASED, now, surrender.usage), told)

    def lose(self, unit: Unit, order: WorkOrder, detail: str) -> WorkOrder:
        """Take a running order, which is locked, from a worker that is gone."""
        now = self._clock.now()
        failure = Failure(reason=FailureReason.WORKER_LOST, detail=detail)
        return self._cut_off(
            unit, order, lifecycle.Lose(now, detail), Ending(Outcome.LOST, now, Usage(), failure), SERVER
        )

    def give_back(self, unit: Unit, order: WorkOrder, why: str) -> WorkOrder:
        """Take a running order, which is locked, from a worker that is not to blame: the attempt does not count."""
        now = self._clock.now()
        kept = executions.by_token(unit, order.id, order.lease_token)
        assert kept  # noqa: S101 - every lease began with one
        move = lifecycle.Release(now, order.lease_token)
        return self._end(
            unit, order, kept, move, Ending(Outcome.RELEASED, now, Usage()), Told(SERVER, data={"why": why})
        )

    def give_back_unstarted(self, unit: Unit, order: WorkOrder, why: str) -> None:
        """As `give_back`, if the claim was never acknowledged: whoever leaves before costs the order no attempt."""
        kept = executions.by_token(unit, order.id, order.lease_token)
        if kept is not None and kept.execution.phase is Phase.CLAIMED:
            self.give_back(unit, order, why)

    def cancel(self, unit: Unit, order: WorkOrder, actor: str) -> WorkOrder:
        """End a live order, which is locked, and with it all that can now never run."""
        if order.status is OrderStatus.CANCELLED:
            return order
        move = lifecycle.Cancel(self._clock.now())
        if order.lease is None:
            after = self._move(unit, order, move, Told(actor))
        else:
            unit.ring(Ring(kind="cancelled", work_order_id=order.id, worker_id=order.lease.worker_id))
            after = self._cut_off(unit, order, move, Ending(Outcome.CANCELLED, move.at, Usage()), actor)
        self._abandon_dependents(unit, order.task_id)
        return after

    def _abandon_dependents(self, unit: Unit, cancelled_task_id: str) -> None:
        """Fail what needs that task, and what needs those. What has failed waits no more, so each is met once."""
        move = lifecycle.Abandon(self._clock.now(), cancelled_task_id)
        hopeless = [cancelled_task_id]
        while hopeless:
            for order in work_orders.waiting_for_task(unit, hopeless.pop()):
                self._move(unit, order, move, Told(data={"cancelled_task_id": cancelled_task_id}))
                hopeless.append(order.task_id)

    def requeue(self, unit: Unit, order: WorkOrder, actor: str) -> WorkOrder:
        """Reopen a failed order, which is locked."""
        return self._move(unit, order, lifecycle.Requeue(self._clock.now()), Told(actor))

    # ── park and go on ───────────────────────────────────────────────────────────────────────────────────────────

    def park(
        self, unit: Unit, order: WorkOrder, kept: Kept, parking: m.Parking, request_id: str, actor: str
    ) -> WorkOrder:
        """It waits for the answer to a request. The order and its execution are locked."""
        now = self._clock.now()
        move = lifecycle.Park(now, parking.token, request_id)
        ending = Ending(Outcome.PARKED, now, parking.usage)
        return self._end(unit, order, kept, move, ending, Told(actor, data={"request_id": request_id}))

    def resume(self, unit: Unit, order: WorkOrder, request_id: str) -> WorkOrder:
        """The answer is there. The order is locked."""
        return self._move(unit, order, lifecycle.Resume(self._clock.now()), Told(data={"request_id": request_id}))

    def expire(self, unit: Unit, order: WorkOrder, request_id: str, *, fatal: bool) -> WorkOrder:
        """No answer came. The order is locked."""
        move = lifecycle.Expire(self._clock.now(), fatal)
        return self._move(unit, order, move, Told(data={"request_id": request_id}))

    # ── the one way in which an order changes ────────────────────────────────────────────────────────────────────

    def _cut_off(self, unit: Unit, order: WorkOrder, move: lifecycle.Move, ending: Ending, actor: str) -> WorkOrder:
        kept = executions.by_token(unit, order.id, order.lease_token)
        assert kept  # noqa: S101 - every lease began with one
        return self._end(unit, order, kept, move, ending, Told(actor))

    def _end(
        self, unit: Unit, order: WorkOrder, kept: Kept, move: lifecycle.Move, ending: Ending, told: Told = Told()
    ) -> WorkOrder:
        """A move that ends the present execution, whose cost is now added to the order's."""
        usage = _most(kept.execution.usage, ending.usage)
        told = Told(told.actor, kept.execution, told.data)
        after = self._move(unit, order, move, told, usage.cost_usd)
        executions.finish(unit, kept.execution.id, ending, usage)
        unit.ring(Ring(kind="transcript", execution_id=kept.execution.id))
        return after

    def _move(self, unit: Unit, order: WorkOrder, move: lifecycle.Move, told: Told, cost_usd: float = 0.0) -> WorkOrder:
        after = lifecycle.step(order, planted(order, move))
        if cost_usd:
            after = after.model_copy(update={"spent_usd": order.spent_usd + cost_usd})
        work_orders.save(unit, order, after)
        tell_move(unit, move, after, told)
        if work_orders.claimable(after, after.updated_at):
            unit.ring(claimable_ring(after))
        if after.status in TERMINAL or after.status is not order.status is OrderStatus.RUNNING:
            self._see_to_others(unit, order, after, cost_usd)
        return after

    def _see_to_others(self, unit: Unit, before: WorkOrder, after: WorkOrder, cost_usd: float) -> None:
        """Withdraw what an order that ended has asked, let those go on that needed it, wake those it kept waiting, and
        charge its repository."""
        aftermath = work_orders.aftermath(unit, after)
        if aftermath.asking and after.status in TERMINAL:
            requests.withdraw_open(unit, after.id)
        if aftermath.needed and after.status is OrderStatus.COMPLETED:
            for waiting in work_orders.waiting_for_task(unit, after.task_id):
                self._move(unit, waiting, lifecycle.Unblock(after.updated_at), Told())
        was_full = aftermath.known or aftermath.running == self._terms.repository_concurrency - 1
        if was_full and before.status is OrderStatus.RUNNING:
            for type_ in TaskType:
                unit.ring(Ring(kind="claimable", type=type_, repository=after.repository))
        if aftermath.known and cost_usd:
            repositories.spent(unit, after.repository, cost_usd, after.updated_at)


def _check_open(ask: m.ClaimRequest, answered: int) -> None:
    if 0 < ask.number <= answered:
        raise ClaimAnswered


def claimable_ring(order: WorkOrder) -> Ring:
    """Tells those who could claim it."""
    return Ring.model_construct(
        kind="claimable",
        type=order.type,
        queue=order.queue,
        requires=order.specializations,
        permission_level=order.permission_level,
        repository=order.repository,
        work_order_id=order.id,
    )


def _renewed_lease(order: WorkOrder) -> m.RenewedLease:
    expires_at = order.lease.expires_at if order.lease else None
    return m.RenewedLease(work_order_id=order.id, status="renewed", expires_at=expires_at)


def _most(reported: Usage, final: Usage) -> Usage:
    """Both are totals of one execution; whichever is late or incomplete is the smaller."""
    if reported is executions.NOTHING_USED:
        return final
    return Usage(**{name: max(getattr(reported, name), getattr(final, name)) for name in Usage.model_fields})


def _overspent(spent_usd: float, last: Failure | None = None) -> Failure:
    before = f"; the last execution ended with {last.reason}: {last.detail}" if last else ""
    return Failure(
        reason=FailureReason.BUDGET_EXCEEDED,
        detail=f"its budget is used up ({spent_usd:.2f} dollars spent); submit it with a larger one{before}"[:100_000],
    )
