"""The life of a request, row by row: what a worker's gate and the server make of it together.

The gate, the queue client and the server are real; calls are made as the agent would make them. Where the broker
matters it is a real one, and the server is spoken to over HTTP.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.broker.redis import RedisBroker
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.errors import AlreadyAnswered, Conflict
from agentvine.domain.event import EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.request import RequestKind, RequestStatus, Unanswered, WorkerRequest
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.clock import SystemClock
from agentvine.server.terms import Terms
from agentvine.testing.cast import Hand, a_task, a_worker
from agentvine.testing.eventually import eventually
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.testing.stage import stage
from agentvine.testing.suites.people import events_until
from agentvine.wire import messages as m
from agentvine.wire.front_desk import FrontDesk
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.agent.base import Decision, ToolCall, Verdict
from agentvine.worker.agent.tools import TypeGate
from agentvine.worker.asking import Asking
from agentvine.worker.queue_client import QueueClient

QUESTION = ToolCall("toolu_1", ASK_TOOL, {"question": "Round up?", "options": ["up", "down"]})
DOWN = m.Reply(verdict="answer", message="always down")
UP = m.Reply(verdict="answer", message="always up")
APPROVED = m.Reply(verdict="approved")
HELD = 60.0
"""Seconds; more than a test takes."""
EXPIRY = 300.0
LEASE = 600.0
CLOCK = SystemClock()
FATAL = """
[unanswered]
clarification = "fail"
"""


def workflow(steps: str) -> ToolCall:
    """A call that somebody has to approve."""
    return ToolCall("toolu_2", "Write", {"file_path": ".github/workflows/ci.yml", "content": steps})


@dataclass(frozen=True)
class Life:
    """A server, somebody at the desk, and a worker that holds the one order."""

    site: InProcessSite
    desk: FrontDesk
    worker: Hand
    claimed: m.Claimed
    where: Path

    def gate(self, hold: float, expiry: float = EXPIRY) -> Asking:
        """What the agent's calls pass in the first execution."""
        return gate(QueueClient(self.worker.plane, None, self.worker.id, CLOCK), self.claimed, self.where, hold, expiry)

    async def asked(self, number: int = 1) -> WorkerRequest:
        """The last of so many requests, as soon as they were all stored."""

        async def look() -> WorkerRequest | None:
            found = (await self.desk.requests(None)).items
            return found[-1] if len(found) >= number else None

        request = await eventually(look)
        assert request is not None
        return request

    async def parked(self, call: ToolCall = QUESTION) -> WorkerRequest:
        """It asked, nobody answered at once, and the slot is free."""
        asking = self.gate(0.0)
        assert (await asking(call)).decision is Decision.PARK
        assert asking.parked is not None
        request = await self.worker.park(self.claimed, asking.parked)
        assert await self.status() is OrderStatus.WAITING
        assert (await self.desk.work_order(self.claimed.order.id)).lease is None
        return request

    async def gone_on(self, call: ToolCall = QUESTION) -> Verdict:
        """What another worker's agent hears that makes the same call again, and asks nothing anew."""
        known = await self.desk.requests(None)
        other = await a_worker(self.site, "wrk_other")
        claimed = await other.take_and_start()
        queue = QueueClient(other.plane, None, other.id, CLOCK)
        verdict = await gate(queue, claimed, self.where, 0.0)(call)
        assert [one.id for one in (await self.desk.requests(None)).items] == [one.id for one in known.items]
        return verdict

    async def status(self) -> OrderStatus:
        return (await self.desk.work_order(self.claimed.order.id)).status


def gate(queue: QueueClient, claimed: m.Claimed, where: Path, hold: float, expiry: float = EXPIRY) -> Asking:
    return Asking(TypeGate(PROFILES[TaskType.BUGFIX], where), queue, claimed, hold=hold, expiry=expiry)


async def lived(url: str, where: Path, policy: str = "") -> AsyncIterator[Life]:
    file = where / "policy.toml"
    file.write_text(policy)
    workspace = where / "workspace"
    workspace.mkdir()
    async with in_process_site(url, where, Terms(lease_seconds=LEASE), policy=file) as site:
        worker, desk = await a_worker(site), await site.front_desk()
        await desk.submit(a_task())
        yield Life(site, desk, worker, await worker.take_and_start(), workspace)


@pytest.fixture
async def life(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Life]:
    async for one in lived(sqlite_url, tmp_path):
        yield one


@pytest.fixture
async def strict_life(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Life]:
    """Where a question without an answer is the end."""
    async for one in lived(sqlite_url, tmp_path, FATAL):
        yield one


