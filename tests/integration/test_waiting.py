"""Waiting costs nothing and loses nothing: real workers, a real server and broker, and the real Claude Code."""

import asyncio
import itertools
import json
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import JsonValue

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.cli.context import Context, write_context
from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.scripted_model import RunningModel, serve
from agentvine.domain.precedent import Remember
from agentvine.domain.request import RequestKind, RequestStatus, WorkerRequest
from agentvine.domain.task import Task
from agentvine.domain.work_order import OrderStatus
from agentvine.kit.process import Completed, spawn
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.eventually import eventually
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.stage import Stage, stage
from agentvine.wire import messages as m
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.executor import make_executor
from agentvine.worker.main import EXIT_OK, run_worker
from agentvine.worker.settings import WorkerConfig
from tests.integration.houses import FILES, FIXED, KEY, REPRODUCING, bash, commit, turn, write
from tests.integration.warm_cli import run_cli

LONG = 240.0

# ── many wait ────────────────────────────────────────────────────────────────────────────────────────────────────

ASKER = """
import asyncio, os, sys
from pathlib import Path
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.process import spawn
from agentvine.kit.shutdown import Shutdown, on_signals
from agentvine.testing.stage import DELIVERED
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.agent.base import Decision, ToolCall
from agentvine.worker.agent.tools import TypeGate
from agentvine.worker.asking import Asking
from agentvine.worker.conclusion import Parked
from agentvine.worker.main import run_worker
from agentvine.worker.settings import WorkerConfig

class Asker:
    '''In the place of Claude and its box: a process, and a question if the task asks for one.'''
    def __init__(self, around):
        self.around = around
    async def execute(self, claimed, progress):
        hold = self.around.config.request_hold
        gate = TypeGate(PROFILES[TaskType.FEATURE], Path.cwd())
        asking = Asking(gate, self.around.queue, claimed, hold=hold, expiry=3600.0)
        async with await spawn(["sleep", "600"], cwd=None, env={"PATH": "/usr/bin:/bin"}):
            if "asks" in claimed.task.asked.title:
                verdict = await asking(ToolCall("toolu_1", ASK_TOOL, {"question": f"{claimed.task.asked.title}?"}))
                if verdict.decision is Decision.PARK:
                    return Parked(asking.parked)
                assert "go on" in verdict.answer, verdict
        return DELIVERED

async def make(around):
    return Asker(around)

async def main():
    shutdown = Shutdown()
    with on_signals(shutdown):
        return await run_worker(WorkerConfig.load(dict(os.environ)), make, shutdown)

sys.exit(asyncio.run(main()))
"""


async def test_one_that_does_not_ask_passes_twenty_that_wait_and_those_hold_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, repository_concurrency=100) as here:
        asking = [await here.submit(type="feature", title=f"number {number} asks") for number in range(20)]
        quiet = await here.submit(type="feature", title="the one that does not")
        settings = {
            "WORKER_NAME": "one",
            "WORKER_TYPE": "feature",
            "API_URL": here.proxy.url,
            "API_KEY": here.worker_key,
            "WORKSPACE_DIR": str(tmp_path / "work"),
            "REQUEST_HOLD": "0",
        }
        argv = [sys.executable, "-c", ASKER]
        async with await spawn(argv, cwd=None, env=settings, output=tmp_path / "worker.log") as worker:
            await here.until(quiet, OrderStatus.COMPLETED, LONG)
            orders = [await here.until(task, OrderStatus.WAITING, LONG) for task in asking]
            assert {order.lease for order in orders} == {None}
            assert _leases(tmp_path) == 0
            await eventually(lambda: psutil.Process(worker.pid).children(recursive=True) == [])
            for request in (await here.desk.requests(limit=50)).items:
                await here.desk.respond(request.id, m.Reply(verdict="answer", message="go on"))
            for task in asking:
                done = await here.until(task, OrderStatus.COMPLETED, LONG)
                assert (done.attempts, done.charged) == (2, 1), "an attempt that ends in waiting does not count"


def _leases(where: Path) -> int:
    with closing(sqlite3.connect(where / "server" / "agentvine.db")) as database:
        query = "SELECT COUNT(*) FROM work_orders WHERE lease_worker IS NOT NULL OR lease_expires IS NOT NULL"
        return int(database.execute(query).fetchone()[0])


