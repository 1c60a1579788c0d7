"""What the server does of its own accord: heartbeats written together, the reaper's round, files of artifacts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.domain.errors import LeaseLost, NotFound, Unavailable
from agentvine.domain.request import RequestStatus
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import Metrics, WorkerStatus
from agentvine.server.reaper import Reaper
from agentvine.store.artifacts import ArtifactFolder
from agentvine.testing.cast import a_task, a_worker
from agentvine.testing.eventually import eventually
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.channels import RequestMessage


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(sqlite_url, tmp_path) as site:
        yield site


async def test_heartbeats_are_written_together(site: InProcessSite) -> None:
    workers = [await a_worker(site, f"wrk_{number}") for number in range(3)]
    site.clock.advance(5)
    beat = m.Heartbeat(status=WorkerStatus.IDLE, metrics=Metrics(cpu_percent=12.5, memory_mb=64), note="all is well")
    for worker in workers:
        await worker.plane.heartbeat(worker.id, beat)
    desk = await site.front_desk()
    assert (await desk.worker("wrk_0")).status is WorkerStatus.INITIALIZING
    running = asyncio.ensure_future(site.control.heartbeats.run())
    await eventually(lambda: _seen(site, "wrk_0"))
    running.cancel()
    await asyncio.wait([running])
    for worker in workers:
        seen = await desk.worker(worker.id)
        assert (seen.metrics, seen.note, seen.seen_at) == (beat.metrics, "all is well", site.clock.now())


async def _seen(site: InProcessSite, worker_id: str) -> bool:
    return (await (await site.front_desk()).worker(worker_id)).status is WorkerStatus.IDLE


async def test_heartbeats_outlast_trouble_with_the_database(site: InProcessSite) -> None:
    worker = await a_worker(site)
    await worker.plane.heartbeat(worker.id, m.Heartbeat(status=WorkerStatus.IDLE))
    await site.database.close()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await site.control.heartbeats.flush()


async def test_the_reapers_loop_survives_trouble_and_goes_on(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take()
    running = asyncio.ensure_future(site.reaper.run())

    async def given_back() -> bool:
        site.clock.advance(1)
        site.reaper.ring()
        return (await desk.work_order(claimed.order.id)).status is OrderStatus.PENDING

    await eventually(given_back)
    await site.database.close()
    site.reaper.ring()
    await asyncio.wait([running], timeout=0.05)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


async def test_a_server_that_starts_gives_every_lease_its_time(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    site.clock.advance(3600)  # it was down
    started = Reaper(site.control)
    await started.sweep()
    assert await worker.renew(claimed) == ["renewed"]
    assert (await desk.worker(worker.id)).status is not WorkerStatus.OFFLINE


async def test_a_request_through_the_broker(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    question = worker.question(claimed)
    message = RequestMessage(worker_id=worker.id, execution_id=claimed.lease.execution_id, request=question)
    taken = await site.control.take_request(message)
    assert await site.control.take_request(message) == taken
    assert (await desk.requests()).items == (taken,)
    assert await site.control.response_message(question.id) is None
    answered = await site.control.answer(
        question.id, m.Reply(verdict="answer", message="the left one"), made_by="policy:tests"
    )
    assert answered.status is RequestStatus.ANSWERED
    told = await site.control.response_message(question.id)
    assert told is not None
    assert (told.request_id, told.response.made_by) == (question.id, "policy:tests")
    await worker.complete(claimed)
    stale = message.model_copy(update={"request": worker.question(claimed)})
    with pytest.raises(LeaseLost):
        await site.control.take_request(stale)
    with pytest.raises(NotFound):
        await site.control.take_request(message.model_copy(update={"execution_id": worker.execution_id()}))


def test_a_file_is_kept_once_and_whole(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    digest = folder.store(b"content")
    assert folder.store(b"content") == digest
    assert folder.load(digest) == b"content"
    assert [path.name for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == [digest]
    with pytest.raises(FileNotFoundError):
        folder.load("0" * 64)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "artifacts"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match="artifacts"):
        ArtifactFolder(blocked).store(b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]
