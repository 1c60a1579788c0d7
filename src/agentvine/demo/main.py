"""`agentvine demo`: the whole of AgentVine at work on a small repository, with a model that plays a script.

Everything but the model is what runs in earnest: `agentvine up` as a process, real workers, the real Claude Code, git.
"""

import asyncio
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.demo.fleet import Stage, fleet
from agentvine.demo.ledger import Ledger
from agentvine.demo.place import place
from agentvine.demo.repositories import BRANCH, Git, make_remote
from agentvine.demo.script import Script
from agentvine.demo.scripted_model import serve
from agentvine.demo.show import Show
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.doorbell import Doorbell
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.messages import NamedTask, TaskBatch

_LONGEST_RUN = 1800.0
_REFRESH_SECONDS = 0.5
_ONE_OF_EACH = ",".join(f"{kind}=1" for kind in TaskType)


async def demo(stage: Stage, show: Show) -> Ledger:
    """Play it. Returns what became of every order; raises DemoFailed if it could not be played to its end."""
    began = SystemClock().elapsed()
    async with AsyncExitStack() as stack:
        where = stack.enter_context(place(stage))
        show.say("making a repository")
        remote = await make_remote(where, Git(stage.environment.get("PATH", "/usr/bin:/bin"), where / "home"))
        model = {} if stage.real else await stack.enter_async_context(_scripted_model())
        show.say("starting server, broker and six workers")
        context = await stack.enter_async_context(fleet(where, stage, _ONE_OF_EACH, model))
        api = await stack.enter_async_context(APIClient(context.url, context.key))
        desk = HTTPFrontDesk(api)
        ledger = Ledger(remote, await desk.submit_all(_tasks(remote)), began)
        async with asyncio.timeout(_LONGEST_RUN):
            await _watch(desk, ledger, show)
        show.say("letting everything finish")
    return ledger


async def _watch(desk: FrontDesk, ledger: Ledger, show: Show) -> None:
    bell = Doorbell()
    listening = asyncio.create_task(_ring_at_events(desk, bell))
    try:
        with show.live(ledger):
            while not ledger.over:
                await bell.wait(_REFRESH_SECONDS)
                await ledger.refresh(desk)
                show.update(ledger)
    finally:
        listening.cancel()


async def _ring_at_events(desk: FrontDesk, bell: Doorbell) -> None:
    async for _ in desk.events():
        bell.ring()


@asynccontextmanager
async def _scripted_model() -> AsyncIterator[dict[str, str]]:
    script = Script.model_validate(tomllib.loads(_data("script.toml")))
    async with serve(script) as model:
        yield model.variables


def _tasks(remote: str) -> TaskBatch:
    tasks = tomllib.loads(_data("tasks.toml"))["task"]
    return TaskBatch(
        tasks=tuple(
            NamedTask(name=task.pop("name"), task=NewTask(repository=remote, branch=BRANCH, **task)) for task in tasks
        )
    )


def _data(name: str) -> str:
    return files("agentvine.demo").joinpath("data").joinpath(name).read_text(encoding="utf-8")
