"""What a process of the foundry can become: the product's server, or its worker, with the real agent or a stand-in."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import uvloop

from agentvine.domain.execution import Usage
from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit import failpoints
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import configure_logs
from agentvine.kit.process import spawn
from agentvine.kit.shutdown import Shutdown, on_signals
from agentvine.server.main import serve
from agentvine.server.settings import ServerSettings
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.agent.base import AgentResult, Assignment, Decision, Meter, News, ToolCall, ToolGate, Transcript
from agentvine.worker.executor import TaskExecutor, make_executor
from agentvine.worker.main import ExecutorFactory, Surroundings, run_worker
from agentvine.worker.sandbox.base import Box
from agentvine.worker.settings import WorkerConfig

PLAN = "PLAN "
"""A line of a task's description that begins so says, in JSON, what the stand-in does."""


class StandIn:
    """Implements `Agent` without a model: it does what its task's plan says, in milliseconds.

    `page`: the file that it writes; `seconds`: how long it takes; `asks`: a question, first; `fails`: it gives up;
    `child`: a process that it starts and leaves running.
    """

    async def run(
        self,
        assignment: Assignment,
        gate: ToolGate,
        transcript: Transcript,
        meter: Meter,
        news: News | None = None,
    ) -> AgentResult:
        plan = await _plan(assignment.prompt, transcript)
        await transcript.append([{"type": "chaos", "uuid": assignment.execution_id, "plan": plan}])
        usage = Usage(turns=1, input_tokens=10, output_tokens=5, cost_usd=0.001)
        meter(usage)
        if plan.get("asks"):
            call = ToolCall("toolu_1", ASK_TOOL, {"question": plan["asks"]})
            verdict = await gate(call)
            if verdict.decision is Decision.PARK:
                return AgentResult(usage, parked=call)
        if plan.get("child"):
            argv = ["sleep", str(plan["child"])]
            async with await spawn(argv, cwd=assignment.workspace, env={"PATH": "/usr/bin:/bin"}, guarded=True):
                await pause(plan.get("seconds", 0.0))
        else:
            await pause(plan.get("seconds", 0.0))
        if plan.get("fails"):
            return AgentResult(usage, failure=Failure(reason=FailureReason.MAX_TURNS, detail="it was told to"))
        page = assignment.workspace / plan["page"]
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"# {plan['page']}\n", encoding="utf-8")
        return AgentResult(usage, final_text=f"{plan['page']} is there.")


async def _plan(prompt: str | None, transcript: Transcript) -> dict[str, Any]:
    for line in (prompt or "").splitlines():
        if PLAN in line:
            plan: dict[str, Any] = json.loads(line.partition(PLAN)[2])
            return plan
    for entry in reversed(await transcript.load()):
        if isinstance(told := entry.get("plan"), dict):
            return told
    raise AssertionError("the task has no plan")


def _stand_in(_: Box) -> StandIn:
    return StandIn()


async def _make_with_stand_in(around: Surroundings) -> TaskExecutor:
    executor = await make_executor(around)
    return TaskExecutor(replace(executor._shop, agent_in=_stand_in))


async def _server(settings: Mapping[str, str], shutdown: Shutdown) -> int:
    await serve(ServerSettings.load(settings), shutdown)
    return 0


def _worker(make: ExecutorFactory) -> Callable[[Mapping[str, str], Shutdown], Awaitable[int]]:
    async def run(settings: Mapping[str, str], shutdown: Shutdown) -> int:
        return await run_worker(WorkerConfig.load(settings), make, shutdown)

    return run


ROLES = {"server": _server, "worker": _worker(_make_with_stand_in), "claude": _worker(make_executor)}


def play(role: str, settings: Mapping[str, str]) -> int:
    """Be it, until told to end; returns the exit code."""
    configure_logs(json=True)
    failpoints.arm(settings.get(failpoints.VARIABLE, ""))

    async def run() -> int:
        shutdown = Shutdown()
        with on_signals(shutdown):
            return await ROLES[role](settings, shutdown)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if role == "server" else None) as runner:
        return runner.run(run())
