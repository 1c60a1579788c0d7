"""Tokens for git over HTTP show nowhere, whatever a server makes of them, while the real Claude Code works.

The one that is taken is kept by our own server and lent to the worker; the others are in a sealed file of the worker's.
`git http-backend` asks for each. What is looked for is proven to be findable: another text stands in the repository's
name and wherever a token might have come to stand, and the same search finds it in each of these places.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from agentvine.client.admin import HTTPFrontDesk
from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.scripted_model import RunningModel, serve
from agentvine.domain.event import EventKind
from agentvine.domain.repository_settings import NewCredential, RepositorySettings
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import Task
from agentvine.domain.work_order import TERMINAL, WorkOrder
from agentvine.kit.process import run, spawn
from agentvine.testing.eventually import eventually
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.git_server import Fault, GitServer
from agentvine.testing.stage import Stage, stage
from agentvine.wire.administration import NewRepository
from tests.security.cases import toml
from tests.security.looking import Search

TOKENS = {
    name: f"cnry/{name}+{digits}"
    for name, digits in {
        "taken": "41c09e7d",
        "wrong": "5b3f6a12",
        "expired": "c7d2810b",
        "told": "90ae44f6",
        "led": "2e8b15d3",
    }.items()
}
"""By what becomes of them. None looks like a token of a known kind, and each has a form of its own in a URL."""
VISIBLE = "cnry-visible-7a11d2"
ENDS = {
    "taken": None,
    "wrong": FailureReason.REPOSITORY_AUTH_FAILED,
    "expired": FailureReason.REPOSITORY_AUTH_FAILED,
    "told": FailureReason.REPOSITORY_AUTH_FAILED,
    "led": FailureReason.REPOSITORY_NOT_FOUND,
}
KINDS = {
    r"^worker\.log$": "log",
    r"^server/artifacts/": "artifact",
    r"^server/": "database",
    r"^work/.*config$": "config file",
    r"^work/mirrors/": "mirror",
    r"^work/": "workspace",
    r"^safe/": "safe",
}
SHOWN_IN = {
    *("command line", "environment", "URL", "log", "artifact", "database", "config file", "mirror", "workspace"),
    *("commit", "bundle", "task", "event", "error message", "transcript", "evidence", "diff", "model", "repository"),
}
"""Where the visible text has to be found. In the safe nothing is to be found."""


@dataclass
class Remotes:
    """A server for each token, with the same repository."""

    by_name: dict[str, GitServer]
    thief: GitServer
    root: Path

    def arrange(self, search: Search) -> None:
        """Each of them is looked over the shoulder; the last three misbehave."""

        async def look(_: str) -> None:
            search.processes()

        async def look_and_expire(target: str) -> None:
            search.processes()
            if "git-receive-pack" in target:
                self.by_name["expired"].fault = Fault.TOLD

        for name, server in self.by_name.items():
            server.before = look_and_expire if name == "expired" else look
        self.by_name["wrong"].password = "another"
        self.by_name["told"].fault = Fault.TOLD
        self.by_name["led"].redirect = f"{self.thief.url(TOKENS['led'])}?{TOKENS['led']}="

    def url(self, name: str) -> str:
        return self.by_name[name].url(f"{VISIBLE}.git")


@asynccontextmanager
async def remotes(tmp_path: Path) -> AsyncIterator[Remotes]:
    """All of them, at work."""
    files = {"docs/index.md": "Welcome.\n", **toml(f"echo {VISIBLE}", setup=f"git config note.seen {VISIBLE}")}
    origin = await GitRepository.create(tmp_path / "origin", files)
    async with AsyncExitStack() as stack:
        servers = {}
        for name, token in TOKENS.items():
            folder = tmp_path / "remotes" / name
            folder.mkdir(parents=True)
            await origin.bare_copy(folder / f"{VISIBLE}.git")
            servers[name] = await stack.enter_async_context(GitServer(folder, password=token))
        thief = await stack.enter_async_context(GitServer(tmp_path / "remotes" / "taken"))
        yield Remotes(servers, thief, tmp_path / "remotes")


def _scenario() -> Scenario:
    work = ToolCall(name="Write", input={"file_path": "{workspace}/docs/note.md", "content": f"{VISIBLE}\n"})
    command = "git add docs && git commit -qm 'docs: a note'; env; cat .git/config"
    commit = ToolCall(name="Bash", input={"command": command, "description": "Commit"})
    turns = (Turn(text="I work.", tool_calls=(work,)), Turn(tool_calls=(commit,)), Turn(text="The note is there."))
    return Scenario(name="note", turns=turns)


async def _entrusted(tmp_path: Path, there: Remotes, desk: HTTPFrontDesk) -> Path:
    """Hand the tokens over as operators do: one to our server, the others into a sealed file, which is returned."""
    settings = RepositorySettings(repository=there.url("taken"))
    kept = NewCredential(token=SecretStr(TOKENS["taken"]))
    await desk.add_repository(NewRepository(settings=settings, credential=kept))
    file = tmp_path / "safe" / "git"
    for name, token in TOKENS.items():
        if name == "taken":
            continue
        argv = [sys.executable, "-m", "agentvine", "credentials", "add", there.url(name), "--file", str(file)]
        done = await run(argv, cwd=tmp_path, env={"PATH": os.defpath}, stdin=token.encode(), timeout=60)
        assert done.exit_code == 0, done.stderr
    return file


async def _all_over(there: Stage, tasks: dict[str, Task]) -> dict[str, FailureReason | None]:
    """How each of them ended."""

    async def end(task: Task) -> WorkOrder | None:
        order = await there.order(task)
        return order if order.status in TERMINAL else None

    over = {name: await eventually(partial(end, task)) for name, task in tasks.items()}
    return {name: order.failure.reason if order and order.failure else None for name, order in over.items()}


async def _events(there: Stage, tasks: dict[str, Task], search: Search) -> None:
    """Every event until the last order's end."""
    endings = {EventKind.ORDER_COMPLETED, EventKind.ORDER_FAILED}
    left = len(tasks)
    async for event in there.desk.events(0):
        search.look("event", str(event.seq), event.model_dump_json())
        left -= event.kind in endings
        if not left:
            return


