"""A whole AgentVine for a test: `agentvine up` as a process, the real CLI, and a model that plays a script."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from agentvine.cli.context import read_context
from agentvine.cli.settings import environment
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.demo.repositories import BRANCH, Git, make_remote
from agentvine.demo.script import Script
from agentvine.demo.scripted_model import ScriptedModel, serve
from agentvine.domain.task import NewTask, Task
from agentvine.domain.work_order import TERMINAL
from agentvine.kit.process import Completed, Running, run, spawn
from agentvine.testing.eventually import eventually
from agentvine.wire.messages import TaskDetail

T = TypeVar("T")
SURROUNDINGS = environment()
QUICK = '[test]\ncommand = "python3 -c pass"\n'
"""Its tests are run in earnest by the demo; here each run would only take time from what is tried."""
LONGEST = 180.0
"""Seconds that anything here may take to come true."""


async def until(look: Callable[[], Awaitable[T | None]], what: str, seconds: float = LONGEST) -> T:
    """The first true answer of `look`; fails, naming `what`, if there is none in time."""
    try:
        found = await eventually(look, seconds)
    except TimeoutError as error:
        raise AssertionError(f"after {seconds:g} s still not: {what}") from error
    assert found is not None
    return found


def processes(**environment: str) -> dict[int, str]:
    """Processes, zombies apart, in whose environment all of these stand: pid to command line."""
    wanted = [f"{name}={value}".encode() for name, value in environment.items()]
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
                if all(one in variables for one in wanted):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return found


def _first(near: Mapping[int, str], command: str) -> int:
    """The one among these processes that is `agentvine command`; what it forks looks like it for a moment."""
    pids = {pid for pid, line in near.items() if f"agentvine {command}" in line}
    forked = set()
    for pid in pids:
        with suppress(psutil.Error):
            forked |= {child.pid for child in psutil.Process(pid).children()}
    (first,) = pids - forked
    return first


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs, and how to speak to it."""

    where: Path
    remote: str
    desk: HTTPFrontDesk
    model: ScriptedModel
    process: Running
    environment: Mapping[str, str]
    url: str
    key: str

    async def submit(self, type: str, title: str, **more: object) -> Task:
        body = {"type": type, "title": title, "repository": self.remote, "branch": BRANCH, **more}
        return await self.desk.submit(NewTask.model_validate(body))

    async def over(self, task: Task, seconds: float = LONGEST) -> TaskDetail:
        """Wait until the task has ended, however it did."""

        async def ended() -> TaskDetail | None:
            detail = await self.desk.task(task.id)
            return detail if detail.order.status in TERMINAL else None

        return await until(ended, f"the end of {task.asked.title!r}", seconds)

    async def asked(self, scenario: str, times: int = 1) -> None:
        """Wait until the model was asked that often in a scenario: then Claude is at work."""

        async def heard() -> bool:
            return sum(request.scenario == scenario for request in self.model.requests) >= times

        await until(heard, f"request {times} to the model in {scenario!r}")

    def worker(self, worker_id: str) -> int:
        """The pid of a worker."""
        return _first(processes(WORKER_ID=worker_id, WORKSPACE_DIR=str(self.where / "data" / "work")), "worker")

    def server(self) -> int:
        """The pid of the server."""
        return _first(processes(AGENTVINE_SERVER_DATA_DIR=str(self.where / "data")), "server")

    def agents(self) -> dict[int, str]:
        """Processes of Claude Code, and what it started, that belong to this fleet."""
        near = processes(ANTHROPIC_BASE_URL=self.environment["ANTHROPIC_BASE_URL"])
        return {pid: line for pid, line in near.items() if "-m agentvine " not in line}

    async def git(self, *arguments: str) -> str:
        """Ask the remote's repository."""
        return await Git(self.environment["PATH"], self.where / "home")(*arguments, cwd=self.where / "purse.git")

    async def cli(self, *arguments: str, timeout: float = LONGEST) -> Completed:
        """Run `agentvine arguments…` as a person on this machine would."""
        argv = [sys.executable, "-m", "agentvine", *arguments]
        return await run(argv, cwd=self.where, env=self.environment, timeout=timeout)


@asynccontextmanager
async def running_fleet(
    where: Path, script: Script, workers: str, more: Mapping[str, str] | None = None
) -> AsyncIterator[Fleet]:
    """Start it, and leave nothing of it."""
    (where / "home").mkdir()
    remote = await _quick_remote(where)
    async with serve(script) as model:
        variables = {
            "PATH": SURROUNDINGS["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(where / "home"),
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "sk-ant-nobody-checks-it",
            "AGENTVINE_CONTEXT": str(where / "context.json"),
            **(more or {}),
        }
        argv = [
            sys.executable,
            "-m",
            "agentvine",
            "up",
            "--data",
            str(where / "data"),
            "--port",
            "0",
            "--workers",
            workers,
        ]
        process = await spawn(argv, cwd=where, env=variables, output=where / "up.log", grace=60, guarded=True)
        try:
            context = await until(lambda: _context(where, process), "agentvine up is ready")
            async with APIClient(context.url, context.key, patience=30) as api:
                desk = HTTPFrontDesk(api)
                yield Fleet(where, remote, desk, model.model, process, variables, context.url, context.key)
        finally:
            await process.terminate(60)


async def _quick_remote(where: Path) -> str:
    """The demo's repository, with tests that end at once. Returns its URL."""
    git, tree = Git(SURROUNDINGS["PATH"], where / "home"), where / "purse"
    remote = await make_remote(where, git)
    (tree / ".agentvine.toml").write_text(QUICK)
    await git("add", "--all", cwd=tree)
    who = ("-c", "user.name=Mira", "-c", "user.email=mira@example.org")
    await git(*who, "commit", "--quiet", "--no-gpg-sign", "-m", "test: at once", cwd=tree)
    await git("push", "--quiet", remote, BRANCH, cwd=tree)
    return remote


async def _context(where: Path, process: Running):  # type: ignore[no-untyped-def]  # the CLI's Context
    assert process.exit_code is None, (where / "up.log").read_text()
    return read_context(where / "context.json")
