"""A running fleet under faults: many orders and workers, the faults of `faults.py`, an orderly end, and the checker."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.demo.script import ErrorReply, Scenario, ToolCall, Turn
from agentvine.demo.scripted_model import serve as serve_model
from agentvine.testing.git_repository import git
from agentvine.testing.git_server import GitServer
from tests.chaos.faults import DISKS, ENDINGS, POSTGRESQL, schedule
from tests.chaos.fleet import Fleet
from tests.chaos.foundry import Foundry
from tests.chaos.ground import Template, ground
from tests.chaos.outcome import Plan, Result, judge, recovered
from tests.chaos.people import MOST_PAGES, People, title
from tests.chaos.strikes import Strikes
from tests.e2e.scripts import edits_readme, script

Watch = Callable[[Fleet], Coroutine[None, None, None]]
"""Looks at a fleet while faults happen to it; cancelled when they are over."""
_LOOK = (ToolCall(name="Bash", input={"command": "git log --oneline", "description": "Look"}),)
_WAYS_TO_FAIL = (
    None,
    Turn(tool_calls=_LOOK, error=ErrorReply(status=429, retry_after=1, times=2)),
    Turn(tool_calls=_LOOK, error=ErrorReply(status=529, times=2)),
    Turn(tool_calls=_LOOK, error=ErrorReply(status=500, times=1)),
    Turn(text="Let me see.", tool_calls=_LOOK, cut_after_events=2),
    Turn(text="Let me see.", tool_calls=_LOOK, hang_seconds=5.0),
)
"""What the model does first in a conversation with the real CLI, in turn; None: nothing is wrong with it."""


def _page(number: int) -> Scenario:
    first = _WAYS_TO_FAIL[number % len(_WAYS_TO_FAIL)]
    return edits_readme(f"c{number}", title(number), marker=f"claude-{number}", first=first)


def left_out(plan: Plan, database: str) -> frozenset[str]:
    """Kinds of faults that make no sense in such a run, or cannot be had on this machine."""
    without = set(plan.without) | (set() if database == "postgresql" else POSTGRESQL)
    without |= ENDINGS if plan.lasting else set()
    without |= set() if plan.small_disks else DISKS
    return frozenset(without)


async def run(plan: Plan, foundry: Foundry, template: Template, where: Path, watch: Watch | None = None) -> Result:
    """One run, to its end. Its result says what was broken."""
    result, began = Result(plan), time.monotonic()
    without = left_out(plan, "postgresql" if template.databases else "sqlite")
    result.left_out = sorted(without)
    faults = schedule(plan.seed, plan.seconds, plan.workers, plan.lease, plan.every, without)
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(
            ground(foundry, where, template, plan.lease, forge=True, small_disks=plan.small_disks)
        )
        remotes = await stack.enter_async_context(GitServer(here.where))
        elsewhere = await stack.enter_async_context(GitServer(here.where))
        await git("config", "http.receivepack", "true", cwd=here.remote)
        model = await stack.enter_async_context(serve_model(script(*map(_page, range(1, MOST_PAGES + 2)))))
        async with EmbeddedBroker(here.where / "broker") as broker:
            fleet = Fleet(plan, here, broker, remotes, result)
            fleet.model_url, fleet.elsewhere = model.url, elsewhere.url("").rstrip("/")
            people = People(fleet)
            async with fleet.connected():
                async with fleet.running(), asyncio.TaskGroup() as group:
                    beside = [group.create_task(people.answer())]
                    beside += [group.create_task(watch(fleet))] if watch is not None else []
                    async with asyncio.TaskGroup() as busy:
                        busy.create_task(Strikes(fleet).strike(faults))
                        busy.create_task(people.submit_until(time.monotonic() + plan.seconds))
                    await people.finish()
                    for task in beside:
                        task.cancel()
                await people.sweep()
            await here.end()
        await judge(here, remotes, result)
        result.recovered = recovered(here.ledger, fleet.deaths)
    result.seconds = time.monotonic() - began
    return result
