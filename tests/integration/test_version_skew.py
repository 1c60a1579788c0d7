"""Workers, servers and clients of different releases: each pair works, or is told which of the two to upgrade."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.domain.errors import UpgradeRequired
from agentvine.domain.event import EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.shutdown import Shutdown
from agentvine.store.engine import open_database
from agentvine.testing.cast import a_task
from agentvine.testing.http import api, new_key, served, server_on
from agentvine.wire import messages as m
from agentvine.wire import protocol
from agentvine.wire.routes import SESSION_HEADER
from agentvine.worker.conclusion import Conclusion, Progress
from agentvine.worker.settings import WorkerConfig
from agentvine.worker.worker import Refused, Worker

RELEASE_0_1_REGISTERS = {
    "id": "wrk_old",
    "name": "old",
    "worker_type": "test",
    "version": "0.1.0",
    "host": "somewhere",
    "config": {
        "max_concurrent_tasks": 1,
        "queue_names": ["high_priority", "default", "low_priority"],
        "specializations": [],
        "tools": [],
    },
}
RELEASE_0_1_ANSWERS = {
    "worker": {
        "id": "wrk_new",
        "name": "new",
        "worker_type": "test",
        "version": "0.2.0",
        "host": "somewhere",
        "slots": 1,
        "specializations": [],
        "tools": [],
        "key_id": "key_01ke6p0000cv0cjxbcs4x40pxc",
        "status": "initializing",
        "current_tasks": [],
        "metrics": {"cpu_percent": 0.0, "memory_mb": 0.0, "disk_usage_gb": 0.0, "uptime_seconds": 0.0},
        "registered_at": "2026-01-05T09:00:00Z",
        "seen_at": "2026-01-05T09:00:00Z",
        "note": None,
    },
    "server_version": "0.1.0",
    "lease_seconds": 45.0,
    "session": "avs_" + "x" * 43 + "_wrk_new",
}


class OldWorker:
    """Says what the first release said, word for word, and reads what it read."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def say(self, path: str, **words: Any) -> Any:
        reply = await self.http.post(f"/api/v1{path}", json=words)
        assert reply.is_success, reply.text
        assert reply.headers[protocol.HEADER] == str(protocol.NEWEST)
        return reply.json() if reply.content else None

    async def register(self, **more: Any) -> Any:
        registered = await self.say("/workers", **RELEASE_0_1_REGISTERS, **more)
        self.http.headers[SESSION_HEADER] = registered["session"]
        return registered

    async def claim(self) -> Any:
        execution_id = new_id("exe", SystemClock().now())
        queues = ["high_priority", "default", "low_priority"]
        words = {"worker_id": "wrk_old", "execution_id": execution_id, "queue_names": queues, "wait_seconds": 0.0}
        claimed = await self.say("/queue/claim", **words)
        await self.say(f"/work-orders/{claimed['order']['id']}/start", token=claimed["lease"]["token"])
        return claimed


async def test_a_worker_of_the_first_release_is_served(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url, api(url) as admin, api(url, await new_key(url, Role.WORKER)) as client:
        desk, old = HTTPFrontDesk(admin), OldWorker(client.http)
        await desk.submit(a_task("done"))
        assert (await old.register(of_a_later_release={"is": "ignored"}))["protocol"] == 1
        claimed = await old.claim()
        order, execution, token = claimed["order"]["id"], claimed["lease"]["execution_id"], claimed["lease"]["token"]
        await old.say(f"/executions/{execution}/phase", token=token, phase="working")
        lease = {"work_order_id": order, "token": token}
        renewed = await old.say("/queue/renew", worker_id="wrk_old", leases=[lease])
        assert renewed["leases"][0]["status"] == "renewed"
        beat = {"status": "busy", "current_tasks": [order], "metrics": {"cpu_percent": 1.0}, "note": None}
        assert (await old.say("/workers/wrk_old/heartbeat", **beat))["commands"] == []
        delivery = {"kind": "push", "branch": "main", "old_sha": "a" * 40, "new_sha": "b" * 40}
        await old.say(f"/work-orders/{order}/deliver", token=token, delivery=delivery)
        done = {"token": token, "delivery": delivery, "usage": {"turns": 1}, "summary": "done", "later": 1}
        assert (await old.say(f"/work-orders/{order}/complete", **done))["status"] == "completed"

        task = await desk.submit(a_task("fails as only a later release can"))
        claimed = await old.claim()
        failure = {"reason": "struck_by_lightning", "detail": "twice"}
        path = f"/work-orders/{claimed['order']['id']}/fail"
        await old.say(path, token=claimed["lease"]["token"], failure=failure, usage={})
        order_now = (await desk.task(task.id)).order
        assert order_now.status is OrderStatus.PENDING
        assert order_now.failure is not None
        assert order_now.failure.reason is FailureReason.WORKER_ERROR


def presenting(newest: int, oldest: int) -> m.Registration:
    return m.Registration(
        id="wrk_new", name="x", worker_type=TaskType.TEST, version="9", protocol=newest, oldest_protocol=oldest
    )


async def test_without_a_common_protocol_nothing_happens(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url, api(url) as admin, api(url, await new_key(url, Role.WORKER)) as client:
        plane = HTTPControlPlane(client)
        with pytest.raises(UpgradeRequired, match="upgrade the server") as refused:
            await plane.register(presenting(protocol.NEWEST + 2, protocol.NEWEST + 1))
        assert refused.value.facts == {"oldest": protocol.OLDEST, "newest": protocol.NEWEST}
        assert await HTTPFrontDesk(admin).workers() == ()
        newer = await plane.register(presenting(protocol.NEWEST + 2, protocol.NEWEST))
        assert newer.protocol == protocol.NEWEST


async def test_a_session_of_another_protocol_is_not_gone_on_with(tmp_path: Path) -> None:
    """The server was brought back to an older release under a worker that had agreed on more; it registers anew."""
    async with server_on(tmp_path) as url:
        secret = await new_key(url, Role.WORKER)
        async with api(url, secret) as client:
            plane = HTTPControlPlane(client)
            await plane.register(presenting(protocol.NEWEST, protocol.OLDEST))
    database = open_database(f"sqlite:///{tmp_path / 'agentvine.db'}")
    await database.write(lambda unit: unit.run("UPDATE workers SET protocol = :later", later=protocol.NEWEST + 1))
    await database.close()
    async with server_on(tmp_path) as url, api(url, secret) as client:
        plane._spoken._api = client
        ask = m.ClaimRequest(worker_id="wrk_new", execution_id=new_id("exe", SystemClock().now()))
        with pytest.raises(UpgradeRequired):
            await plane.claim(ask)
        await plane.register(presenting(protocol.NEWEST, protocol.OLDEST))
        assert await plane.claim(ask) is None


def refusing_or_not(answer: dict[str, Any]) -> Starlette:
    """A server of another release, as far as a worker sees of it."""

    async def registered(request: Request) -> Response:
        return JSONResponse(answer, status_code=201)

    async def nothing(request: Request) -> Response:
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/api/v1/workers", registered, methods=["POST"]),
            Route("/{rest:path}", nothing, methods=["POST", "DELETE"]),
        ]
    )


