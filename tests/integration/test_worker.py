"""A worker's life at a real server: it claims, carries out and reports."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.errors import LeaseLost
from agentvine.domain.execution import Outcome, Usage
from agentvine.domain.ids import new_id
from agentvine.domain.request import RequestKind
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.task import Task
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from agentvine.kit.clock import SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.eventually import eventually
from agentvine.testing.stage import PuppetExecutor, Stage, made, stage
from agentvine.wire.messages import NewRequest
from agentvine.worker.conclusion import Failed, Parked
from agentvine.worker.main import EXIT_REFUSED, run_worker
from agentvine.worker.worker import Worker
from tests.integration.employed import OFTEN, config, idle, working


def lapse(stage: Stage, task: Task) -> None:
    """By the server's clock, the order's lease has ended."""
    with closing(sqlite3.connect(stage.data / "agentvine.db", timeout=30)) as database, database:
        ended = "UPDATE work_orders SET lease_expires = 1 WHERE id = ? AND lease_expires IS NOT NULL"
        assert database.execute(ended, (task.work_order_id,)).rowcount == 1


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as there:
        yield there


async def test_an_order_is_carried_out_and_reported(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path) as worker:
        task = await here.submit()
        stay = await worker.executor.stay()
        stay.progress.usage = Usage(input_tokens=5, cost_usd=0.25)
        stay.conclude()
        order = await here.until(task, OrderStatus.COMPLETED)
        assert (order.attempts, order.spent_usd) == (1, 0.25)
        detail = await here.desk.task(task.id)
        assert [execution.outcome for execution in detail.executions] == [Outcome.COMPLETED]
        assert detail.summary == "all done"


async def test_no_more_run_at_once_than_there_are_slots(here: Stage, tmp_path: Path) -> None:
    tasks = [await here.submit() for _ in range(4)]
    async with working(here, tmp_path, max_concurrent_tasks=2) as worker:
        await worker.executor.stay(1)
        for _ in range(20):  # calls enough for a third claim to be answered in between
            await here.order(tasks[0])
        assert (len(worker.executor.stays), here.proxy.count("/claim")) == (2, 2)
        for number in range(4):
            (await worker.executor.stay(number)).conclude()
        for task in tasks:
            await here.until(task, OrderStatus.COMPLETED)
        assert worker.executor.most_at_once == 2


async def test_a_full_worker_gets_the_next_order_with_its_completion(here: Stage, tmp_path: Path) -> None:
    tasks = [await here.submit() for _ in range(3)]
    async with working(here, tmp_path) as worker:
        for number, task in enumerate(tasks):
            stay = await worker.executor.stay(number)
            assert (here.proxy.count("/claim"), here.proxy.count("/complete")) == (1, number)
            stay.conclude()
            await here.until(task, OrderStatus.COMPLETED)
        assert worker.executor.most_at_once == 1


@pytest.mark.parametrize("part", ["/complete", "/start"])
async def test_a_lost_answer_that_brought_the_next_order_loses_nothing(here: Stage, tmp_path: Path, part: str) -> None:
    tasks = [await here.submit() for _ in range(2)]
    async with working(here, tmp_path) as worker:
        first = await worker.executor.stay(0)
        losing = here.proxy.lose_answers(part, times=2)
        first.conclude()
        (await worker.executor.stay(1)).conclude()
        for task in tasks:
            order = await here.until(task, OrderStatus.COMPLETED)
            assert (order.attempts, order.lease_token) == (1, 1)
        assert (losing.struck, len(worker.executor.stays)) == (2, 2)


async def test_every_conclusion_is_reported(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path) as worker:
        failing = await here.submit()
        stay = await worker.executor.stay(0)
        stay.conclude(Failed(Failure(reason=FailureReason.NO_CHANGES, detail="nothing to do")))
        order = await here.until(failing, OrderStatus.FAILED)
        assert order.failure is not None
        assert order.failure.reason is FailureReason.NO_CHANGES

        parking = await here.submit()
        stay = await worker.executor.stay(1)
        token = stay.claimed.lease.token
        ask = NewRequest(token=token, id=new_id("req", worker.clock.now()), kind=RequestKind.APPROVAL, message="may I?")
        stay.conclude(Parked(ask))
        assert (await here.until(parking, OrderStatus.WAITING)).request_id == ask.id


async def test_an_executor_that_breaks_fails_its_order_and_nothing_else(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path) as worker:
        task = await here.submit(max_attempts=1)
        (await worker.executor.stay()).conclusion.set_exception(RuntimeError("no such\0thing"))
        order = await here.until(task, OrderStatus.FAILED)
        assert order.failure is not None
        assert order.failure.reason is FailureReason.WORKER_ERROR
        assert "RuntimeError: no suchthing" in order.failure.detail
        another = await here.submit()
        (await worker.executor.stay(1)).conclude()
        await here.until(another, OrderStatus.COMPLETED)


async def test_an_execution_has_a_hard_limit(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path) as worker:
        task = await here.submit(timeout_seconds=1, max_attempts=1)
        order = await here.until(task, OrderStatus.FAILED)
        assert order.failure is not None
        assert order.failure.reason is FailureReason.TIMEOUT
        assert (await worker.executor.stay()).cancelled


async def test_a_cancelled_order_is_stopped_and_not_reported(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, heartbeat_interval=OFTEN) as worker:
        task = await here.submit()
        stay = await worker.executor.stay()
        await here.desk.cancel(task.id)
        await eventually(lambda: stay.cancelled)
        assert stay.progress.leave_by is None, "nothing of it is to be stored"
        assert (await here.order(task)).status is OrderStatus.CANCELLED
        assert not here.proxy.count("/fail")
        assert not here.proxy.count("/release")
        another = await here.submit()
        (await worker.executor.stay(1)).conclude()
        await here.until(another, OrderStatus.COMPLETED)


async def test_a_lost_lease_stops_the_execution_and_nothing_is_said(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, heartbeat_interval=OFTEN) as worker:
        task = await here.submit()
        stay = await worker.executor.stay()
        await HTTPControlPlane(here.desk._api).deregister(worker.id)  # as an admin may
        await eventually(lambda: stay.cancelled)
        with pytest.raises(LeaseLost):
            stay.progress.ensure_held()
        (await worker.executor.stay(1)).conclude()
        await here.until(task, OrderStatus.COMPLETED)
        outcomes = {execution.outcome for execution in (await here.desk.task(task.id)).executions}
        assert outcomes == {Outcome.LOST, Outcome.COMPLETED}
        assert not here.proxy.count("/fail")
        assert not here.proxy.count("/release")


async def test_a_worker_that_cannot_reach_the_server_stops_in_time(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path) as worker:
        task = await here.submit()
        stay = await worker.executor.stay()
        stay.progress.ensure_held()
        await here.proxy.cut()
        worker.clock.later = 31.0  # two thirds of the lease are over; the last is the server's
        await eventually(lambda: stay.cancelled)
        lapse(here, task)
        await here.until(task, OrderStatus.PENDING)
        here.proxy.mend()
        (await worker.executor.stay(1)).conclude()
        order = await here.until(task, OrderStatus.COMPLETED)
        assert order.attempts == 2
        assert not here.proxy.count("/fail")


async def test_a_worker_that_was_asleep_fences_itself_before_it_acts(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path) as worker:
        await here.submit()
        stay = await worker.executor.stay()
        stay.progress.ensure_held()
        held = here.proxy.hold_answers("renew")
        worker.clock.later = 29.0
        stay.progress.ensure_held()
        worker.clock.later = 31.0
        with pytest.raises(LeaseLost):
            stay.progress.ensure_held()
        await eventually(lambda: stay.cancelled)
        held.release()


async def test_a_slow_renewal_does_no_harm(tmp_path: Path) -> None:
    async with stage(tmp_path, lease_seconds=18.0) as here, working(here, tmp_path) as worker:
        task = await here.submit()
        stay = await worker.executor.stay()
        held = here.proxy.hold_answers("renew", times=1)
        await eventually(lambda: here.proxy.count("renew") >= 3)
        assert held.struck == 1
        assert not stay.cancelled
        held.release()
        stay.conclude()
        assert (await here.until(task, OrderStatus.COMPLETED)).attempts == 1


@pytest.mark.parametrize("part", ["claim", "start", "complete", "workers "])
async def test_lost_answers_lose_nothing_and_do_nothing_twice(here: Stage, tmp_path: Path, part: str) -> None:
    losing = here.proxy.lose_answers(part, times=2)
    task = await here.submit()
    async with working(here, tmp_path) as worker:
        (await worker.executor.stay()).conclude()
        order = await here.until(task, OrderStatus.COMPLETED)
        assert (order.attempts, order.lease_token) == (1, 1)
        await eventually(lambda: losing.struck == 2)
        assert len(worker.executor.stays) == 1
        outcomes = [execution.outcome for execution in (await here.desk.task(task.id)).executions]
        assert outcomes == [Outcome.COMPLETED]


@asynccontextmanager
async def impatient(here: Stage, directory: Path) -> AsyncIterator[PuppetExecutor]:
    """A worker whose client tries nothing twice, so that its own loops have to."""
    executor, shutdown = PuppetExecutor(), Shutdown()
    async with APIClient(here.proxy.url, here.worker_key, patience=0.0) as api:
        settings = config(here, directory, heartbeat_interval=0.2)
        worker = Worker(settings, "wrk_one", HTTPControlPlane(api), executor, shutdown, SystemClock())
        life = asyncio.create_task(worker.run())
        try:
            yield executor
        finally:
            shutdown.stop()
            await life


@pytest.mark.parametrize("part", ["/claim", "/start", "/complete"])
async def test_what_the_client_gives_up_the_worker_tries_again(here: Stage, tmp_path: Path, part: str) -> None:
    losing = here.proxy.lose_answers(part, times=2)
    task = await here.submit()
    async with impatient(here, tmp_path) as executor:
        (await executor.stay()).conclude()
        await eventually(lambda: here.proxy.count(part) >= 3)
        order = await here.until(task, OrderStatus.COMPLETED)
        assert (order.attempts, losing.struck, len(executor.stays)) == (1, 2, 1)


async def test_a_restart_of_the_server_is_survived(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, max_concurrent_tasks=2) as worker:
        task = await here.submit()
        stay = await worker.executor.stay()
        await here.stop_server()
        refused = here.proxy.refused
        stay.conclude()
        await eventually(lambda: here.proxy.refused > refused)
        await here.start_server()
        assert (await here.until(task, OrderStatus.COMPLETED)).attempts == 1
        another = await here.submit()
        (await worker.executor.stay(1)).conclude()
        await here.until(another, OrderStatus.COMPLETED)


async def test_a_worker_that_the_server_has_forgotten_registers_again(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, poll_interval=0.5, heartbeat_interval=0.2) as worker:
        await idle(here)
        await here.stop_server()
        with sqlite3.connect(tmp_path / "server" / "agentvine.db") as database:
            assert database.execute("DELETE FROM workers").rowcount == 1
        database.close()
        await here.start_server()
        task = await here.submit()
        (await worker.executor.stay()).conclude()
        await here.until(task, OrderStatus.COMPLETED)


async def test_a_worker_that_is_not_wanted_says_so_and_ends(here: Stage, tmp_path: Path) -> None:
    async with working(here, tmp_path, api_key="av_0000000000_wrong") as worker:
        assert await worker.exit_code() == EXIT_REFUSED


# ── what it says of itself ───────────────────────────────────────────────────────────────────────────────────────────


async def test_heartbeats_carry_status_tasks_and_metrics(here: Stage, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").write_bytes(b"x" * 3_000_000)
    async with working(here, tmp_path, heartbeat_interval=0.2) as worker:
        task = await here.submit()
        stay = await worker.executor.stay()

        async def busy() -> bool:
            seen = await here.desk.worker(worker.id)
            return seen.status is WorkerStatus.BUSY and seen.current_tasks == (task.work_order_id,)

        await eventually(busy)
        metrics = (await here.desk.worker(worker.id)).metrics
        assert metrics.memory_mb > 10
        assert metrics.uptime_seconds > 0
        assert metrics.disk_usage_gb == pytest.approx(0.003, abs=0.001)
        stay.conclude()

        async def resting() -> bool:
            return (await here.desk.worker(worker.id)).status is WorkerStatus.IDLE

        await eventually(resting)


async def test_trouble_with_claiming_is_told_and_recovered_from(here: Stage, tmp_path: Path) -> None:
    refusing = here.proxy.lose_answers("/claim", times=1_000_000)

    async def says(status: WorkerStatus) -> bool:
        return (await here.desk.worker("wrk_one")).status is status

    async with impatient(here, tmp_path):
        await eventually(lambda: here.proxy.count("/heartbeat"))
        await eventually(lambda: says(WorkerStatus.ERROR))
        note = (await here.desk.worker("wrk_one")).note
        assert note is not None
        assert note.startswith("claiming work: the AgentVine server at ")
        refusing.release()
        await eventually(lambda: says(WorkerStatus.IDLE))


@pytest.mark.parametrize("mode", [0o777, 0o770])
async def test_a_workspace_directory_that_others_may_write_in_is_refused(
    here: Stage, tmp_path: Path, mode: int
) -> None:
    place = tmp_path / "work"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(ConfigurationError, match="others may write"):
        await run_worker(config(here, tmp_path), made(PuppetExecutor()), Shutdown())
