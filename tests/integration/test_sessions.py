"""A worker's session: without it its key says nothing, it outlives the server, it is worth nothing once replaced."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.client.control_plane import HTTPControlPlane
from agentvine.domain.errors import Forbidden, Superseded, Unauthenticated
from agentvine.domain.key import Role
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.cast import Hand, a_task, registration
from agentvine.testing.eventually import eventually
from agentvine.testing.http import HttpSite, api, http_site, new_key, server_on
from agentvine.testing.site import WORKER
from agentvine.testing.stage import PuppetExecutor, stage
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.worker.main import EXIT_OK, EXIT_REFUSED, Surroundings, run_worker
from agentvine.worker.settings import WorkerConfig

BEAT = m.Heartbeat(status=WorkerStatus.IDLE)


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[HttpSite]:
    async with http_site(database_url, tmp_path) as site:
        yield site


async def test_another_holder_of_the_key_is_not_the_worker(site: HttpSite) -> None:
    worker, stranger = await site.worker_planes(2)
    await worker.register(registration("wrk_one"))
    hand = Hand(site, worker, "wrk_one")
    for say in (
        lambda: stranger.claim(hand.claim_request()),
        lambda: stranger.heartbeat("wrk_one", BEAT),
        lambda: stranger.deregister("wrk_one"),
        lambda: stranger.artifact("exe_" + "0" * 26, "diff"),
    ):
        with pytest.raises(Unauthenticated):
            await say()
    assert await hand.claim() is None, "the worker itself may"


async def test_a_session_belongs_to_its_key(site: HttpSite) -> None:
    (worker,) = await site.worker_planes(1)
    token = (await worker.register(registration("wrk_one"))).session
    other = await site.site.secret(WORKER)
    async with api(site.url, other) as client:
        client.http.headers[routes.SESSION_HEADER] = token
        with pytest.raises(Forbidden):
            await HTTPControlPlane(client).claim(Hand(site, worker, "wrk_one").claim_request())


async def test_the_token_is_not_kept_only_its_digest(site: HttpSite) -> None:
    (worker,) = await site.worker_planes(1)
    token = (await worker.register(registration("wrk_one"))).session
    rows = await site.site.database.read(
        lambda unit: unit.all("SELECT * FROM workers") + unit.all("SELECT * FROM events")
    )
    assert token[:47] not in str(rows)
    desk = await site.front_desk()
    assert token[:47] not in str(await desk.workers())


async def test_it_is_looked_up_once(site: HttpSite) -> None:
    """What a worker says costs no statement more than it did without sessions."""
    (worker,) = await site.worker_planes(1)
    token = (await worker.register(registration("wrk_one"))).session
    await worker.heartbeat("wrk_one", BEAT)
    sessions, key = site.site.control.sessions, (await site.site.keyring.list())[0]
    first = await sessions.speaking(key, token)
    await site.site.database.close()
    assert await sessions.speaking(key, token) is first


async def test_a_waiting_claim_of_the_earlier_process_ends(site: HttpSite) -> None:
    first, second = await site.worker_planes(2)
    await first.register(registration("wrk_one"))
    waiting = asyncio.ensure_future(first.claim(Hand(site, first, "wrk_one").claim_request(wait_seconds=50)))
    await eventually(lambda: len(site.services.waits) == 1)
    await second.register(registration("wrk_one"))
    async with asyncio.timeout(40):
        with pytest.raises(Superseded):
            await waiting


async def test_another_server_hears_of_it_with_the_next_claim(
    site: HttpSite, database_url: str, tmp_path: Path
) -> None:
    async with http_site(database_url, tmp_path / "b") as other:
        first, _ = await site.worker_planes(2)
        await first.register(registration("wrk_one"))
        await first.heartbeat("wrk_one", BEAT)
        desk = await site.front_desk()
        await desk.submit(a_task())
        secret = first._api.http.headers["Authorization"].partition(" ")[2]
        async with api(other.url, secret) as client:
            await HTTPControlPlane(client).register(registration("wrk_one"))
            with pytest.raises(Superseded):
                await Hand(site, first, "wrk_one").claim()


async def test_it_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url:
        port, secret = int(url.rpartition(":")[2]), await new_key(url, Role.WORKER)
        client = api(url, secret, patience=30)
        plane = HTTPControlPlane(client)
        await plane.register(registration("wrk_one"))
    async with client, server_on(tmp_path, port=port):
        assert (await plane.heartbeat("wrk_one", BEAT)).commands == ()


async def test_who_registers_again_is_not_superseded_by_himself(site: HttpSite) -> None:
    (worker,) = await site.worker_planes(1)
    await worker.register(registration("wrk_one"))
    waiting = asyncio.ensure_future(worker.claim(Hand(site, worker, "wrk_one").claim_request(wait_seconds=50)))
    await eventually(lambda: len(site.services.waits) == 1)
    await worker.register(registration("wrk_one"))
    desk = await site.front_desk()
    task = await desk.submit(a_task())
    async with asyncio.timeout(40):
        claimed = await waiting
    assert claimed is not None
    assert claimed.task.id == task.id


async def test_a_replaced_worker_stops_and_its_successor_works_on(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        lives, executors, shutdowns = [], [], []
        task = await here.submit()
        for number in range(2):
            config = WorkerConfig.load(
                {},
                worker_name="one",
                worker_type="bugfix",
                worker_id="wrk_one",
                api_url=here.proxy.url,
                api_key=here.worker_key,
                workspace_dir=tmp_path / str(number),
                heartbeat_interval=0.2,
            )
            executor, shutdown = PuppetExecutor(), Shutdown()

            async def make(_: Surroundings, executor: PuppetExecutor = executor) -> PuppetExecutor:
                return executor

            lives.append(asyncio.create_task(run_worker(config, make, shutdown)))
            executors.append(executor)
            shutdowns.append(shutdown)
            await executor.stay()
        assert await lives[0] == EXIT_REFUSED
        assert executors[0].stays[0].cancelled
        executors[1].stays[0].conclude()
        await here.until(task, OrderStatus.COMPLETED)
        shutdowns[1].stop()
        assert await lives[1] == EXIT_OK
