"""What a work order may go through, told a second time: plain lists and numbers, no database, nothing of the product.

Times are seconds since the beginning. `Reference` is told what happens, in the order in which it happens; it says
whether that is allowed, and what every order is like afterwards. What chance decides (how long a retry waits within its
bounds) it has to be told.
"""

from dataclasses import dataclass, field

QUEUES = ("high_priority", "default", "low_priority")
LEASE, ACKNOWLEDGE = 45.0, 30.0
ABSENT, TRUSTED, NOTED = 15.0, 15.0, 5.0
"""Who did nothing for longer was away; but a server that noted that it was there so lately is believed; how often."""
RUNNING_AT_ONCE = 2
LOST_LIMIT = 3

FINAL = (
    "repository_not_found",
    "repository_auth_failed",
    "repository_empty",
    "branch_not_found",
    "push_rejected",
    "branch_moved",
    "denied",
    "budget_exceeded",
    "verification_failed",
    "no_changes",
    "result_refused",
    "max_turns",
    "limit_exceeded",
    "quarantined",
    "request_expired",
    "needed_task_cancelled",
)
COUNTED = (
    "agent_no_first_message",
    "agent_idle",
    "agent_no_exit",
    "agent_crashed",
    "agent_no_result",
    "agent_error",
    "timeout",
    "setup_failed",
    "repository_unreachable",
    "worker_error",
)
PASSING = {
    "model_overloaded": (15.0, 600.0),
    "model_rate_limited": (60.0, 3600.0),
    "model_auth_failed": (30.0, 600.0),
    "forge_unavailable": (15.0, 600.0),
    "disk_full": (15.0, 600.0),
    "repository_budget": (15.0, 600.0),
}
"""What the order is not to blame for, with the first and the longest wait."""
AT_ONCE = ("self_fenced", "drained")
REASONS = (*FINAL, *COUNTED, *PASSING, *AT_ONCE, "worker_lost")


class Refused(Exception):
    """That is not allowed, and nothing has changed."""


@dataclass
class Stay:
    """One worker's time with an order."""

    worker: str
    execution: str
    over: str | None = None
    """How it ended."""
    said: str = ""
    """With which words, when the worker ended it: the same again changes nothing."""
    delivery: str | None = None


@dataclass
class Order:
    task: str
    type: str
    repository: str
    queue: str
    priority: int
    at: float
    tie: str
    """Decides between two of one moment."""
    most: int
    needs: list[str]
    blocked_by: int = 0
    status: str = "pending"
    front: bool = False
    wake_at: float | None = None
    asleep: bool = False
    """It has a time before which it is not claimed, and nobody has noticed yet that it is over."""
    charged: int = 0
    lost: int = 0
    setbacks: int = 0
    reason: str | None = None
    until: float | None = None
    waits_for: str | None = None
    stays: list[Stay] = field(default_factory=list)

    @property
    def token(self) -> int:
        return len(self.stays)

    @property
    def ready(self) -> bool:
        return self.status == "pending" and not self.blocked_by and not self.asleep


@dataclass
class Question:
    order: Order
    expires_at: float
    fatal: bool
    """The order fails when nobody answers."""
    status: str = "open"
    answer: str | None = None


