"""`agentvine demo`: the whole of AgentVine at work on a small repository, with a model that plays a script.

Everything but the model is what runs in earnest: `agentvine up` as a process, real workers, the real Claude Code, git.
"""

import asyncio
import shutil
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.demo.ledger import Ledger
from agentvine.demo.repositories import BRANCH, DemoFailed, Git, make_remote
from agentvine.demo.script import Script
from agentvine.demo.scripted_model import serve
from agentvine.demo.show import Show
from agentvine.domain.base import Model
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.doorbell import Doorbell, pause
from agentvine.kit.process import spawn
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.messages import NamedTask, TaskBatch

_LONGEST_START = 60.0
_LONGEST_RUN = 1800.0
_LOOK_SECONDS = 0.05
_REFRESH_SECONDS = 0.5
_UP_GRACE = 30.0
_NO_KEY = "nobody-checks-it"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays, and with what."""

    environment: Mapping[str, str] = field(repr=False)
    """What the workers are given: PATH, and with `real` the model's key."""
    keep: Path | None = None
    """A directory, empty or not there yet, in which everything stays."""
    real: bool = False
    sandbox: str | None = None
    """What confines the agents, if it is not the default."""


class _Context(Model):
    """What `agentvine up` leaves for other commands."""

    url: str
    key: str


async def demo(stage: Stage, show: Show) -> Ledger:
    """Play it. Returns what became of every order; raises DemoFailed if it could not be played to its end."""
    began = SystemClock().elapsed()
    async with AsyncExitStack() as stack:
        where = _place(stage)
        if stage.keep is None:
            stack.callback(_leave_the_remote, where)
        show.say("making a repository")
        remote = await make_remote(where, Git(stage.environment.get("PATH", "/usr/bin:/bin"), _home(where)))
        model = {} if stage.real else await stack.enter_async_context(_scripted_model())
        show.say("starting server, broker and six workers")
        context = await stack.enter_async_context(_up(where, stage, model))
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


def _place(stage: Stage) -> Path:
    if stage.keep is None:
        return Path(tempfile.mkdtemp(prefix="agentvine-demo-"))
    where = stage.keep.absolute()
    if where.exists() and any(where.iterdir()):
        raise DemoFailed(f"{where} is not empty; name a directory that does not exist yet")
    where.mkdir(parents=True, exist_ok=True)
    return where


def _home(where: Path) -> Path:
    home = where / "home"
    home.mkdir()
    return home


def _leave_the_remote(where: Path) -> None:
    """Only the remote is worth looking at afterwards; it is small."""
    for entry in where.iterdir():
        if entry.name != "purse.git":
            shutil.rmtree(entry, ignore_errors=True)


@asynccontextmanager
async def _scripted_model() -> AsyncIterator[dict[str, str]]:
    script = Script.model_validate(tomllib.loads(_data("script.toml")))
    async with serve(script) as model:
        yield {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": _NO_KEY}


@asynccontextmanager
async def _up(where: Path, stage: Stage, model: Mapping[str, str]) -> AsyncIterator[_Context]:
    context = where / "context.json"
    workers = ",".join(f"{kind}=1" for kind in TaskType)
    argv = [sys.executable, "-m", "agentvine", "up", "--data", str(where / "data"), "--port", "0", "--workers", workers]
    log = where / "up.log"
    argv += ["--sandbox", stage.sandbox] if stage.sandbox else []
    variables = {**stage.environment, **model, "AGENTVINE_CONTEXT": str(context)}
    running = await spawn(argv, cwd=where, env=variables, output=log, grace=_UP_GRACE, guarded=True)
    try:
        async with asyncio.timeout(_LONGEST_START):
            while not context.exists():
                if running.exit_code is not None:
                    raise DemoFailed(f"`agentvine up` ended:\n{log.read_text(errors='replace')[-2000:]}")
                await pause(_LOOK_SECONDS)
        yield _Context.model_validate_json(context.read_bytes())
    finally:
        await running.terminate(_UP_GRACE)


def _tasks(remote: str) -> TaskBatch:
    tasks = tomllib.loads(_data("tasks.toml"))["task"]
    return TaskBatch(
        tasks=tuple(
            NamedTask(name=task.pop("name"), task=NewTask(repository=remote, branch=BRANCH, **task)) for task in tasks
        )
    )


def _data(name: str) -> str:
    return files("agentvine.demo").joinpath("data").joinpath(name).read_text(encoding="utf-8")