# ── with Claude ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Shop:
    """A server with a broker that can be started anew, a model, a repository; workers come and go."""

    where: Path
    stage: Stage
    broker: EmbeddedBroker
    model: RunningModel
    remote: Path

    @asynccontextmanager
    async def worker(self, name: str, **settings: object) -> AsyncIterator[None]:
        """A worker with a directory of its own, which leaves as it should."""
        shutdown = Shutdown()
        values = {
            "worker_name": name,
            "worker_id": f"wrk_{name}",
            "worker_type": "bugfix",
            "api_url": self.stage.proxy.url,
            "api_key": self.stage.worker_key,
            "redis_url": self.broker.url,
            "workspace_dir": self.where / name,
            "anthropic_base_url": self.model.url,
            "anthropic_api_key": KEY,
            "max_repairs": 0,
            **settings,
        }
        life = asyncio.create_task(run_worker(WorkerConfig.model_validate(values), make_executor, shutdown))
        try:
            yield
        finally:
            shutdown.stop()
            await asyncio.wait({life}, timeout=240)
        assert life.result() == EXIT_OK

    async def submit(self, title: str) -> Task:
        return await self.stage.submit(type="bugfix", title=title, repository=str(self.remote))

    async def asked(self) -> WorkerRequest:
        """The one open request, as soon as there is one."""

        async def look() -> tuple[WorkerRequest, ...]:
            return (await self.stage.desk.requests()).items

        (request,) = await eventually(look, LONG)
        return request

    async def cli(self, *arguments: str) -> Completed:
        """The CLI, of the person at the desk."""
        context = self.where / "context.json"
        secret = (self.where / "server" / "first-key").read_text().strip()
        write_context(Context(self.stage.proxy.url, secret, self.where), context)
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.where), "AGENTVINE_CONTEXT": str(context)}
        done = await run_cli(arguments, cwd=self.where, env=env, stdin=None, timeout=240)
        assert done.exit_code == 0, done.stderr
        return done

    def conversation(self) -> list[list[dict[str, JsonValue]]]:
        """The messages of each request to the model for a turn, in the order in which they came."""
        bodies = [request.body for request in self.model.model.requests if request.scenario is not None]
        return [_messages(body["messages"]) for body in bodies]


@asynccontextmanager
async def shop(where: Path, scenario: Scenario, policy: str = "", **files: str) -> AsyncIterator[Shop]:
    """Start it, and leave nothing of it."""
    (where / "policy.toml").write_text(policy)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(EmbeddedBroker(where / "broker"))
        settings = {"redis_url": broker.url, "policy": where / "policy.toml"}
        there = await stack.enter_async_context(stage(where, **settings))
        model = await stack.enter_async_context(serve(Script(scenarios=(scenario,))))
        repository = await GitRepository.create(where / "origin", {**FILES, **files})
        remote = await repository.bare_copy(where / "remote.git")
        yield Shop(where, there, broker, model, remote)
        assert model.model.failures == []


def _messages(told: JsonValue) -> list[dict[str, JsonValue]]:
    """What user and model said, without the marks up to where a request may be cached, which move on with each."""
    assert isinstance(told, list)
    plain = [json.loads(re.sub(r', "cache_control": \{[^{}]*\}', "", json.dumps(message))) for message in told]
    return [message for message in plain if message["role"] != "system"]


def _beside_results(message: dict[str, JsonValue]) -> list[object]:
    """What a message holds that is no result of a tool."""
    content = message["content"]
    assert isinstance(content, list)
    return [block for block in content if isinstance(block, dict) and block["type"] != "tool_result"]


