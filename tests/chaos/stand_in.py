"""The agent of a fleet that is broken: it does in milliseconds what its task says, or misbehaves as a program can."""

import json
import sys
from dataclasses import replace
from typing import Any

from agentvine.domain.execution import Usage
from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit.doorbell import pause
from agentvine.kit.process import spawn
from agentvine.testing.launching import DirectLauncher
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.agent.base import (
    AgentResult,
    Assignment,
    Decision,
    Meter,
    News,
    ToolCall,
    ToolGate,
    Transcript,
    Watchdog,
)
from agentvine.worker.agent.claude import ClaudeCode

_RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_ms": 1,
    "duration_api_ms": 1,
    "num_turns": 1,
    "session_id": "x",
    "result": "done",
}
MISBEHAVIOURS = {
    "exits 0 without a result": "sys.exit(0)",
    "exits 1": "sys.exit(1)",
    "is killed for memory": "os.kill(os.getpid(), signal.SIGKILL)",
    "prints garbage": "print('{broken', flush=True)",
    "hangs after the result": f"print(json.dumps({_RESULT!r}), flush=True); time.sleep(600)",
    "says nothing and ignores SIGTERM": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork() or os.setsid(); time.sleep(600)"
    ),
}
"""What a program does when it is told its task."""
_PROGRAM = """#!{python}
import json, os, signal, sys, time
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "control_request":
        said = {{"hook_on_failure_supported": True}}
        answer = {{"subtype": "success", "request_id": message["request_id"], "response": said}}
        print(json.dumps({{"type": "control_response", "response": answer}}), flush=True)
    elif message["type"] == "user":
        {then}
"""
PLAN = "PLAN "
"""A line of a task's description that begins so says, in JSON, what the stand-in does."""


class StandIn:
    """Implements `Agent` without a model: it does what its task's plan says, in milliseconds.

    `page`: the file that it writes; `seconds`: how long it takes; `asks`: a question, first; `fails`: it gives up;
    `child`: a process that it starts and leaves running; `misbehaves`: what it does instead of all that, as a
    program, one of `MISBEHAVIOURS`, in about every second of its executions; in each with a `patience`, which is how
    long it may be silent.
    """

    async def run(
        self,
        assignment: Assignment,
        gate: ToolGate,
        transcript: Transcript,
        meter: Meter,
        news: News | None = None,
    ) -> AgentResult:
        plan, before = await _plan(assignment.prompt, transcript)
        await transcript.append([{"type": "chaos", "uuid": assignment.execution_id, "plan": plan}])
        if plan.get("misbehaves") and not before and not _behaves(plan, assignment):
            patience = plan.get("patience", 3.0)
            return await _misbehave(plan["misbehaves"], patience, assignment, gate, transcript, meter)
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


async def _plan(prompt: str | None, transcript: Transcript) -> tuple[dict[str, Any], bool]:
    """What to do, and whether it was begun before."""
    told: list[dict[str, Any]] = [
        before for entry in await transcript.load() if isinstance(before := entry.get("plan"), dict)
    ]
    for line in (prompt or "").splitlines():
        if PLAN in line:
            plan: dict[str, Any] = json.loads(line.partition(PLAN)[2])
            return plan, bool(told)
    assert told, "the task has no plan"
    return told[-1], True


def _behaves(plan: dict[str, Any], assignment: Assignment) -> bool:
    """A conversation that led to nothing is not always there for the next execution: the execution's id decides."""
    return "patience" not in plan and assignment.execution_id[-1] in "02468acegikmoqsuwy"


async def _misbehave(
    how: str, patience: float, assignment: Assignment, gate: ToolGate, transcript: Transcript, meter: Meter
) -> AgentResult:
    """In the place of Claude Code a program that does so; what sees to it is what sees to Claude Code."""
    program = assignment.private / "misbehaving"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_PROGRAM.format(python=sys.executable, then=MISBEHAVIOURS[how]))
    program.chmod(0o755)
    hasty = replace(
        assignment, watchdog=Watchdog(first_message=patience, idle=patience, after_result=0.5, total=20 * patience)
    )
    fresh = replace(hasty, resumes=False, prompt=assignment.prompt or "Go on.")
    return await ClaudeCode(DirectLauncher(program)).run(fresh, gate, transcript, meter)