# ── answered ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_held_and_answered(life: Life) -> None:
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(life.gate(HELD)(QUESTION))
        request = await life.asked()
        assert (request.message, request.options) == ("Round up?", ("up", "down"))
        assert await life.status() is OrderStatus.RUNNING
        await life.desk.respond(request.id, DOWN)
    assert asking.result() == Verdict(Decision.ALLOW, answer="The controller answers: always down")
    assert await life.status() is OrderStatus.RUNNING
    assert (await life.desk.request(request.id)).status is RequestStatus.ANSWERED


async def test_parked_and_answered(life: Life) -> None:
    request = await life.parked()
    assert await life.worker.claim() is None, "nobody goes on before there is an answer"
    await life.desk.respond(request.id, DOWN)
    assert await life.status() is OrderStatus.PENDING
    assert await life.gone_on() == Verdict(Decision.ALLOW, answer="The controller answers: always down")


async def test_answered_twice_at_once(life: Life) -> None:
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(life.gate(HELD)(QUESTION))
        request = await life.asked()
        both = [group.create_task(_respond(life, request.id, reply)) for reply in (DOWN, UP)]
    told = [task.result() for task in both]
    (refused,) = [error for error in told if isinstance(error, AlreadyAnswered)]
    (first,) = [one for one in told if isinstance(one, WorkerRequest)]
    assert first.response is not None
    given = refused.facts["response"]
    assert isinstance(given, dict) and given["message"] == first.response.message
    assert asking.result().answer == f"The controller answers: {first.response.message}"


async def _respond(life: Life, request_id: str, reply: m.Reply) -> WorkerRequest | AlreadyAnswered:
    try:
        return await life.desk.respond(request_id, reply)
    except AlreadyAnswered as error:
        return error


# ── expired ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def held_until_it_expires(life: Life, call: ToolCall) -> tuple[Asking, Verdict]:
    asking = life.gate(HELD)
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(asking(call))
        await life.asked()
        await life.site.pass_time(EXPIRY + 1)
    assert (await life.asked()).status is RequestStatus.EXPIRED
    assert await life.status() is OrderStatus.RUNNING, "what becomes of it is the worker's to say"
    return asking, answer.result()


async def test_expired_while_held_and_claude_decides(life: Life) -> None:
    _, verdict = await held_until_it_expires(life, QUESTION)
    assert verdict.decision is Decision.ALLOW
    assert verdict.answer is not None and "Nobody answered in time. Decide yourself" in verdict.answer


async def test_expired_while_held_and_it_is_denied(life: Life) -> None:
    _, verdict = await held_until_it_expires(life, workflow("on: push"))
    assert verdict.decision is Decision.DENY
    assert "Nobody approved it in time" in verdict.reason


async def test_expired_while_held_and_the_order_fails(strict_life: Life) -> None:
    asking, verdict = await held_until_it_expires(strict_life, QUESTION)
    assert verdict.decision is Decision.PARK and asking.parked is None
    assert asking.failure is not None
    assert asking.failure.reason is FailureReason.REQUEST_EXPIRED
    assert (await asking(workflow("on: push"))).decision is Decision.PARK, "nothing more is done"


async def test_expired_while_parked_and_claude_decides(life: Life) -> None:
    assert (await life.parked()).unanswered is Unanswered.DECIDE
    await life.site.pass_time(EXPIRY + 1)
    assert await life.status() is OrderStatus.PENDING
    verdict = await life.gone_on()
    assert verdict.decision is Decision.ALLOW
    assert verdict.answer is not None and "Nobody answered in time. Decide yourself" in verdict.answer


async def test_expired_while_parked_and_it_is_denied(life: Life) -> None:
    assert (await life.parked(workflow("on: push"))).unanswered is Unanswered.DENY
    await life.site.pass_time(EXPIRY + 1)
    assert await life.status() is OrderStatus.PENDING
    verdict = await life.gone_on(workflow("on: push"))
    assert verdict.decision is Decision.DENY
    assert "Nobody approved it in time" in verdict.reason


async def test_expired_while_parked_and_the_order_fails(strict_life: Life) -> None:
    assert (await strict_life.parked()).unanswered is Unanswered.FAIL
    await strict_life.site.pass_time(EXPIRY + 1)
    order = await strict_life.desk.work_order(strict_life.claimed.order.id)
    assert order.status is OrderStatus.FAILED
    assert order.failure is not None and order.failure.reason is FailureReason.REQUEST_EXPIRED


async def test_a_late_answer_is_kept_and_found_by_the_same_call(life: Life) -> None:
    request = await life.parked()
    await life.site.pass_time(EXPIRY + 1)
    kept = await life.desk.respond(request.id, DOWN)
    assert (kept.status, kept.response and kept.response.message) == (RequestStatus.EXPIRED, "always down")
    assert (await events_until(life.desk, EventKind.REQUEST_ANSWERED_LATE))[-1].task_id == request.task_id
    with pytest.raises(AlreadyAnswered):
        await life.desk.respond(request.id, UP)
    assert (await life.gone_on()).answer == "The controller answers: always down"