async def test_a_parked_call_goes_on_elsewhere_after_everything_was_started_anew(tmp_path: Path) -> None:
    """The call is made once, all files are there, and the model sees one conversation."""
    ran = "mkdir -p db/migrations && echo ran >> db/migrations/log"
    scenario = Scenario(
        name="parks",
        match=("Adding is wrong",),
        turns=(
            turn(write("calc.py", FIXED), commit("fix: add")),
            turn(write("tests/test_calc.py", REPRODUCING), bash("echo once >> notes.md")),
            turn(bash(ran)),
            turn(
                bash("git status --short; cat db/migrations/log notes.md | paste -sd- | sed s/^/it/"),
                commit("test: add"),
            ),
            Turn(text="Done.", expect=("tests/test_calc.py", "notes.md", "itran-once")),
        ),
    )
    async with shop(tmp_path, scenario, **{".gitignore": "db/\n__pycache__/\n"}) as there:
        async with there.worker("first", request_hold=0.0):
            task = await there.submit("Adding is wrong")
            await there.stage.until(task, OrderStatus.WAITING, LONG)
        before = there.conversation()
        await there.stage.stop_server()
        async with there.broker:  # ends the one that runs, and starts it again
            await there.stage.start_server()
            request = await there.asked()
            assert request.kind is RequestKind.APPROVAL and request.call is not None
            assert request.call.input["command"] == ran
            await there.stage.desk.respond(request.id, m.Reply(verdict="approved"))
            async with there.worker("second", request_hold=0.0):
                await there.stage.until(task, OrderStatus.COMPLETED, LONG)
        detail = await there.stage.desk.task(task.id)
        assert [one.worker_id for one in detail.executions] == ["wrk_first", "wrk_second"]
        assert len({one.session_id for one in detail.executions}) == 1
        assert (detail.order.attempts, detail.order.charged) == (2, 1)
        assert (await git("show", "main:notes.md", cwd=there.remote)).strip() == "once"
        _is_one_conversation(before, there.conversation())


def _is_one_conversation(before: list[list[dict[str, JsonValue]]], whole: list[list[dict[str, JsonValue]]]) -> None:
    """Each request repeats the one before and adds one answer and its results; so does the first one elsewhere, where
    Claude Code itself puts a line beside the result."""
    assert (len(before), len(whole)) == (3, 5), "one request for each turn, and none for the park"
    for number, (earlier, later) in enumerate(itertools.pairwise(whole), 1):
        assert later[: len(earlier)] == earlier
        answer, results = later[len(earlier) :]
        assert answer["role"] == "assistant" and results["role"] == "user"
        own = [{"type": "text", "text": "Continue from where you left off."}] if number == len(before) else []
        assert _beside_results(results) in ([], own), "nothing else was said"


async def test_a_rule_a_person_and_a_precedent_answer_and_the_log_says_which(tmp_path: Path) -> None:
    def ask(question: str) -> ToolCall:
        return ToolCall(name=ASK_TOOL, input={"question": question})

    policy = """
[[rule]]
name = "rounding"
reason = "docs/money.md"
decide = "answer"
text = "Half to even."
match = { words = ["round*"] }
"""
    scenario = Scenario(
        name="asks",
        match=("Adding is wrong",),
        turns=(
            turn(write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING), commit("fix: add")),
            turn(ask("Shall I round?")),
            Turn(tool_calls=(ask("Keep the old name?"),), expect=("policy answers: Half to even.",)),
            Turn(tool_calls=(ask("KEEP the old name"),), expect=("The controller answers: yes, as an alias",)),
            Turn(text="Done.", expect=("re:answer from before, answers: yes, as an alias",)),
        ),
    )
    async with shop(tmp_path, scenario, policy) as there, there.worker("one"):
        task = await there.submit("Adding is wrong")
        request = await there.asked()
        assert (request.message, request.status) == ("Keep the old name?", RequestStatus.OPEN)
        reply = m.Reply(verdict="answer", message="yes, as an alias", remember=Remember())
        await there.stage.desk.respond(request.id, reply)
        await there.stage.until(task, OrderStatus.COMPLETED, LONG)
        me = (await there.stage.desk.who_am_i()).key.id
        found = {one.message: one.response for one in (await there.stage.desk.task(task.id)).requests}
        by = {message: response and response.made_by for message, response in found.items()}
        assert by["Shall I round?"] == "policy:rounding"
        assert by["Keep the old name?"] == f"key:{me}"
        assert re.fullmatch(r"precedent:pre_\w+", by["KEEP the old name"] or "")
        events = (await there.cli("events", "--task", task.id)).stdout
        shown = (await there.cli("show", task.id)).stdout
        for said in (events, shown):
            assert "policy:rounding" in said and "precedent:pre_" in said and f"key:{me}" in said, said
