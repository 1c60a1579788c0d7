"""Asking the controller, with a broker, without one, and with one that fails in between."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.broker.redis import RedisBroker
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.errors import LeaseLost, NotFound
from agentvine.domain.ids import new_id
from agentvine.domain.request import ControllerResponse, RequestKind
from agentvine.domain.worker import WorkerStatus
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.eventually import eventually
from agentvine.testing.redis_wire import redis_command
from agentvine.testing.stage import PuppetExecutor, Stage, made, stage
from agentvine.wire.channels import ResponseMessage
from agentvine.wire.messages import Claimed, ClaimRequest, Held, NewRequest, Registration, Reply
from agentvine.worker.main import run_worker
from agentvine.worker.queue_client import QueueClient
from agentvine.worker.settings import WorkerConfig

WORKER = "wrk_one"
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Scene:
    """A worker that holds an order, and the broker that it shares with the server."""

    stage: Stage
    server: EmbeddedBroker
    broker: RedisBroker
    api: APIClient
    plane: HTTPControlPlane
    claimed: Claimed

    def client(self, broker: RedisBroker | None) -> QueueClient:
        return QueueClient(self.plane, broker, WORKER, CLOCK)

    def question(self, token: int | None = None) -> NewRequest:
        return NewRequest(
            token=token or self.claimed.lease.token,
            id=new_id("req", CLOCK.now()),
            kind=RequestKind.CLARIFICATION,
            message="which one?",
        )

    async def ask(self, client: QueueClient) -> NewRequest:
        question = self.question()
        await client.enqueue_worker_request(self.claimed.lease.execution_id, question)
        assert (await self.stage.desk.request(question.id)).message == "which one?"
        return question

    async def answer(self, question: NewRequest) -> None:
        await self.stage.desk.respond(question.id, Reply(verdict="answer", message="this one"))

    @property
    def asked_over_http(self) -> int:
        return self.stage.proxy.count("POST /api/v1/requests")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with (
        EmbeddedBroker(tmp_path / "broker") as server,
        stage(tmp_path, redis_url=server.url, lease_seconds=3600.0) as there,  # nobody renews what it holds
    ):
        broker = RedisBroker(server.url)
        async with APIClient(there.proxy.url, there.worker_key) as api:
            plane = HTTPControlPlane(api)
            await plane.register(Registration(id=WORKER, name="one", worker_type=TaskType.BUGFIX, version="0"))
            await there.submit()
            claimed = await plane.claim(ClaimRequest(worker_id=WORKER, execution_id=new_id("exe", CLOCK.now())))
            assert claimed is not None
            await plane.start(claimed.order.id, Held(token=claimed.lease.token))
            yield Scene(there, server, broker, api, plane, claimed)
        await broker.close()


async def blocks(server: EmbeddedBroker) -> bool:
    """True if somebody waits for a message there."""
    info = await redis_command(server.url, "INFO", "clients")
    assert isinstance(info, bytes)
    return b"blocked_clients:0" not in info


async def within(seconds: float, response: asyncio.Task[ControllerResponse | None]) -> str:
    """What they were told."""
    async with asyncio.timeout(seconds):
        answer = await response
    assert answer is not None
    return answer.message


async def test_with_a_broker_a_request_goes_over_the_stream_and_the_answer_wakes(scene: Scene) -> None:
    client, took = scene.client(scene.broker), [60.0]
    while len(took) < 10 and min(took) >= 3.5:  # the fallbacks would take longer; a busy machine may cost a try
        before = scene.asked_over_http
        question = await scene.ask(client)
        if scene.asked_over_http > before:
            took.append(60.0)
            continue
        waiting = asyncio.create_task(client.wait_for_response(question.id, 60))
        answered_at = time.monotonic()
        await scene.answer(question)
        assert await within(60, waiting) == "this one"
        took.append(time.monotonic() - answered_at)
    assert min(took) < 3.5


async def test_without_a_broker_everything_goes_over_http(scene: Scene) -> None:
    client = scene.client(None)
    question = await scene.ask(client)
    assert scene.asked_over_http == 1
    waiting = asyncio.create_task(client.wait_for_response(question.id, 60))
    await eventually(lambda: scene.stage.proxy.count("/response") == 2)  # a look, then a long poll
    await scene.answer(question)
    assert await within(25, waiting) == "this one"  # the long poll alone would take longer
    assert scene.stage.proxy.count("/response") == 2


async def test_a_broker_that_is_gone_costs_no_more_than_time(scene: Scene, tmp_path: Path) -> None:
    client = scene.client(gone := RedisBroker(f"unix://{tmp_path}/nowhere"))
    question = await scene.ask(client)
    assert scene.asked_over_http == 1
    waiting = asyncio.create_task(client.wait_for_response(question.id, 60))
    await scene.answer(question)
    assert await within(60, waiting) == "this one"
    await gone.close()


async def test_a_request_that_nobody_takes_from_the_stream_goes_over_http(scene: Scene) -> None:
    async with EmbeddedBroker(scene.server.socket.parent.parent / "other") as unheard:
        client = scene.client(broker := RedisBroker(unheard.url))
        await scene.ask(client)
        assert scene.asked_over_http == 1
        await broker.close()


async def test_a_lost_response_message_is_found_at_the_server(scene: Scene) -> None:
    question = await scene.ask(scene.client(scene.broker))
    async with EmbeddedBroker(scene.server.socket.parent.parent / "other") as unheard:
        client = scene.client(broker := RedisBroker(unheard.url))
        waiting = asyncio.create_task(client.wait_for_response(question.id, 60))
        await eventually(lambda: blocks(unheard))
        await scene.answer(question)
        assert await within(60, waiting) == "this one"
        await broker.close()


async def test_a_forged_response_is_not_believed(scene: Scene) -> None:
    client = scene.client(scene.broker)
    question = await scene.ask(client)
    forged = ControllerResponse(verdict="approved", message="go on", made_by="key:nobody", made_at=CLOCK.now())
    await scene.broker.send_response(WORKER, ResponseMessage(request_id=question.id, response=forged))
    assert await client.wait_for_response(question.id, 1.0) is None


async def test_waiting_outlasts_a_server_that_is_away(scene: Scene) -> None:
    """For longer than its calls are patient: here, than one try."""
    client = scene.client(None)
    question = await scene.ask(client)
    await scene.answer(question)
    await scene.stage.proxy.cut()
    refused, scene.api.patience = scene.stage.proxy.refused, 0.0
    waiting = asyncio.create_task(client.wait_for_response(question.id, 60))
    await eventually(lambda: scene.stage.proxy.refused > refused + 1)
    scene.stage.proxy.mend()
    assert await within(60, waiting) == "this one"


async def test_who_lost_the_lease_cannot_ask_and_unknown_requests_have_no_answer(scene: Scene) -> None:
    client = scene.client(None)
    with pytest.raises(LeaseLost):
        await client.enqueue_worker_request(scene.claimed.lease.execution_id, scene.question(token=99))
    with pytest.raises(NotFound):
        await client.wait_for_response(new_id("req", CLOCK.now()), 5)


async def test_rings_make_a_worker_hear_of_a_cancellation_and_of_a_drain_at_once(scene: Scene, tmp_path: Path) -> None:
    executor, shutdown = PuppetExecutor(), Shutdown()
    config = WorkerConfig.model_validate(
        {
            "worker_name": "two",
            "worker_id": "wrk_two",
            "worker_type": "bugfix",
            "api_url": scene.stage.proxy.url,
            "api_key": scene.stage.worker_key,
            "redis_url": scene.server.url,
            "workspace_dir": tmp_path / "work",
            "heartbeat_interval": 300.0,
        }
    )
    life = asyncio.create_task(run_worker(config, made(executor), shutdown))
    task = await scene.stage.submit()
    stay = await executor.stay()

    async def is_busy() -> bool:
        return (await scene.stage.desk.worker("wrk_two")).status is WorkerStatus.BUSY

    await eventually(is_busy)  # so the next heartbeat is minutes away, as is the next renewal
    await scene.stage.desk.cancel(task.id)
    await eventually(lambda: stay.cancelled)
    await scene.stage.desk.drain_worker("wrk_two")
    async with asyncio.timeout(60):
        assert await life == 0
    assert (await scene.stage.desk.worker("wrk_two")).status is WorkerStatus.OFFLINE