async def test_tokens_of_git_over_http_show_nowhere(tmp_path: Path) -> None:
    search = Search({**TOKENS, "visible": VISIBLE})
    async with stage(tmp_path) as there, remotes(tmp_path) as servers:
        safe = await _entrusted(tmp_path, servers, there.desk)
        servers.arrange(search)
        async with serve(Script(scenarios=(_scenario(),)), log=lambda _: search.processes()) as model:
            environment = {
                "PATH": os.defpath,
                "HOME": str(tmp_path),
                "WORKER_NAME": "one",
                "WORKER_ID": f"wrk_{VISIBLE}",
                "WORKER_TYPE": "docs",
                "API_URL": there.proxy.url,
                "API_KEY": there.worker_key,
                "ANTHROPIC_BASE_URL": model.url,
                "ANTHROPIC_API_KEY": "nobody-checks-it",
                "GIT_CREDENTIALS": str(safe),
                "WORKSPACE_DIR": str(tmp_path / "work"),
                "CLEANUP_WORKSPACE": "false",
                "MAX_REPAIRS": "0",
            }
            argv, log = [sys.executable, "-m", "agentvine", "worker"], tmp_path / "worker.log"
            tasks = {name: await there.submit(type="docs", repository=servers.url(name)) for name in TOKENS}
            async with await spawn(argv, cwd=tmp_path, env=environment, output=log, guarded=True):
                assert await _all_over(there, tasks) == ENDS
            for name in ("expired", "told"):
                failure = (await there.order(tasks[name])).failure
                assert failure is not None
                assert "git:[redacted]" in failure.detail
            await search.shown(there.desk, tasks.values())
            await _events(there, tasks, search)
            _look_at_the_model(model, search)
    for name, server in servers.by_name.items():
        search.look("URL", name, "\n".join(server.requests))
        assert any(server.authorizations), f"the token that is {name} was never asked for"
    search.files(tmp_path, KINDS)
    await search.commits(tmp_path, servers.root / "taken" / f"{VISIBLE}.git")

    pushed = await git("show", "main:docs/note.md", cwd=servers.root / "taken" / f"{VISIBLE}.git")
    assert pushed == f"{VISIBLE}\n"
    assert servers.thief.requests == []
    assert set(search.found.pop("visible")) >= SHOWN_IN, search.looked
    assert {name: places for name, places in search.found.items() if places} == {}


def _look_at_the_model(model: RunningModel, search: Search) -> None:
    assert model.model.failures == []
    for request in model.model.requests:
        search.look("model", request.path, request.raw)
        search.look("model", request.path, str(request.headers))
