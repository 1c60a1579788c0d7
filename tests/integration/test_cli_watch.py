"""Commands that go on: waiting with its exit codes, the live transcript, the stream of events."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import JsonValue

from agentvine.domain.request import RequestKind
from agentvine.testing.eventually import eventually as eventually_within
from agentvine.testing.proxy import Proxy
from tests.integration.town import REPOSITORY, Town, running_town


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(tmp_path) as running:
        yield running


async def eventually(fact: Callable[[], bool]) -> None:
    """As in the test kit, with time for a new process on a busy machine."""
    await eventually_within(fact, within=240)


async def completed(town: Town, title: str = "Completes") -> str:
    task = await town.submitted(title=title)
    claimed = await town.working()
    await town.result(claimed)
    await town.completes(claimed)
    return task


async def failed(town: Town) -> str:
    task = await town.submitted(title="Fails")
    await town.fails(await town.working(), "no test fails without the change")
    return task


async def cancelled(town: Town) -> str:
    task = await town.submitted(title="Is cancelled")
    await town.desk.cancel(task)
    return task


async def parked(town: Town) -> str:
    task = await town.submitted(title="Asks")
    await town.parks(await town.working(), RequestKind.APPROVAL, "May I?")
    return task


def said(text: str) -> dict[str, JsonValue]:
    return {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}


# ── wait ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_wait_says_in_its_exit_code_how_it_ended(town: Town) -> None:
    ends = [(await make(town), code, words) for make, code, words in ENDS]
    for task, code, words in ends:
        done = await town.cli("wait", task)
        assert done.exit_code == code, (words, done.stdout, done.stderr)
        assert words in done.stdout and task in done.stdout
        assert "Traceback" not in done.stderr


ENDS = (
    (completed, 0, "completed"),
    (failed, 1, "verification_failed"),
    (cancelled, 2, "cancelled"),
    (parked, 4, "May I?"),
)


async def test_wait_gives_up_when_the_time_is_over(town: Town) -> None:
    task = await town.submitted()
    done = await town.cli("wait", task, "--timeout", "0.2")
    assert done.exit_code == 3 and done.stdout.startswith(f"pending  {task}")


async def test_of_several_the_worst_counts(town: Town) -> None:
    good, asks = await completed(town), await parked(town)
    pending = await town.submitted(title="Pending")
    for tasks, code in (((good, good), 0), ((good, pending, asks), 4), ((good, pending), 3)):
        done = await town.cli("wait", *tasks, "--timeout", "0", "--json")
        assert done.exit_code == code, (code, done.stdout, done.stderr)
        assert [detail["task"]["id"] for detail in json.loads(done.stdout)] == list(dict.fromkeys(tasks))


async def test_waiting_sees_each_step_and_the_end(town: Town) -> None:
    task = await town.submitted()
    heard: list[str] = []
    waiting = await town.background("wait", task, heard=heard)
    await eventually(lambda: f"{task[-8:]}  pending" in heard)
    claimed = await town.working()
    await eventually(lambda: f"{task[-8:]}  working" in heard)
    await town.result(claimed)
    await town.completes(claimed)
    assert await waiting.wait() == 0
    assert any(line.startswith(f"completed  {task}") and "main at bbbbbbbbbbbb" in line for line in heard)


async def test_waiting_and_following_outlast_a_server_that_is_away(town: Town) -> None:
    task = await town.submitted()
    claimed = await town.working()
    await town.says(claimed, 0, said("One."))
    heard: list[str] = []
    async with Proxy(urlsplit(town.url).port or 0) as proxy:
        town.environment |= {"AGENTVINE_URL": proxy.url, "AGENTVINE_API_KEY": town.key}
        waiting = await town.background("wait", task, heard=heard)
        following = await town.background("logs", "-f", task, heard=heard)
        await eventually(lambda: f"{task[-8:]}  working" in heard and "One." in heard)
        await proxy.cut()
        await eventually(lambda: proxy.refused > 30)  # four calls, each patient for about five tries, are through
        assert waiting.exit_code is None and following.exit_code is None, heard
        await town.says(claimed, 1, said("Two."))
        await town.result(claimed)
        await town.completes(claimed)
        proxy.mend()
        assert await waiting.wait() == 0, heard
        assert await following.wait() == 0, heard
    assert heard.count("One.") == 1 and heard.count("Two.") == 1


async def test_submitting_can_wait_as_well(town: Town) -> None:
    heard: list[str] = []
    options = ("--type", "bugfix", "--repo", REPOSITORY, "--branch", "main", "--title", "t")
    waiting = await town.background("submit", *options, "--wait", heard=heard)
    await eventually(lambda: any("pending" in line for line in heard))
    await town.fails(await town.working())
    assert await waiting.wait() == 1
    done = await town.cli("submit", *options, "--wait", "--timeout", "0", "--json")
    assert done.exit_code == 3 and json.loads(done.stdout)["status"] == "pending"


async def test_an_unknown_task_is_refused_before_anything_is_waited_for(town: Town) -> None:
    assert "there is no task" in await town.refused("wait", "zzzz")
    assert (await town.cli("wait")).exit_code == 2


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_log_follows_every_attempt_to_the_end(town: Town) -> None:
    task = await town.submitted()
    heard: list[str] = []
    following = await town.background("logs", "-f", task, heard=heard)
    await eventually(lambda: "pending" in heard)
    claimed = await town.working()
    await town.says(claimed, 0, said("One."))
    await eventually(lambda: "One." in heard)
    await town.says(claimed, 1, said("Two."))
    await eventually(lambda: "Two." in heard)
    await town.parks(claimed, RequestKind.APPROVAL, "May I?")
    await eventually(lambda: any("waiting for a person" in line for line in heard))
    await town.ok("approve", task)
    again = await town.working()
    await town.says(again, 0, said("Three."))
    await town.result(again)
    await town.completes(again)
    assert await following.wait() == 0
    assert [line for line in heard if line in {"One.", "Two.", "Three."}] == ["One.", "Two.", "Three."]
    assert sum(line.startswith("── attempt") for line in heard) == 2
    assert heard[-1] == "completed"


async def test_the_log_follows_one_execution_as_json_to_its_end(town: Town) -> None:
    await town.submitted()
    claimed = await town.working()
    heard: list[str] = []
    following = await town.background("logs", "-f", "--json", claimed.lease.execution_id, heard=heard)
    await town.says(claimed, 0, said("One."))
    await eventually(lambda: bool(heard))
    await town.fails(claimed)
    assert await following.wait() == 0
    assert [json.loads(line) for line in heard] == [said("One.")]


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_events_tell_what_happened_and_what_happens(town: Town) -> None:
    task = await completed(town)
    other = await town.submitted(title="Other")
    events = [json.loads(line) for line in (await town.ok("events", "--json")).splitlines()]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    kinds = [event["kind"] for event in events if event["task_id"] == task]
    assert kinds[0] == "task.submitted" and kinds[-1] == "order.completed"
    only = [json.loads(line) for line in (await town.ok("events", "--task", task[-8:], "--json")).splitlines()]
    assert {event["task_id"] for event in only} == {task}
    last = events[-1]["seq"]
    assert [event["task_id"] for event in events][-1] == other

    heard: list[str] = []
    await town.background("events", "-f", "--after", str(last), heard=heard)
    newest = await town.submitted(title="Newest")
    await eventually(lambda: any("task.submitted" in line and newest[-8:] in line for line in heard))
