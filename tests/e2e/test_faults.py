"""Kill anything in the middle: every order is completed, and nothing happens twice."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from agentvine.domain.execution import Outcome
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from tests.e2e.fleet import Fleet, running_fleet, until
from tests.e2e.scripts import edits_readme, runs_long, script, stuck_once

pytestmark = pytest.mark.timeout(1200)
MARKER = f"agentvine-cancel-{os.getpid()}"
"""On the command lines of what is cancelled, and of nothing else on this machine."""
PAGES = tuple(f"n{number}" for number in range(3))
PLAY = script(
    edits_readme("cancelled", "Write what is cancelled", first=runs_long(MARKER)),
    *(edits_readme(name, f"Write page {name}.", marker=name) for name in PAGES),
    edits_readme("survivor", "Write what survives", first=stuck_once(), marker="survivor"),
    edits_readme("during", "Write during", first=stuck_once(4.0), marker="during"),
    edits_readme("after", "Write after", marker="after"),
    edits_readme("finishing", "Write to the end", first=stuck_once(2.0), marker="finishing"),
)
WRITTEN = (*PAGES, "survivor", "during", "after", "finishing")


async def test_a_fleet_goes_on_whatever_is_cancelled_flushed_killed_or_signalled(tmp_path: Path) -> None:
    """One fleet goes through all of it: most of what each would cost alone is its start."""
    async with running_fleet(tmp_path, PLAY, "docs=2") as fleet:
        await cancelling_leaves_no_process(fleet)
        await flushing_the_broker_costs_nothing_but_time(fleet)
        await an_order_survives_the_death_of_its_worker(fleet)
        await workers_go_on_when_a_killed_server_is_back(fleet)
        await signalled_workers_finish_what_they_do_and_leave(fleet)
        assert await _pages(fleet) == {f"docs: page {name}": 1 for name in WRITTEN}


async def _pages(fleet: Fleet) -> Counter[str]:
    """Subjects of the docs commits on main, and how often each stands there."""
    subjects = (await fleet.git("log", "--format=%s", "main")).splitlines()
    return Counter(subject for subject in subjects if subject.startswith("docs: page "))


async def no_agent_is_left(fleet: Fleet) -> None:
    async def gone() -> bool:
        return not fleet.agents()

    await until(gone, "no process of Claude Code is left")


async def cancelling_leaves_no_process(fleet: Fleet) -> None:
    task = await fleet.submit("docs", "Write what is cancelled")

    async def started() -> bool:
        return len(_runaways()) >= 2

    await until(started, "Claude's command and its daemon run")
    await fleet.desk.cancel(task.id)

    async def gone() -> bool:
        return not _runaways()

    await until(gone, "the process tree is empty")
    await no_agent_is_left(fleet)
    assert (await fleet.desk.task(task.id)).order.status is OrderStatus.CANCELLED
    assert await _pages(fleet) == {}


def _runaways() -> list[int]:
    lines = {entry.name: _command(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    return [int(pid) for pid, line in lines.items() if line.startswith("python3") and MARKER in line]


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def flushing_the_broker_costs_nothing_but_time(fleet: Fleet) -> None:
    tasks = [await fleet.submit("docs", f"Write page {name}.") for name in PAGES]
    await fleet.asked(PAGES[0])
    for name in PAGES[2::2]:
        await _flush(fleet)
        await fleet.asked(name)
    await _flush(fleet)

    details = [await fleet.over(task) for task in tasks]

    assert {detail.order.status for detail in details} == {OrderStatus.COMPLETED}
    assert {detail.order.attempts for detail in details} == {1}
    assert await _pages(fleet) == {f"docs: page {name}": 1 for name in PAGES}


async def _flush(fleet: Fleet) -> None:
    """FLUSHALL, through the connection that a worker has."""
    import redis.asyncio as valkey  # noqa: TID251 - a person with a console, not the product

    variables = Path(f"/proc/{fleet.worker('wrk_docs-1')}/environ").read_bytes().decode().split("\0")
    url = next(one.removeprefix("REDIS_URL=") for one in variables if one.startswith("REDIS_URL="))
    async with valkey.Redis.from_url(url) as console:
        assert await console.flushall()


async def an_order_survives_the_death_of_its_worker(fleet: Fleet) -> None:
    task = await fleet.submit("docs", "Write what survives")
    await fleet.asked("survivor")
    first = (await fleet.desk.task(task.id)).executions[0]
    os.kill(fleet.worker(first.worker_id), signal.SIGKILL)

    after = await fleet.over(task)

    assert after.order.status is OrderStatus.COMPLETED, after.order.failure
    assert after.order.attempts == 2
    outcomes = {execution.id: execution.outcome for execution in after.executions}
    assert outcomes.pop(first.id) is Outcome.LOST
    assert list(outcomes.values()) == [Outcome.COMPLETED]
    await no_agent_is_left(fleet)


async def workers_go_on_when_a_killed_server_is_back(fleet: Fleet) -> None:
    during = await fleet.submit("docs", "Write during")
    await fleet.asked("during")
    os.kill(fleet.server(), signal.SIGKILL)
    after = await fleet.submit("docs", "Write after")

    details = [await fleet.over(task) for task in (during, after)]

    assert [detail.order.status for detail in details] == [OrderStatus.COMPLETED] * 2
    assert details[0].order.attempts == 1


async def signalled_workers_finish_what_they_do_and_leave(fleet: Fleet) -> None:
    task = await fleet.submit("docs", "Write to the end")
    await fleet.asked("finishing")
    busy = (await fleet.desk.task(task.id)).executions[0].worker_id
    idle = {"wrk_docs-1": "wrk_docs-2", "wrk_docs-2": "wrk_docs-1"}[busy]
    await is_now(fleet, idle, WorkerStatus.IDLE)
    for worker in (idle, busy):
        os.kill(fleet.worker(worker), signal.SIGTERM)

    detail = await fleet.over(task)

    assert detail.order.status is OrderStatus.COMPLETED
    assert detail.order.attempts == 1
    for worker in (idle, busy):
        await is_now(fleet, worker, WorkerStatus.OFFLINE)


async def is_now(fleet: Fleet, worker: str, status: WorkerStatus) -> None:
    async def is_so() -> bool:
        return (await fleet.desk.worker(worker)).status is status

    await until(is_so, f"{worker} is {status}")
