"""The state machine of work orders against a second telling of its rules, written without looking at its table."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentvine.domain import lifecycle as lc
from agentvine.domain.errors import Conflict, LeaseLost
from agentvine.domain.ids import new_id
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.domain.worker_types import TaskType

START = datetime(2026, 1, 5, tzinfo=UTC)
NEVER_AGAIN = {
    "repository_not_found",
    "repository_auth_failed",
    "repository_empty",
    "branch_not_found",
    "push_rejected",
    "branch_moved",
    "denied",
    "budget_exceeded",
    "limit_exceeded",
    "verification_failed",
    "no_changes",
    "result_refused",
    "max_turns",
    "quarantined",
    "request_expired",
    "needed_task_cancelled",
}
FREE = {
    "model_overloaded",
    "model_rate_limited",
    "model_auth_failed",
    "repository_budget",
    "disk_full",
    "forge_unavailable",
    "self_fenced",
    "drained",
}
ENDED = {"completed", "failed", "cancelled"}
RUNNING_ONLY = ("renew", "release", "park", "complete", "fail", "lose")
ONLY_FROM = {
    "claim": {"pending"},
    **{kind: {"running"} for kind in RUNNING_ONLY},
    "resume": {"waiting"},
    "expire": {"waiting"},
    "cancel": {"pending", "running", "waiting"},
    "requeue": {"failed"},
    "unblock": {"pending"},
    "abandon": {"pending"},
}
BEHIND = st.sampled_from([0, 0, 0, 0, 1, 2])
"""How old the token is with which a worker speaks."""


class OrderMachine(RuleBasedStateMachine):
    """The order goes one way, the reference the other; after each move they must agree."""

    @initialize()
    def begin(self) -> None:
        self.submit(max_attempts=2, blocked_by=0)

    @precondition(lambda self: self.status in ENDED)
    @rule(max_attempts=st.integers(1, 4), blocked_by=st.sampled_from([0, 0, 0, 2]))
    def submit(self, max_attempts: int, blocked_by: int) -> None:
        """Another order: what has ended would be a dull sight for the rest of the run."""
        self.now = START
        self.order = WorkOrder(
            id=new_id("wo", START),
            task_id=new_id("tsk", START),
            type=TaskType.TEST,
            repository="https://git.example/a/b.git",
            branch="main",
            permission_level=PermissionLevel.AUTONOMOUS,
            queue="default",
            priority=0,
            created_at=START,
            updated_at=START,
            blocked_by=blocked_by,
            max_attempts=max_attempts,
        )
        self.status = "pending"
        self.max_attempts = max_attempts
        self.blocked_by = blocked_by
        self.token = 0
        self.charged = 0
        self.claims = 0
        self.lost = 0
        self.completions = 0
        self.wake_at: datetime | None = None
        self.first = False
        self.ended_as: str | None = None

    # ── moves ────────────────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.status == "pending")
    @rule(after=st.sampled_from([0.0, 0.5, 4000.0, 8000.0]))
    def claim(self, after: float) -> None:
        self.now += timedelta(seconds=after)
        ready = self.status == "pending" and not self.blocked_by and (self.wake_at is None or self.wake_at <= self.now)
        execution_id = new_id("exe", self.now)
        if self.attempt(lc.Claim(self.now, "wrk_1", execution_id, timedelta(seconds=30)), ready):
            self.status, self.wake_at, self.first = "running", None, False
            self.token += 1
            self.claims += 1
            self.charged += 1
            assert self.order.lease is not None
            assert self.order.lease.token == self.token
            assert self.order.lease.expires_at == self.now + timedelta(seconds=30)
            assert self.order.last_execution_id == execution_id

    @precondition(lambda self: self.status == "running")
    @rule(behind=BEHIND)
    def renew(self, behind: int) -> None:
        token = self.token - behind
        if self.attempt_held(lc.Renew(self.now, token, timedelta(seconds=45)), token):
            assert self.order.lease is not None
            assert self.order.lease.expires_at == self.now + timedelta(seconds=45)

    @precondition(lambda self: self.status == "running")
    @rule(behind=BEHIND)
    def release(self, behind: int) -> None:
        token = self.token - behind
        if self.attempt_held(lc.Release(self.now, token), token):
            self.status, self.first = "pending", True
            self.charged -= 1

    @precondition(lambda self: self.status == "running")
    @rule(behind=BEHIND)
    def park(self, behind: int) -> None:
        token = self.token - behind
        if self.attempt_held(lc.Park(self.now, token, "req_1"), token):
            self.status = "waiting"
            self.charged -= 1
            assert self.order.request_id == "req_1"

    @precondition(lambda self: self.status == "running")
    @rule(behind=BEHIND)
    def complete(self, behind: int) -> None:
        token = self.token - behind
        if self.attempt_held(lc.Complete(self.now, token), token):
            self.status = "completed"
            self.completions += 1

    @precondition(lambda self: self.status == "running")
    @rule(
        behind=BEHIND,
        reason=st.sampled_from(FailureReason),
        draw=st.floats(0, 1),
        after=st.one_of(st.none(), st.just(0.0), st.floats(0.001, 600)),
    )
    def fail(self, behind: int, reason: FailureReason, draw: float, after: float | None) -> None:
        token = self.token - behind
        failure = Failure(reason=reason, retry_after_seconds=after)
        if not self.attempt_held(lc.Fail(self.now, token, failure, draw), token):
            return
        if reason.value in FREE:
            self.charged -= 1
        if reason.value in NEVER_AGAIN or self.charged >= self.max_attempts:
            self.status = "failed"
        else:
            self.status = "pending"
            self.wake_at = self.order.not_before
            assert self.wake_at is None or self.wake_at > self.now
            if after:
                assert self.wake_at is not None
                assert self.wake_at >= self.now + timedelta(seconds=after)
        assert self.order.failure == failure

    @precondition(lambda self: self.status == "running")
    @rule()
    def lose(self) -> None:
        if self.attempt(lc.Lose(self.now), self.status == "running"):
            self.lost += 1
            again = self.lost < 3 and self.charged < self.max_attempts
            self.status, self.first = ("pending", True) if again else ("failed", self.first)
            quarantined = self.order.failure is not None and self.order.failure.reason is FailureReason.QUARANTINED
            assert quarantined == (self.lost >= 3)

    @precondition(lambda self: self.status == "waiting")
    @rule()
    def resume(self) -> None:
        if self.attempt(lc.Resume(self.now), self.status == "waiting"):
            self.status, self.first = "pending", True

    @precondition(lambda self: self.status == "waiting")
    @rule(fatal=st.booleans())
    def expire(self, fatal: bool) -> None:
        if self.attempt(lc.Expire(self.now, fatal), self.status == "waiting"):
            self.status, self.first = ("failed", self.first) if fatal else ("pending", True)

    @precondition(lambda self: self.status not in ENDED)
    @rule(really=st.integers(0, 4))
    def cancel(self, really: int) -> None:
        if really:  # else hardly any order would see more
            return
        if self.attempt(lc.Cancel(self.now), self.status not in ENDED):
            self.status = "cancelled"

    @precondition(lambda self: self.status == "failed")
    @rule()
    def requeue(self) -> None:
        if self.attempt(lc.Requeue(self.now), not self.blocked_by):
            self.status, self.charged, self.lost, self.wake_at, self.ended_as = "pending", 0, 0, None, None

    @precondition(lambda self: self.blocked_by and self.status == "pending")
    @rule()
    def unblock(self) -> None:
        if self.attempt(lc.Unblock(self.now), self.status == "pending"):
            self.blocked_by -= 1

    @precondition(lambda self: self.status == "pending")
    @rule()
    def abandon(self) -> None:
        if self.attempt(lc.Abandon(self.now, "tsk_1"), bool(self.blocked_by)):
            self.status = "failed"
            assert self.order.failure is not None
            assert self.order.failure.reason is FailureReason.NEEDED_TASK_CANCELLED

    @rule(kind=st.sampled_from(sorted(ONLY_FROM)))
    def out_of_turn(self, kind: str) -> None:
        """Every other move, in every other state."""
        if self.status in ONLY_FROM[kind]:
            return
        now, token = self.now, max(self.token, 1)
        moves: dict[str, lc.Move] = {
            "claim": lc.Claim(now, "wrk_2", new_id("exe", now), timedelta(seconds=30)),
            "renew": lc.Renew(now, token, timedelta(seconds=45)),
            "release": lc.Release(now, token),
            "park": lc.Park(now, token, "req_2"),
            "complete": lc.Complete(now, token),
            "fail": lc.Fail(now, token, Failure(reason=FailureReason.TIMEOUT)),
            "lose": lc.Lose(now),
            "resume": lc.Resume(now),
            "expire": lc.Expire(now),
            "cancel": lc.Cancel(now),
            "requeue": lc.Requeue(now),
            "unblock": lc.Unblock(now),
            "abandon": lc.Abandon(now, "tsk_1"),
        }
        self.attempt(moves[kind], legal=False)

    # ── how a move is made ───────────────────────────────────────────────────────────────────────────────────────

    def attempt(self, move: lc.Move, legal: bool) -> bool:
        before = self.order.model_copy()
        if not legal:
            with pytest.raises(Conflict):
                lc.step(self.order, move)
            assert self.order == before
            return False
        self.order = lc.step(self.order, move)
        assert self.order.updated_at == self.now
        return True

    def attempt_held(self, move: lc.HeldMove, token: int) -> bool:
        """I3: nothing changes under a token that is not the present one."""
        if self.status == "running" and token == self.token:
            return self.attempt(move, legal=True)
        before = self.order.model_copy()
        with pytest.raises(LeaseLost):
            lc.step(self.order, move)
        assert self.order == before
        return False

    # ── what always holds ────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def agrees_with_the_reference(self) -> None:
        order = self.order
        assert order.status.value == self.status
        assert (order.lease_token, order.attempts) == (self.token, self.claims)
        assert (order.charged, order.workers_lost, order.blocked_by) == (self.charged, self.lost, self.blocked_by)
        assert order.not_before == self.wake_at or self.status != "pending"
        assert (order.lease is not None) == (self.status == "running")
        assert (order.request_id is not None) == (self.status == "waiting")
        assert order.front == self.first

    @invariant()
    def i1_an_end_is_an_end(self) -> None:
        assert (self.status in ENDED) == (self.order.status in set(OrderStatus) - {"pending", "running", "waiting"})
        if self.ended_as is not None:
            assert self.status == self.ended_as
        self.ended_as = self.status if self.status in ENDED else None

    @invariant()
    def i2_at_most_one_completion(self) -> None:
        assert self.completions <= 1

    @invariant()
    def i5_attempts_stay_within_bounds(self) -> None:
        assert 0 <= self.order.charged <= self.order.max_attempts
        assert self.order.forgiven <= self.order.attempts


OrderMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=80, deadline=None)
TestLifecycle = OrderMachine.TestCase


def test_every_legal_move_has_been_named() -> None:
    moves = {move for _, move in lc.TRANSITIONS}
    told = {
        lc.Claim,
        lc.Renew,
        lc.Release,
        lc.Park,
        lc.Complete,
        lc.Fail,
        lc.Lose,
        lc.Resume,
        lc.Expire,
        lc.Cancel,
        lc.Requeue,
        lc.Unblock,
        lc.Abandon,
    }
    assert moves == told