async def arriving(answer: dict[str, Any], where: Path) -> str:
    """Why a worker of this release does not stay at such a server; empty if it does."""
    async with served(refusing_or_not(answer)) as url, api(url) as client:
        settings = {"WORKER_NAME": "new", "WORKER_TYPE": "test", "API_URL": url, "API_KEY": "av_x", "SANDBOX": "none"}
        config = WorkerConfig.load({**settings, "WORKSPACE_DIR": str(where)})
        shutdown = Shutdown()
        worker = Worker(config, "wrk_new", HTTPControlPlane(client), Nobody(), shutdown, SystemClock())
        try:
            await worker._arrive()
        except Refused as refused:
            return str(refused)
        return ""


class Nobody:
    async def execute(self, claimed: m.Claimed, progress: Progress) -> Conclusion:
        raise AssertionError("there is no order")


async def test_a_worker_takes_an_older_server_and_no_unknown_one(tmp_path: Path) -> None:
    assert not await arriving(RELEASE_0_1_ANSWERS, tmp_path)
    later = {**RELEASE_0_1_ANSWERS, "protocol": protocol.NEWEST + 1}
    assert (await arriving(later, tmp_path)).endswith("upgrade the worker")


async def test_events_that_only_a_newer_server_knows_are_passed_over(tmp_path: Path) -> None:
    """By a server that shares its database, and by a client."""
    async with server_on(tmp_path) as url, api(url) as admin:
        desk = HTTPFrontDesk(admin)
        first = await desk.submit(a_task("before"))
        database = open_database(f"sqlite:///{tmp_path / 'agentvine.db'}")
        insert = "INSERT INTO events (at, kind, actor, data) VALUES (0, 'order.teleported', 'server', '{}')"
        await database.write(lambda unit: unit.run(insert))
        await database.close()
        last = await desk.submit(a_task("after"))
        seen = []
        async with aclosing(desk.events(after=0)) as told:  # type: ignore[type-var]  # it is a generator
            async for event in told:
                seen.append(event)
                if event.task_id == last.id:
                    break
        assert {EventKind(event.kind) for event in seen if event.task_id == first.id} == {EventKind.TASK_SUBMITTED}

    async def newer(request: Request) -> Response:
        async def told() -> AsyncIterator[str]:
            at = "2026-01-05T09:00:00Z"
            yield f'id: 1\ndata: {{"seq": 1, "at": "{at}", "kind": "order.teleported", "actor": "x", "how": 1}}\n\n'
            yield f'id: 2\ndata: {{"seq": 2, "at": "{at}", "kind": "order.claimed", "actor": "x", "how": 1}}\n\n'

        return StreamingResponse(told(), media_type="text/event-stream")

    async with served(Starlette(routes=[Route("/api/v1/events", newer)])) as url, api(url) as client:
        async for event in HTTPFrontDesk(client).events(after=0):
            assert (event.seq, event.kind) == (2, EventKind.ORDER_CLAIMED)
            break
