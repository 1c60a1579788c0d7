"""A server that is told to end does so at once, whoever still waits for it."""

import asyncio
import socket
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from agentvine.client.control_plane import HTTPControlPlane
from agentvine.domain.errors import Unavailable
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role
from agentvine.domain.worker_types import WorkerType
from agentvine.kit.clock import SystemClock
from agentvine.kit.shutdown import Shutdown
from agentvine.server.listening import listening
from agentvine.server.main import BoundServer, serve
from agentvine.server.settings import ServerSettings
from agentvine.server.waits import Waits
from agentvine.testing.eventually import eventually
from agentvine.testing.http import FIRST_KEY, api, http_site, new_key
from agentvine.wire import routes
from agentvine.wire.messages import Claimed, ClaimRequest, Registration

POLLS, STREAMS = 50, 10
SOON = 30.0
"""Seconds; half of what the claims would wait."""


async def claim(plane: HTTPControlPlane, worker_id: str) -> Claimed | None:
    await plane.register(Registration(id=worker_id, name=worker_id, worker_type=WorkerType.DOCS, version="1"))
    execution_id = new_id("exe", SystemClock().now())
    return await plane.claim(ClaimRequest(worker_id=worker_id, execution_id=execution_id, wait_seconds=60))


async def refused(call: Awaitable[object]) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await call
    return caught.value


async def read_to_its_end(http: httpx.AsyncClient) -> str:
    return (await http.get(routes.EVENTS.url())).text


async def test_long_polls_and_streams_do_not_hold_it_up(tmp_path: Path) -> None:
    shutdown = Shutdown()
    bound: asyncio.Future[BoundServer] = asyncio.get_running_loop().create_future()
    settings = ServerSettings.load({}, data_dir=tmp_path, port=0, first_key=FIRST_KEY)
    serving = asyncio.create_task(serve(settings, shutdown, bound.set_result))
    url = (await bound).url
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        admin = await stack.enter_async_context(api(url))
        plane = HTTPControlPlane(await stack.enter_async_context(api(url, await new_key(url, Role.WORKER))))
        polls = [group.create_task(refused(claim(plane, f"wrk_{number}"))) for number in range(POLLS)]
        streams = [group.create_task(read_to_its_end(admin.http)) for _ in range(STREAMS)]

        async def all_wait() -> bool:
            metrics = (await admin.http.get(routes.METRICS.url())).text
            return f"agentvine_waiting_requests {POLLS + STREAMS}.0" in metrics

        await eventually(all_wait)
        began = time.monotonic()
        shutdown.drain()
        await serving
        assert time.monotonic() - began < SOON
    assert {poll.result().facts["retry_after"] for poll in polls} == {1}
    assert all(stream.result().startswith("id: ") for stream in streams)


async def test_a_request_that_is_worked_on_is_finished_unless_there_is_no_time() -> None:
    entered, leave, shutdown = asyncio.Event(), asyncio.Event(), Shutdown()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await leave.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def ask_and_end(*, hang: bool) -> str:
        entered.clear()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            async with httpx.AsyncClient(timeout=60) as http, listening(slow, Waits(), listener, shutdown) as url:
                asking = asyncio.create_task(http.get(url))
                await entered.wait()
                asyncio.get_running_loop().call_later(0.3, shutdown.stop if hang else leave.set)
        return (await asking).text

    assert await ask_and_end(hang=False) == "done"
    leave.clear()
    began = time.monotonic()
    asyncio.get_running_loop().call_later(SOON, leave.set)
    with pytest.raises(httpx.HTTPError):
        await ask_and_end(hang=True)
    assert time.monotonic() - began < SOON


async def test_who_would_wait_is_sent_away_while_the_server_ends(sqlite_url: str, tmp_path: Path) -> None:
    async with http_site(sqlite_url, tmp_path) as site:
        plane = await site.worker_plane()
        site.services.waits.close()
        assert (await refused(claim(plane, "wrk_late"))).facts["retry_after"] == 1
        async with api(site.url) as anybody:
            assert (await anybody.http.get(routes.READY.url())).status_code == 503
            assert (await anybody.http.get(routes.HEALTH.url())).status_code == 200