# ── the order or its worker ends ─────────────────────────────────────────────────────────────────────────────────


async def test_cancelled_while_it_waits(life: Life) -> None:
    request = await life.parked()
    await life.desk.cancel(request.task_id)
    assert await life.status() is OrderStatus.CANCELLED
    assert (await life.desk.request(request.id)).status is RequestStatus.WITHDRAWN
    with pytest.raises(Conflict):
        await life.desk.respond(request.id, DOWN)
    await life.site.pass_time(EXPIRY + 1)
    assert await life.status() is OrderStatus.CANCELLED
    assert await life.worker.claim() is None


async def test_the_worker_is_killed_while_it_holds(life: Life) -> None:
    asking = asyncio.create_task(life.gate(HELD, expiry=10 * LEASE)(QUESTION))
    request = await life.asked()
    asking.cancel()  # nothing is heard of it again
    await life.site.pass_time(LEASE + life.site.terms.reaper_interval)
    assert (await life.desk.work_order(life.claimed.order.id)).workers_lost == 1
    assert (await life.desk.request(request.id)).status is RequestStatus.OPEN
    await life.desk.respond(request.id, DOWN)
    assert (await life.gone_on()).answer == "The controller answers: always down"


async def test_an_answer_to_an_order_that_has_ended_changes_nothing(life: Life) -> None:
    asking = asyncio.create_task(life.gate(HELD)(QUESTION))
    request = await life.asked()
    ended = await life.worker.fail(life.claimed, FailureReason.VERIFICATION_FAILED)
    with pytest.raises(Conflict) as refused:
        await life.desk.respond(request.id, DOWN)
    assert refused.value.facts["status"] == "withdrawn"
    assert await life.desk.work_order(life.claimed.order.id) == ended
    assert (await life.desk.request(request.id)).response is None
    asking.cancel()


# ── approvals ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_approval_is_for_the_call_that_was_shown(life: Life) -> None:
    asking = life.gate(HELD)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(asking(workflow("on: push")))
        request = await life.asked()
        assert request.kind is RequestKind.APPROVAL and request.call is not None
        assert request.call.input["content"] == "on: push"
        await life.desk.respond(request.id, APPROVED)
    assert first.result().decision is Decision.ALLOW
    life.site.clock.advance(1)
    async with asyncio.TaskGroup() as group:
        other = group.create_task(asking(workflow("on: [push, pull_request_target]")))
        again = await life.asked(2)
        assert again.id != request.id and again.status is RequestStatus.OPEN
        await life.desk.respond(again.id, m.Reply(verdict="denied", message="not for strangers"))
    assert other.result().decision is Decision.DENY
    assert "not for strangers" in other.result().reason


async def test_an_approval_with_another_input_makes_that_call_and_tells_claude(life: Life) -> None:
    agreed = dict(workflow("on: workflow_dispatch").input)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(life.gate(HELD)(workflow("on: push")))
        request = await life.asked()
        await life.desk.respond(request.id, m.Reply(verdict="approved", changed_input=agreed))
    verdict = asking.result()
    assert (verdict.decision, verdict.changed_input) == (Decision.ALLOW, agreed)
    assert "with another input" in verdict.reason and "workflow_dispatch" in verdict.reason


# ── the broker ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_redis_is_gone_while_it_holds(tmp_path: Path) -> None:
    """The question went over the stream; then there is none, and the answer comes all the same, and soon."""
    async with AsyncExitStack() as redis, AsyncExitStack() as stack:
        url = (await redis.enter_async_context(EmbeddedBroker(tmp_path / "broker"))).url
        there = await stack.enter_async_context(stage(tmp_path, redis_url=url))
        plane = HTTPControlPlane(await stack.enter_async_context(APIClient(there.proxy.url, there.worker_key)))
        await plane.register(m.Registration(id="wrk_one", name="one", worker_type=TaskType.BUGFIX, version="0"))
        await there.submit()
        claimed = await plane.claim(m.ClaimRequest(worker_id="wrk_one", execution_id=new_id("exe", CLOCK.now())))
        assert claimed is not None
        await plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
        broker = RedisBroker(url)
        stack.push_async_callback(broker.close)
        asking = gate(QueueClient(plane, broker, "wrk_one", CLOCK), claimed, tmp_path, HELD)
        answer = asyncio.create_task(asking(QUESTION))

        async def asked() -> tuple[WorkerRequest, ...]:
            return (await there.desk.requests()).items

        (request,) = await eventually(asked)
        assert there.proxy.count("POST /api/v1/requests") == 0, "it went over the stream"
        await redis.aclose()
        await there.desk.respond(request.id, DOWN)
        async with asyncio.timeout(60):
            assert (await answer).answer == "The controller answers: always down"
