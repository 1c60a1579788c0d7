"""How a worker leaves: told once, told twice, drained by the server, with work and without."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.domain.execution import Usage
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from agentvine.testing.eventually import eventually
from agentvine.testing.stage import Stage, stage
from agentvine.worker.main import EXIT_OK
from tests.integration.employed import idle, working


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as there:
        yield there


async def test_the_next_order_is_given_back_by_a_worker_that_is_leaving(here: Stage, tmp_path: Path) -> None:
    task, other = await here.submit(), await here.submit()
    async with working(here, tmp_path) as worker:
        stay = await worker.executor.stay()
        held = here.proxy.hold_answers("/complete", times=1)
        stay.conclude()
        await here.until(other, OrderStatus.RUNNING)
        worker.shutdown.drain()
        held.release()
        assert await worker.exit_code() == EXIT_OK
        await here.until(task, OrderStatus.COMPLETED)
        order = await here.until(other, OrderStatus.PENDING)
        assert (order.attempts, order.charged) == (1, 0)
        assert len(worker.executor.stays) == 1


async def test_an_idle_worker_leaves_at_once(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, poll_interval=60, heartbeat_interval=300) as worker:
        here.proxy.hold_answers("/claim")  # it does not wait for the poll
        await idle(here)
        worker.shutdown.drain()
        assert await worker.exit_code() == EXIT_OK
        assert (await here.desk.worker(worker.id)).status is WorkerStatus.OFFLINE


async def test_an_idle_worker_leaves_at_once_also_without_a_server(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, poll_interval=60, heartbeat_interval=300) as worker:
        await idle(here)
        await here.proxy.cut()
        worker.shutdown.drain()
        assert await worker.exit_code() == EXIT_OK


async def test_a_claim_that_is_answered_too_late_is_given_back(here: Stage, tmp_path: Path) -> None:
    held = here.proxy.hold_answers("/claim", times=1)
    async with working(here, tmp_path, poll_interval=30) as worker:
        await idle(here)
        task = await here.submit()
        await here.until(task, OrderStatus.RUNNING)
        worker.shutdown.drain()
        assert await worker.exit_code() == EXIT_OK
        held.release()
        await here.until(task, OrderStatus.PENDING)  # at what cost: the worker waits for a slow server only so long
        assert worker.executor.stays == []


async def test_what_runs_is_finished_before_leaving(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path) as worker:
        task, other = await here.submit(), await here.submit()
        stay = await worker.executor.stay()
        worker.shutdown.drain()
        await eventually(lambda: here.desk.worker(worker.id))
        stay.conclude()
        assert await worker.exit_code() == EXIT_OK
        await here.until(task, OrderStatus.COMPLETED)
        assert (await here.order(other)).attempts == 0


async def test_what_does_not_finish_in_time_is_released(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, grace_seconds=0.2) as worker:
        task = await here.submit()
        stay = await worker.executor.stay()
        stay.progress.usage = Usage(turns=3, cost_usd=0.5)
        worker.shutdown.drain()
        assert await worker.exit_code() == EXIT_OK
        assert stay.cancelled
        assert stay.progress.leave_by is not None, "what was done may still be stored"
        order = await here.until(task, OrderStatus.PENDING)
        assert (order.attempts, order.charged, order.workers_lost, order.spent_usd) == (1, 0, 0, 0.5)


async def test_a_second_signal_stops_at_once(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, max_concurrent_tasks=2) as worker:
        tasks = [await here.submit(), await here.submit()]
        await worker.executor.stay(1)
        worker.shutdown.drain()
        worker.shutdown.stop()
        assert await worker.exit_code() == EXIT_OK
        assert all(stay.cancelled for stay in worker.executor.stays)
        for task in tasks:
            assert (await here.until(task, OrderStatus.PENDING)).charged == 0


async def test_the_server_can_drain_a_worker(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, heartbeat_interval=0.2) as worker:
        await idle(here)
        await here.desk.drain_worker(worker.id)
        assert await worker.exit_code() == EXIT_OK


async def test_a_worker_leaves_before_it_could_ever_register(here: Stage, tmp_path: Path) -> None:
    await here.proxy.cut()
    async with working(here, tmp_path) as worker:
        worker.shutdown.drain()
        assert await worker.exit_code() == EXIT_OK
