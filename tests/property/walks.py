"""One life of a database on which two servers are stepped against the reference.

A walk is drawn from a seed: the same seed, the same draws. How long a failed order sleeps is the server's own draw, so
two walks of one seed may part there. `python -m tests.property.stepping` takes many.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from agentvine.domain.errors import Conflict, InvalidInput
from agentvine.domain.execution import Delivery, Usage
from agentvine.domain.ids import new_id
from agentvine.domain.request import RequestKind
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.worker_types import TaskType
from agentvine.server.reaper import Reaper
from agentvine.server.terms import Terms
from agentvine.testing.cast import Hand, a_task, a_worker, registration
from agentvine.testing.clock import ManualClock
from agentvine.testing.site import in_process_site
from agentvine.wire import messages as m
from agentvine.wire.front_desk import FrontDesk
from tests.property import reference as ref
from tests.property.sameness import completed, described, everything, expected

T = TypeVar("T")
ROUND = 10.0
TERMS = Terms(
    lease_seconds=ref.LEASE,
    claim_ack_seconds=ref.ACKNOWLEDGE,
    reaper_interval=ROUND,
    repository_concurrency=ref.RUNNING_AT_ONCE,
)
WORKERS = {"wrk_a": "test", "wrk_b": "test", "wrk_c": "docs"}
"""Every other one at the other server."""
DELIVERIES = {name: Delivery(kind="branch", branch=name, new_sha=name[-1] * 40) for name in ("work-a", "work-b")}
ACCOUNT_CLOSED = "model_rate_limited"
"""Keeps other orders waiting, too; tried where limits are."""
LIVE_AT_ONCE = 10
LAST_STEPS = 25


class Departed(AssertionError):
    """The servers and the reference do not agree any more; the message holds the last steps."""


class Walk:
    """One life of a database. Each method whose name is in `STEPS` says one thing to a server and to the reference."""

    def __init__(self, url: str, where: Path, random: Random) -> None:
        self.url, self.where, self.random = url, where, random
        self.clock = ManualClock()
        self.began = self.clock.now()
        self.reference = ref.Reference()
        self.ids: dict[str, str] = {}
        """The work order of each task."""
        self.empty_claims: list[tuple[str, m.ClaimRequest]] = []
        self.claims = dict.fromkeys(WORKERS, 0)
        self.unswept = 0.0
        self.taken_steps: list[str] = []
        self.tally: Counter[str] = Counter()

    async def go(self, steps: int) -> Counter[str]:
        """Take so many. Returns how often what was done. Raises `Departed`."""
        async with AsyncExitStack() as stack:
            self.sites = [
                await stack.enter_async_context(in_process_site(self.url, self.where, TERMS, self.clock))
                for _ in range(2)
            ]
            self.desks: list[FrontDesk] = [await site.front_desk() for site in self.sites]
            self.reapers = [site.reaper for site in self.sites]
            self.hands: dict[str, Hand] = {
                name: await a_worker(self.sites[number % 2], name, TaskType(type_))
                for number, (name, type_) in enumerate(WORKERS.items())
            }
            for number in range(steps):
                try:
                    await self._step()
                except Exception as error:
                    last = "\n".join(self.taken_steps[-LAST_STEPS:])
                    raise Departed(f"at step {number}: {error!r}, after\n{last}") from error
            await self.completed_once()
        return self.tally

    async def _step(self) -> None:
        name = self.random.choices(list(STEPS), list(STEPS.values()))[0]
        self.taken_steps.append(name)
        if await getattr(self, name)() is not False:
            self.tally[name] += 1
            await self.compare()

    def note(self, *what: object) -> None:
        self.taken_steps.append("    " + " ".join(map(str, what)))

    async def agree(self, saying: Coroutine[Any, Any, T], expected: Callable[[], object]) -> T | None:
        """Both allow it, or both refuse it. None: it was refused."""
        refused = False
        try:
            expected()
        except ref.Refused:
            refused = True
        try:
            said = await saying
        except (Conflict, InvalidInput) as error:
            assert refused, f"the reference allows it: {error.message}"
            self.note("refused:", error.message)
            self.tally["refused"] += 1
            return None
        assert not refused, "the reference refuses it"
        return said

    def some(self, orders: list[ref.Order]) -> ref.Order | None:
        return self.random.choice(orders) if orders else None

    def having(self, *statuses: str) -> list[ref.Order]:
        return [order for order in self.reference.orders.values() if not statuses or order.status in statuses]

    @property
    def desk(self) -> FrontDesk:
        """Now one server's, now the other's."""
        return self.random.choice(self.desks)

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self) -> bool:
        if len(self.having("pending", "running", "waiting")) >= LIVE_AT_ONCE:
            return False
        draw, lately = self.random, list(self.ids)[-8:]
        type_, repository = draw.choice(["test", "test", "docs"]), draw.choice("aab")
        queue, priority, most = draw.choice(ref.QUEUES), draw.randint(-1, 1), draw.randint(1, 3)
        needs = sorted(set(draw.choices(lately, k=draw.choice([0, 0, 1, 2])))) if lately else []
        url = f"https://git.example/team/{repository}.git"
        asked = a_task(type=type_, repository=url, queue=queue, priority=priority, max_attempts=most, needs=needs)
        order = ref.Order("", type_, repository, queue, priority, self.reference.now, "", most, needs)
        task = await self.agree(self.desk.submit(asked), lambda: self.reference.submit(order))
        if task is not None:
            del self.reference.orders[""]
            order.task, order.tie = task.id, task.work_order_id
            self.reference.orders[task.id] = order
            self.ids[task.id] = task.work_order_id
        return True

    async def cancel(self) -> bool:
        order = self.some(self.having())
        if order is None:
            return False
        self.note(order.task)
        await self.agree(self.desk.cancel_order(self.ids[order.task]), lambda: self.reference.cancel(order))
        return True

    async def reopen(self) -> bool:
        order = self.some(self.having("failed") if self.random.random() < 0.9 else self.having())
        if order is None:
            return False
        self.note(order.task)
        await self.agree(self.desk.requeue(self.ids[order.task]), lambda: self.reference.reopen(order))
        return True

    async def respond(self) -> bool:
        asked = [name for name, question in self.reference.questions.items() if question.status == "open"]
        name = self.random.choice((asked if self.random.random() < 0.8 else list(self.reference.questions)) or [""])
        if not name:
            return False
        question, words = self.reference.questions[name], self.random.choice(["left", "left", "right"])
        reply = m.Reply(verdict="denied" if question.fatal else "answer", message=words)
        self.note(name, words, question.status)
        await self.agree(self.desk.respond(name, reply), lambda: self.reference.answer(question, words))
        return True

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim(self) -> None:
        worker = self.random.choice(list(WORKERS))
        hand, expected = self.hands[worker], self.reference.best(WORKERS[worker])
        self.claims[worker] += 1
        ask = hand.claim_request(number=self.claims[worker])
        claimed = await hand.plane.claim(ask)
        self.note(worker, "gets", claimed and claimed.task.id)
        assert (claimed.task.id if claimed else None) == (expected.task if expected else None)
        if claimed is None or expected is None:
            self.empty_claims.append((worker, ask))
            return
        self.reference.claim(expected, worker, ask.execution_id)
        again = await hand.plane.claim(ask)
        assert again is not None
        assert (again.order.id, again.lease) == (claimed.order.id, claimed.lease)
        if self.random.random() < 0.7:
            self.reference.start(expected, claimed.lease.token)
            await hand.plane.start(claimed.order.id, m.Held(token=claimed.lease.token))

    async def claim_that_comes_late(self) -> bool:
        """A second copy of a claim that was answered with nothing, whatever has become claimable since."""
        if not self.empty_claims:
            return False
        worker, ask = self.random.choice(self.empty_claims)
        assert await self.hands[worker].plane.claim(ask) is None
        return True

    async def start(self) -> bool:
        order, hand, token = self.speaker(sure=True)
        if order is None:
            return False
        saying = hand.plane.start(self.ids[order.task], m.Held.model_construct(token=token))
        await self.agree(saying, lambda: self.reference.start(order, token))
        return True

    async def renew(self) -> bool:
        order, hand, token = self.speaker()
        if order is None:
            return False
        lease = m.LeaseRef.model_construct(work_order_id=self.ids[order.task], token=token)
        reply = await hand.plane.renew(m.Renewal(worker_id=hand.id, leases=(lease,)))
        assert [line.status for line in reply.leases] == [self.reference.renew(order, token, hand.id)]
        return True

    async def deliver(self) -> bool:
        order, hand, token = self.speaker(sure=True)
        if order is None:
            return False
        what = self.random.choice(sorted(DELIVERIES))
        intent = m.DeliveryIntent.model_construct(token=token, delivery=DELIVERIES[what])
        saying = hand.plane.deliver(self.ids[order.task], intent)
        done = await self.agree(saying, lambda: self.reference.deliver(order, token, what))
        assert done is None or done.delivery == DELIVERIES[what]
        return True

    async def complete(self) -> bool:
        order, hand, token = self.speaker()
        if order is None:
            return False
        what = self.random.choice(sorted(DELIVERIES))
        done = m.Completion.model_construct(token=token, delivery=DELIVERIES[what], usage=Usage(), summary="")
        saying = hand.plane.complete(self.ids[order.task], done)
        await self.agree(saying, lambda: self.reference.complete(order, token, what))
        return True

    async def fail(self) -> bool:
        order, hand, token = self.speaker()
        if order is None:
            return False
        kinds = self.random.choice([ref.FINAL, ref.COUNTED, ref.COUNTED, ref.PASSING, ref.PASSING, ref.AT_ONCE])
        reason = self.random.choice([one for one in (*kinds, "worker_lost") if one != ACCOUNT_CLOSED])
        wait = self.random.choice([None, None, 0.0, 7.0, 1000.0])
        failure = Failure(reason=FailureReason(reason), detail="it broke", retry_after_seconds=wait)
        report = m.FailureReport.model_construct(token=token, failure=failure, usage=Usage())
        self.note(reason, wait)
        bounds: list[tuple[float, float] | None] = []
        after = await self.agree(
            hand.plane.fail(self.ids[order.task], report),
            lambda: bounds.append(self.reference.fail(order, token, reason, f"{reason} {wait}")),
        )
        if after is not None and bounds[0] is not None:
            until = None if after.not_before is None else self.seconds(after.not_before)
            waits = 0.0 if until is None else until - self.reference.now
            least, most = (max(bound, wait or 0.0) for bound in bounds[0])
            assert least - 0.001 <= waits <= most + 0.001, (least, waits, most)
            self.reference.sleep(order, until)
        return True

    async def release(self) -> bool:
        order, hand, token = self.speaker()
        if order is None:
            return False
        surrender = m.Surrender.model_construct(token=token, usage=Usage(), why="drained")
        saying = hand.plane.release(self.ids[order.task], surrender)
        await self.agree(saying, lambda: self.reference.release(order, token))
        return True

    async def park(self) -> bool:
        order, hand, token = self.speaker(sure=True)
        if order is None:
            return False
        fatal, seconds = self.random.random() < 0.5, self.random.choice([25.0, 300.0])
        question = m.NewRequest.model_construct(
            token=token,
            id=new_id("req", self.clock.now()),
            kind=RequestKind.APPROVAL if fatal else RequestKind.CLARIFICATION,
            message="may I?",
            expires_in_seconds=seconds,
        )
        parking = m.Parking.model_construct(token=token, request=question, usage=Usage())
        expected = ref.Question(order, self.reference.now + seconds, fatal)
        for _ in range(2):  # the second time nothing happens
            saying = hand.plane.park(self.ids[order.task], parking)
            await self.agree(saying, lambda: self.reference.park(order, token, question.id, expected))
        return True

    async def start_again(self) -> None:
        worker = self.random.choice(list(WORKERS))
        self.note(worker)
        self.empty_claims = [each for each in self.empty_claims if each[0] != worker]
        self.reference.gone(worker)
        await self.hands[worker].plane.register(registration(worker, TaskType(WORKERS[worker])))

    def speaker(self, *, sure: bool = False) -> tuple[ref.Order, Hand, int] | tuple[None, Hand, int]:
        """An order, who had it with a token, and the token: mostly the present one of an order that is held."""
        held = self.having("running")
        stale = not sure and self.random.random() < 0.25
        if stale or not (held or sure):
            held = [order for order in self.having() if order.stays]
        order = self.some(held)
        if order is None:
            return None, self.hands["wrk_a"], 0
        behind = self.random.choice([0, 1, 2]) if self.random.random() < 0.2 else 0
        token = max(order.token - behind, 1)
        self.note(order.task, order.status, "token", token, "of", order.token)
        return order, self.hands[order.stays[token - 1].worker], token

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def let_a_moment_pass(self) -> bool:
        """Too short for the servers to look round."""
        if self.unswept >= 3:
            return False
        seconds = self.random.choice([0.001, 1.5])
        self.clock.advance(seconds)
        self.reference.now = self.seconds(self.clock.now())
        self.unswept += seconds
        return True

    async def let_time_pass(self) -> None:
        """Both servers look round, one after the other."""
        rounds = self.random.choice([1, 1, 1, 2, 4, 12])
        self.note(rounds, "rounds")
        for _ in range(rounds):
            self.clock.advance(ROUND)
            self.unswept = 0.0
            self.reference.now = self.seconds(self.clock.now())
            for number, reaper in enumerate(self.reapers):
                await reaper.sweep()
                self.reference.round(number)

    async def start_a_server_again(self) -> None:
        """Its first round lets every lease begin anew, unless one was at work until a moment ago."""
        which, nobody_was_there = self.random.choice([0, 1]), self.random.choice([0.0, 20.0])
        self.note("server", which, "after", nobody_was_there, "s")
        self.clock.advance(nobody_was_there)
        self.reference.now = self.seconds(self.clock.now())
        self.reapers[which] = Reaper(self.sites[which].control)
        await self.reapers[which].sweep()
        self.reference.round(which, just_started=True)

    def seconds(self, at: datetime) -> float:
        return (at - self.began) / timedelta(seconds=1)

    # ── what has to be the same ──────────────────────────────────────────────────────────────────────────────────

    async def compare(self) -> None:
        orders, lines = await self.random.choice(self.sites).database.read(everything)
        assert {order.task_id for order in orders} == set(self.ids)
        for order in orders:
            ours, theirs = expected(self.reference.orders[order.task_id]), described(order, self.began)
            assert theirs == ours, (order.task_id, [key for key in ours if ours[key] != theirs[key]], theirs, ours)
        for type_ in set(WORKERS.values()):
            line = [self.ids[one.task] for one in self.reference.in_line(type_)]
            assert [name for queue in ref.QUEUES for name in lines.get((type_, queue), [])] == line

    async def completed_once(self) -> None:
        """I2, from what was told."""
        told = await self.sites[0].database.read(completed)
        assert told == sorted(order.task for order in self.having("completed"))


STEPS = {
    Walk.submit.__name__: 14,
    Walk.cancel.__name__: 1,
    Walk.reopen.__name__: 4,
    Walk.respond.__name__: 4,
    Walk.claim.__name__: 24,
    Walk.claim_that_comes_late.__name__: 3,
    Walk.start.__name__: 2,
    Walk.renew.__name__: 4,
    Walk.deliver.__name__: 3,
    Walk.complete.__name__: 5,
    Walk.fail.__name__: 12,
    Walk.release.__name__: 3,
    Walk.park.__name__: 4,
    Walk.start_again.__name__: 1,
    Walk.let_a_moment_pass.__name__: 6,
    Walk.let_time_pass.__name__: 8,
    Walk.start_a_server_again.__name__: 1,
}
"""What can happen, and how often it does."""


async def walk(url: str, seed: int, steps: int) -> Counter[str]:
    """So many steps on an empty database. Returns how often what was done. Raises `Departed`."""
    with TemporaryDirectory(prefix="agentvine-stepping-") as folder:
        return await Walk(url, Path(folder), Random(seed)).go(steps)
