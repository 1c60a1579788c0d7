"""Kill anything in the middle: every order is completed, and nothing happens twice."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from agentvine.broker.embedded import server_binary
from agentvine.domain.execution import Outcome
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from tests.e2e.fleet import Fleet, running_fleet, until
from tests.e2e.scripts import edits_readme, runs_long, script, stuck_once

pytestmark = pytest.mark.timeout(500)


async def _pages(fleet: Fleet) -> Counter[str]:
    """Subjects of the docs commits on main, and how often each stands there."""
    subjects = (await fleet.git("log", "--format=%s", "main")).splitlines()
    return Counter(subject for subject in subjects if subject.startswith("docs: page "))


async def test_an_order_survives_the_death_of_its_worker(tmp_path: Path) -> None:
    play = script(edits_readme("survivor", "Write page one", first=stuck_once()))
    async with running_fleet(tmp_path, play, "docs=2") as fleet:
        task = await fleet.submit("docs", "Write page one")
        await fleet.asked("survivor")
        detail = await fleet.desk.task(task.id)
        first = detail.executions[0]
        os.kill(fleet.worker(first.worker_id), signal.SIGKILL)

        after = await fleet.over(task)

        assert after.order.status is OrderStatus.COMPLETED, after.order.failure
        assert after.order.attempts == 2
        outcomes = {execution.id: execution.outcome for execution in after.executions}
        assert outcomes.pop(first.id) is Outcome.LOST
        assert list(outcomes.values()) == [Outcome.COMPLETED]
        assert await _pages(fleet) == {"docs: page one": 1}

        async def gone() -> bool:
            return not fleet.agents()

        await until(gone, "no process of Claude Code is left", 15)


async def test_workers_go_on_when_a_killed_server_is_back(tmp_path: Path) -> None:
    play = script(
        edits_readme("during", "Write page one", first=stuck_once(4.0), marker="one"),
        edits_readme("after", "Write page two", marker="two"),
    )
    async with running_fleet(tmp_path, play, "docs=1") as fleet:
        during = await fleet.submit("docs", "Write page one")
        await fleet.asked("during")
        os.kill(fleet.server(), signal.SIGKILL)
        after = await fleet.submit("docs", "Write page two")

        details = [await fleet.over(task) for task in (during, after)]

        assert [detail.order.status for detail in details] == [OrderStatus.COMPLETED] * 2
        assert details[0].order.attempts == 1
        assert await _pages(fleet) == {"docs: page one": 1, "docs: page two": 1}


async def test_flushing_the_broker_costs_nothing_but_time(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(10)]
    play = script(*(edits_readme(name, f"Write page {name}.", marker=name) for name in names))
    async with running_fleet(tmp_path, play, "docs=2") as fleet:
        tasks = [await fleet.submit("docs", f"Write page {name}.") for name in names]
        await fleet.asked(names[0])
        for name in names[1::4]:
            await _flush(fleet)
            await fleet.asked(name)
        await _flush(fleet)

        details = [await fleet.over(task, 150) for task in tasks]

        assert {detail.order.status for detail in details} == {OrderStatus.COMPLETED}
        assert {detail.order.attempts for detail in details} == {1}
        assert await _pages(fleet) == {f"docs: page {name}": 1 for name in names}


async def _flush(fleet: Fleet) -> None:
    """FLUSHALL, through the connection that a worker has."""
    import redis.asyncio as valkey  # noqa: TID251 - a person with a console, not the product

    variables = Path(f"/proc/{fleet.worker('wrk_docs-1')}/environ").read_bytes().decode().split("\0")
    url = next(one.removeprefix("REDIS_URL=") for one in variables if one.startswith("REDIS_URL="))
    async with valkey.Redis.from_url(url) as console:
        assert await console.flushall()


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    play = script(edits_readme("cancelled", "Write page one", first=runs_long("agentvine-cancel-test")))
    async with running_fleet(tmp_path, play, "docs=1") as fleet:
        task = await fleet.submit("docs", "Write page one")

        def runaways() -> list[int]:
            lines = {entry.name: _command(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
            return [
                int(pid)
                for pid, line in lines.items()
                if line.startswith("python3") and "agentvine-cancel-test" in line
            ]

        async def started() -> bool:
            return len(runaways()) >= 2

        await until(started, "Claude's command and its daemon run")
        await fleet.desk.cancel(task.id)

        async def gone() -> bool:
            return not runaways() and not fleet.agents()

        await until(gone, "the process tree is empty")
        assert (await fleet.desk.task(task.id)).order.status is OrderStatus.CANCELLED
        assert await _pages(fleet) == {}


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def test_a_signalled_worker_finishes_what_it_does_and_leaves(tmp_path: Path) -> None:
    play = script(edits_readme("finishing", "Write page one", first=stuck_once(2.0)))
    async with running_fleet(tmp_path, play, "docs=1") as fleet:
        task = await fleet.submit("docs", "Write page one")
        await fleet.asked("finishing")
        os.kill(fleet.worker("wrk_docs-1"), signal.SIGTERM)

        detail = await fleet.over(task)

        assert detail.order.status is OrderStatus.COMPLETED
        assert detail.order.attempts == 1


async def test_an_idle_fleet_leaves_at_once_and_deregisters(tmp_path: Path) -> None:
    play = script(edits_readme("unused", "Write page one"))
    async with running_fleet(tmp_path, play, "docs=1,review=1") as fleet:

        async def idle() -> bool:
            return sorted(worker.status for worker in await fleet.desk.workers()) == ["idle", "idle"]

        await until(idle, "both workers are idle")
        os.kill(fleet.worker("wrk_review-1"), signal.SIGTERM)

        async def told() -> bool:
            return (await fleet.desk.worker("wrk_review-1")).status is WorkerStatus.OFFLINE

        await until(told, "the worker is known to have left", 60)


def test_the_broker_is_the_bundled_one() -> None:
    assert server_binary().exists()