class Reference:
    def __init__(self) -> None:
        self.now = 0.0
        self.orders: dict[str, Order] = {}
        self.questions: dict[str, Question] = {}
        self.spent: dict[str, int] = {}
        """Up to which number a worker's claims got nothing."""
        self.rounds = {0: 0.0, 1: 0.0}
        """When each server last looked round."""
        self.noted: float | None = None
        """When one of them noted that it was there."""

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, order: Order) -> None:
        for needed in map(self.orders.__getitem__, order.needs):
            if needed.status == "cancelled" or (needed.status == "failed" and needed.blocked_by):
                raise Refused
            order.blocked_by += needed.status != "completed"
        self.orders[order.task] = order

    def cancel(self, order: Order) -> None:
        if order.status == "cancelled":
            return
        if order.status in {"completed", "failed"}:
            raise Refused
        if order.status == "running":
            order.stays[-1].over = "cancelled"
        self._end(order, "cancelled")
        self._give_up_on(order)

    def _give_up_on(self, hopeless: Order) -> None:
        for order in self.orders.values():
            if hopeless.task in order.needs and order.status == "pending":
                order.reason = "needed_task_cancelled"
                self._end(order, "failed")
                self._give_up_on(order)

    def reopen(self, order: Order) -> None:
        if order.status != "failed" or order.blocked_by:
            raise Refused
        order.status = "pending"
        order.charged = order.lost = order.setbacks = 0
        order.wake_at, order.asleep = None, False

    def answer(self, question: Question, words: str) -> None:
        if question.answer is not None:
            if question.answer != words:
                raise Refused
        elif question.status == "withdrawn":
            raise Refused
        else:
            question.answer = words
            if question.status == "open":
                question.status = "answered"
                self._go_on(question, fails=False)

    def _go_on(self, question: Question, *, fails: bool) -> None:
        order = question.order
        if order.status == "waiting" and self.questions[order.waits_for or ""] is question:
            order.waits_for = None
            if fails:
                order.reason = "request_expired"
                self._end(order, "failed")
            else:
                order.status, order.front = "pending", True

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def best(self, type_: str) -> Order | None:
        """What a claim gets."""
        found = self._best_awake(type_)
        if found is None:
            self._wake()
            found = self._best_awake(type_)
        return found

    def _best_awake(self, type_: str) -> Order | None:
        running = [order.repository for order in self.orders.values() if order.status == "running"]
        open_ = [one for one in self.in_line(type_) if running.count(one.repository) < RUNNING_AT_ONCE]
        return open_[0] if open_ else None

    def in_line(self, type_: str) -> list[Order]:
        """All that are ready, the best first."""
        ready = [order for order in self.orders.values() if order.ready and order.type == type_]
        return sorted(ready, key=lambda one: (QUEUES.index(one.queue), not one.front, -one.priority, one.at, one.tie))

    def claim(self, order: Order, worker: str, execution: str) -> None:
        order.status, order.front, order.wake_at = "running", False, None
        order.charged += 1
        order.until = self.now + ACKNOWLEDGE
        order.stays.append(Stay(worker, execution))

    def start(self, order: Order, token: int) -> None:
        self._hold(order, token)
        order.until = self.now + LEASE

    def renew(self, order: Order, token: int, worker: str) -> str:
        """What the worker is told."""
        if order.token != token:
            return "lost"
        if order.status == "running" and order.stays[-1].worker == worker:
            order.until = self.now + LEASE
            return "renewed"
        return "cancelled" if order.status == "cancelled" else "lost"

    def deliver(self, order: Order, token: int, what: str) -> None:
        self._hold(order, token).delivery = what

    def complete(self, order: Order, token: int, what: str) -> None:
        if self._said_before(order, token, "completed", what):
            return
        self._hold(order, token).delivery = what
        self._leave(order, "completed", what)
        order.reason = None
        self._end(order, "completed")
        for other in self.orders.values():
            if order.task in other.needs and other.status == "pending":
                other.blocked_by -= 1

    def fail(self, order: Order, token: int, reason: str, words: str) -> tuple[float, float] | None:
        """Between which bounds it waits now; None if it does not. The words hold the reason and what else was said."""
        if self._said_before(order, token, "failed", words):
            return None
        self._hold(order, token)
        self._leave(order, "failed", words)
        order.reason = reason
        counts = reason in COUNTED or reason in FINAL or reason == "worker_lost"
        if counts:
            order.setbacks = 0
        else:
            order.charged -= 1
            order.setbacks += reason in PASSING
        if reason in FINAL or order.charged >= order.most:
            self._end(order, "failed")
            return None
        order.status = "pending"
        first, longest = (5.0, 600.0) if reason in COUNTED else PASSING.get(reason, (0.0, 0.0))
        bound = min(first * 2 ** ((order.charged if counts else order.setbacks) - 1), longest) if first else 0.0
        return bound / 2, bound

    def sleep(self, order: Order, until: float | None) -> None:
        order.wake_at, order.asleep = until, until is not None and until > self.now

    def release(self, order: Order, token: int) -> None:
        if self._said_before(order, token, "released", ""):
            return
        self._hold(order, token)
        self._leave(order, "released", "")
        order.status, order.front = "pending", True
        order.charged -= 1

    def park(self, order: Order, token: int, name: str, question: Question) -> None:
        if self._said_before(order, token, "parked", name):
            return
        self._hold(order, token)
        self._leave(order, "parked", name)
        order.status, order.waits_for = "waiting", name
        order.charged -= 1
        order.setbacks = 0
        self.questions[name] = question

    def gone(self, worker: str) -> None:
        """It died, or was started again."""
        self.spent[worker] = 0
        for order in self.orders.values():
            if order.status == "running" and order.stays[-1].worker == worker:
                self._lose(order)

    def _lose(self, order: Order) -> None:
        self._leave(order, "lost", "")
        order.lost += 1
        if order.lost >= LOST_LIMIT or order.charged >= order.most:
            order.reason = "quarantined" if order.lost >= LOST_LIMIT else "worker_lost"
            self._end(order, "failed")
        else:
            order.reason, order.status, order.front = "worker_lost", "pending", True

    def _hold(self, order: Order, token: int) -> Stay:
        if order.status != "running" or order.token != token:
            raise Refused
        return order.stays[-1]

    def _said_before(self, order: Order, token: int, over: str, said: str) -> bool:
        if not 0 < token <= order.token:
            raise Refused
        stay = order.stays[token - 1]
        return (stay.over, stay.said) == (over, said)

    def _leave(self, order: Order, over: str, said: str) -> None:
        order.stays[-1].over, order.stays[-1].said = over, said
        order.until = None

    def _end(self, order: Order, status: str) -> None:
        order.status, order.until, order.waits_for = status, None, None
        if status == "completed":
            order.front = False
        for question in self.questions.values():
            if question.order is order and question.status == "open":
                question.status = "withdrawn"

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def round(self, server: int, *, just_started: bool = False) -> None:
        """What a server does every few seconds, and when it starts."""
        running = [order for order in self.orders.values() if order.status == "running"]
        last = None if just_started else self.rounds.get(server)
        away = last is None or self.now - last > ABSENT
        if away and (self.noted is None or self.now - self.noted > TRUSTED):
            for order in running:
                order.until = self.now + LEASE
        self._wake()
        for order in running:
            if order.until is not None and order.until <= self.now:
                self._lose(order)
        if last is not None:
            self._note()
        self.rounds[server] = self.now
        for question in self.questions.values():
            if question.status == "open" and question.expires_at <= self.now:
                question.status = "expired"
                self._go_on(question, fails=question.fatal)

    def _note(self) -> None:
        running = any(order.status == "running" for order in self.orders.values())
        if running and (self.noted is None or self.now - self.noted >= NOTED):
            self.noted = self.now

    def _wake(self) -> None:
        for order in self.orders.values():
            order.asleep = order.asleep and order.wake_at is not None and order.wake_at > self.now
