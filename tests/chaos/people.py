"""Those who use a fleet while it breaks: they submit, cancel, answer, requeue, and see to it that everything ends."""

import time
from contextlib import suppress
from random import Random

from agentvine.domain.errors import AgentVineError
from agentvine.domain.request import RequestStatus
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import Task
from agentvine.domain.work_order import OrderStatus
from agentvine.kit.doorbell import pause
from agentvine.testing.eventually import eventually
from agentvine.wire.messages import Reply
from tests.chaos.fleet import CLAUDE, CLAUDES_QUEUE, Fleet
from tests.chaos.stand_in import MISBEHAVIOURS

MOST_PAGES = 200
_LIVE = (OrderStatus.PENDING, OrderStatus.RUNNING, OrderStatus.WAITING)
_REASON = FailureReason
_NOT_ITS_FAULT = frozenset(
    {
        _REASON.QUARANTINED,
        _REASON.REPOSITORY_UNREACHABLE,
        _REASON.REPOSITORY_NOT_FOUND,
        _REASON.REPOSITORY_AUTH_FAILED,
        _REASON.PUSH_REJECTED,
        _REASON.WORKER_LOST,
    }
)


class People:
    """They use one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._plan = fleet.plan
        self._here = fleet.here
        self._result = fleet.result
        self._random = Random(fleet.plan.seed ^ 0xFEED)
        self._ending = False
        self._tasks: list[Task] = []

    async def submit_until(self, end: float) -> None:
        """Keep as many orders under way as the plan says."""
        random, number = self._random, 0
        while time.monotonic() < end:
            with suppress(AgentVineError):
                if await self._under_way() < self._plan.in_flight:
                    number += 1
                    await self._submit(random, number)
                    await pause(self._plan.rest)
                    continue
            await pause(0.2)

    async def _under_way(self) -> int:
        lines = (await self._here.desk.queue()).lines
        return sum(line.pending - line.delayed + line.running for line in lines)

    async def _submit(self, random: Random, number: int) -> None:
        here = self._here
        plan: dict[str, object] = {"seconds": random.choice([0.0, 0.5, 1.0, 2.5])}
        more: dict[str, object] = {
            "permission_level": random.choice(["autonomous", "autonomous", "supervised"]),
            "priority": random.choice([0, 0, 0, 5]),
            "repository": random.choice(self._repositories()),
        }
        luck = random.random()
        if luck < 0.12:
            plan["asks"] = f"Which one of {number}?"
        elif luck < 0.17:
            plan["fails"] = True
        elif luck < 0.3:
            plan["child"] = 3000 + number
        elif luck < 0.36 and self._tasks:
            more["needs"] = [self._tasks[-1].id]
        elif luck < 0.46 and self._plan.misbehaving:
            how = plan["misbehaves"] = random.choice(list(MISBEHAVIOURS))
            self._result.agents[how] += 1
        if self._plan.claude and number % 20 == 3 and self._result.claude < MOST_PAGES:
            more |= {**self._for_claude(), "repository": str(here.remote)}
        task = await here.submit(plan, **more)
        self._tasks.append(task)
        if luck > 0.95:
            await pause(random.uniform(0.0, 1.0))
            with suppress(AgentVineError):
                await here.desk.cancel(task.id)

    def _repositories(self) -> list[str]:
        """The one that there is, by all its addresses."""
        assert self._here.forge is not None
        return [str(self._here.remote), self._fleet.remotes.url("remote.git"), self._here.forge.url]

    def _for_claude(self) -> dict[str, object]:
        """What makes an order one for the worker with the real CLI; each writes another page."""
        self._result.claude += 1
        return {"queue": CLAUDES_QUEUE, "title": title(self._result.claude)}

    async def answer(self) -> None:
        """A person who answers what is asked, sooner or later, and requeues what was given up, until cancelled."""
        while True:
            await pause(0.5)
            with suppress(AgentVineError):
                await self._requeue_the_blameless()
                for request in (await self._here.desk.requests(RequestStatus.OPEN)).items:
                    verdict = "answer" if request.kind == "clarification" else "approved"
                    if self._ending or self._random.random() < 0.5:
                        await self._here.desk.respond(request.id, Reply(verdict=verdict, message="The first."))

    async def finish(self) -> None:
        """No more faults: everything comes to its end."""
        self._ending = True
        self._fleet.calm()
        try:
            await eventually(self._all_over, self._plan.patience)
        except TimeoutError:
            self._result.violations.append(f"after {self._plan.patience:g} s not everything has ended")

    async def _all_over(self) -> bool:
        with suppress(AgentVineError):
            await pause(0.5)
            orders = [order for status in _LIVE for order in (await self._here.desk.work_orders(status)).items]
            if all(order.blocked_by for order in orders):  # what they need has failed, and waits for a person as well
                for order in orders:
                    await self._here.desk.cancel_order(order.id)
                return not orders and not await self._requeue_the_blameless()
        return False

    async def _requeue_the_blameless(self) -> int:
        """As a person does who has seen that not the order was to blame. Returns how many there were."""
        letters = (await self._here.desk.queue()).dead_letters
        given_up = [order for order in letters if order.failure and order.failure.reason in _NOT_ITS_FAULT]
        for order in given_up:
            self._result.reasons["given up and requeued"] += 1
            await self._here.desk.requeue(order.id)
        return len(given_up)

    async def sweep(self) -> None:
        """Every host's last execution: what killed workers left goes when the next one begins."""
        for name in ("w0", *([CLAUDE] if self._plan.claude else [])):
            more = self._for_claude() if name == CLAUDE else {}
            last = await self._fleet.start_worker(name)
            await self._here.over(await self._here.submit({}, **more), 180)
            await last.leave()


def title(number: int) -> str:
    """Of an order for the real CLI."""
    return f"Write page ({number}) of Claude"
