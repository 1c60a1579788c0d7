"""Two server processes on one database and one broker, which know nothing of each other but what stands there."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.errors import Superseded, Unavailable
from agentvine.domain.event import Event, EventKind
from agentvine.domain.execution import Delivery, Phase, Usage
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role
from agentvine.domain.request import RequestKind
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.task import NewTask
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.process import Running, spawn
from agentvine.server.terms import Terms
from agentvine.testing.cast import a_task, a_worker
from agentvine.testing.eventually import eventually
from agentvine.testing.http import FIRST_KEY, api, new_key
from agentvine.testing.receiver import Receiver, receiver
from agentvine.testing.site import in_process_site
from agentvine.wire import messages as m

TASK = NewTask(type=TaskType.DOCS, title="x", repository="https://host/owner/name.git", branch="main")
PUSHED = Delivery(kind="push", branch="main", new_sha="a" * 40)
WORKER = m.Registration(id="wrk_one", name="one", worker_type=TaskType.DOCS, version="1")
_SAYS_WHERE = "takes requests at "


@dataclass(frozen=True)
class Pair:
    """Two servers, and a client of each kind for each of them."""

    processes: list[Running]
    desks: list[HTTPFrontDesk]
    clients: list[APIClient]
    """Of one worker, whose words may reach either server."""
    told: Receiver
    """Whom both notify."""


@asynccontextmanager
async def pair(where: Path, database_url: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(EmbeddedBroker(where / "broker"))
        told = await stack.enter_async_context(receiver())
        variables = {
            "PATH": "/usr/bin:/bin",
            "AGENTVINE_SERVER_DATABASE_URL": database_url,
            "AGENTVINE_SERVER_REDIS_URL": broker.url,
            "AGENTVINE_SERVER_DATA_DIR": str(where / "shared"),
            "AGENTVINE_SERVER_FIRST_KEY": FIRST_KEY,
            "AGENTVINE_SERVER_PORT": "0",
            "AGENTVINE_SERVER_REAPER_INTERVAL": "0.1",
            "AGENTVINE_SERVER_LEASE_SECONDS": "3600",  # nobody renews here
            "AGENTVINE_SERVER_CLAIM_ACK_SECONDS": "3600",
            "AGENTVINE_SERVER_WEBHOOK_URLS": told.url,
            "AGENTVINE_SERVER_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 6,
        }
        logs = [where / f"server-{number}.log" for number in range(2)]
        processes = [
            await stack.enter_async_context(
                await spawn([sys.executable, "-m", "agentvine", "server"], cwd=where, env=variables, output=log)
            )
            for log in logs
        ]
        urls = [await eventually(partial(_url, log)) for log in logs]
        secret = await new_key(urls[0], Role.WORKER)
        desks = [HTTPFrontDesk(await stack.enter_async_context(api(url))) for url in urls]
        clients = [await stack.enter_async_context(api(url, secret)) for url in urls]
        yield Pair(processes, desks, clients, told)


def _url(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if _SAYS_WHERE in line] if log.exists() else []
    return lines[0].partition(_SAYS_WHERE)[2] if lines else ""


class Roaming(HTTPControlPlane):
    """A worker behind a load balancer: one session, and now this server, now that."""

    def __init__(self, clients: list[APIClient]) -> None:
        super().__init__(clients[0])
        self._clients = clients

    def to(self, number: int) -> "Roaming":
        self._spoken._api = self._clients[number]
        return self

    def asking(self, wait_seconds: float = 60.0) -> m.ClaimRequest:
        execution_id = new_id("exe", SystemClock().now())
        return m.ClaimRequest(worker_id=WORKER.id, execution_id=execution_id, wait_seconds=wait_seconds)

    async def renewed(self, claimed: m.Claimed) -> str:
        lease = m.LeaseRef(work_order_id=claimed.order.id, token=claimed.lease.token)
        return (await self.renew(m.Renewal(worker_id=WORKER.id, leases=(lease,)))).leases[0].status


async def taken(worker: Roaming, at: int, ask: m.ClaimRequest) -> m.Claimed:
    claimed = await worker.to(at).claim(ask)
    assert claimed is not None
    return claimed


async def test_whatever_is_said_to_one_is_true_at_the_other(database_url: str, tmp_path: Path) -> None:
    async with pair(tmp_path, database_url) as both:
        one, other = both.desks
        heard: list[Event] = []
        listening = asyncio.create_task(listen(one, heard))
        worker = Roaming(both.clients)
        await worker.to(0).register(WORKER)

        # submitted there, claimed here; stored here, read there; completed there
        claiming = asyncio.create_task(taken(worker, 0, worker.asking()))
        first = await other.submit(TASK)
        claimed = await claiming
        token, execution_id = claimed.lease.token, claimed.lease.execution_id
        assert claimed.task.id == first.id
        await worker.to(1).start(claimed.order.id, m.Held(token=token))
        await worker.to(0).phase(execution_id, m.PhaseReport(token=token, phase=Phase.WORKING))
        await worker.to(0).store_artifact(execution_id, token, "bundle", b"the commits")
        assert await worker.to(1).artifact(execution_id, "bundle") == b"the commits"
        assert await worker.to(1).renewed(claimed) == "renewed"
        done = m.Completion(token=token, delivery=PUSHED, usage=Usage())
        assert (await worker.to(1).complete(claimed.order.id, done)).status is OrderStatus.COMPLETED
        assert (await worker.to(0).complete(claimed.order.id, done)).status is OrderStatus.COMPLETED

        # cancelled there, not renewed here
        second = await one.submit(TASK)
        claimed = await taken(worker, 1, worker.asking())
        await other.cancel(second.id)
        assert await worker.to(0).renewed(claimed) == "cancelled"

        # failed there: people are told by one of the two
        await one.submit(TASK)
        claimed = await taken(worker, 0, worker.asking())
        failure = Failure(reason=FailureReason.NO_CHANGES)
        await worker.to(1).fail(claimed.order.id, m.FailureReport(token=claimed.lease.token, failure=failure))
        await eventually(lambda: both.told.deliveries)

        # asked here, answered there
        third = await other.submit(TASK)
        claimed = await taken(worker, 0, worker.asking())
        await worker.start(claimed.order.id, m.Held(token=claimed.lease.token))
        question = new_request(claimed)
        await worker.to(0).ask(claimed.lease.execution_id, question)
        waiting = asyncio.create_task(worker.to(0).response(question.id, 60.0))
        await other.respond(question.id, m.Reply(verdict="answer", message="the left one"))
        answer = await waiting
        assert answer is not None
        assert answer.message == "the left one"

        # nobody answers: both look, and it expires once
        unanswered = new_request(claimed, expires_in_seconds=0.2)
        parking = m.Parking(token=claimed.lease.token, request=unanswered, usage=Usage())
        await worker.to(1).park(claimed.order.id, parking)
        claimed = await taken(worker, 1, worker.asking())
        assert claimed.task.id == third.id

        # a worker that is started again at one is another at the other, too; what it held is somebody else's
        again = Roaming(both.clients)
        await again.to(1).register(WORKER)
        with pytest.raises(Superseded):
            await worker.to(0).claim(worker.asking(0.0))
        claimed = await taken(again, 0, again.asking())

        # one dies, and the other goes on
        await eventually(
            lambda: any(event.task_id == third.id and event.kind is EventKind.ORDER_LOST for event in heard)
        )
        listening.cancel()
        await both.processes[0].kill_tree()
        assert await again.to(1).renewed(claimed) == "renewed"
        done = m.Completion(token=claimed.lease.token, delivery=PUSHED, usage=Usage())
        await again.to(1).complete(claimed.order.id, done)
        assert (await other.task(third.id)).order.attempts == 3

        kinds = Counter((event.task_id, event.kind) for event in heard)
        assert kinds[first.id, EventKind.ORDER_COMPLETED] == 1
        assert kinds[second.id, EventKind.ORDER_CANCELLED] == 1
        assert kinds[third.id, EventKind.REQUEST_EXPIRED] == 1
        assert [event.seq for event in heard] == sorted({event.seq for event in heard})
        told = Counter(each.headers["webhook-id"] for each in both.told.deliveries)
        assert set(told.values()) == {1}, "each was told by one of them"


def new_request(claimed: m.Claimed, **more: float) -> m.NewRequest:
    request_id = new_id("req", SystemClock().now())
    kind = RequestKind.CLARIFICATION
    return m.NewRequest.model_validate(
        {"token": claimed.lease.token, "id": request_id, "kind": kind, "message": "Which one?", **more}
    )


async def listen(desk: HTTPFrontDesk, heard: list[Event]) -> None:
    async for event in desk.events(after=0):
        heard.append(event)  # noqa: PERF401  each as it comes


async def test_both_reapers_at_once_do_everything_once(database_url: str, tmp_path: Path) -> None:
    terms = Terms(repository_concurrency=1000)
    many = 24
    async with (
        in_process_site(database_url, tmp_path, terms) as one,
        in_process_site(database_url, tmp_path, terms, one.clock) as two,
    ):
        desk, worker = await one.front_desk(), await a_worker(one)
        for number in range(many):
            await desk.submit(a_task(str(number)))
        claims = [await worker.take_and_start() for _ in range(many)]
        for claimed in claims[: many // 2]:
            await worker.park(claimed, worker.question(claimed, expires_in_seconds=30))
        passed = 0.0
        while passed <= terms.lease_seconds:
            one.clock.advance(terms.reaper_interval)
            passed += terms.reaper_interval
            async with asyncio.TaskGroup() as group:
                for site in (one, two):
                    group.create_task(site.reaper.sweep())
        kinds: Counter[EventKind] = Counter()
        latest = await one.control.latest_event()
        async for event in desk.events(after=0):
            kinds[event.kind] += 1
            if event.seq == latest:
                break
        assert kinds[EventKind.ORDER_LOST] == many // 2
        assert kinds[EventKind.REQUEST_EXPIRED] == many // 2
        orders = [(await desk.task(claimed.task.id)).order for claimed in claims]
        assert [order.workers_lost for order in orders] == [0] * (many // 2) + [1] * (many // 2)
        assert all(order.status is OrderStatus.PENDING for order in orders)


async def test_an_artifact_that_only_the_other_server_has_is_told(database_url: str, tmp_path: Path) -> None:
    async with (
        in_process_site(database_url, tmp_path / "one") as one,
        in_process_site(database_url, tmp_path / "two") as two,
    ):
        desk, there = await one.front_desk(), await two.front_desk()
        worker = await a_worker(one)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await worker.store_result(claimed)
        assert await desk.diff(claimed.lease.execution_id)
        with pytest.raises(Unavailable, match="one artifacts folder"):
            await there.diff(claimed.lease.execution_id)
