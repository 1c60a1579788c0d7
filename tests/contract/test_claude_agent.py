"""The real Claude Code CLI against a scripted model: what the worker relies on."""

import asyncio
import json
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.demo.script import ErrorReply, ToolCall, Turn
from agentvine.demo.script import Usage as Tokens
from agentvine.domain.retry import FailureReason
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.doorbell import pause
from agentvine.testing.agents import PATIENT
from agentvine.testing.eventually import eventually
from agentvine.testing.launching import DirectLauncher
from agentvine.worker.agent import base
from agentvine.worker.agent.base import Decision, ModelAccess, Verdict
from agentvine.worker.agent.claude import ClaudeCode, bundled_cli
from agentvine.worker.agent.tools import TypeGate
from tests.contract.claude_bench import KEY, Bench, bash, bench_with


async def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    write = ToolCall(name="Write", input={"file_path": "{workspace}/hello.txt", "content": "hello\n"})
    async with bench_with(
        tmp_path, Turn(text="I write.", tool_calls=(write,)), bash("ls"), Turn(text="It is built.")
    ) as b:
        result = await b.run()
        assert result.failure is None
        assert result.final_text == "It is built."
        assert b.workspace("hello.txt").read_text() == "hello\n"
        assert [call.name for call in b.calls] == ["Write", "Bash"]
        assert all(call.id.startswith("toolu_") for call in b.calls)
        assert result.usage.turns == 3
        assert result.usage.cost_usd > 0
        assert result.usage.output_tokens > 0
        assert b.metered[-1] == result.usage
        assert len(b.metered) > 3
        assert {"user", "assistant"} <= {str(entry["type"]) for entry in b.transcript.entries}
        system = json.dumps(b.model.model.requests[0].body["system"])
        assert "Never push." in system
        assert "You are Claude Code" in system


async def test_the_worker_s_environment_is_not_the_agent_s(tmp_path: Path) -> None:
    async with bench_with(tmp_path, bash("env; cat /proc/$PPID/environ | tr '\\0' '\\n'"), Turn(text="end")) as b:
        await b.run(b.assignment(environment={"MARKER": b.marker, "PATH": "/usr/bin:/bin", "HOME": "/nowhere"}))
        seen = json.dumps(b.model.model.requests[-1].body["messages"])
        names = {line.split("=", 1)[0] for line in seen.replace("\\n", "\n").splitlines() if "=" in line}
        own = {
            name
            for name in _parents_names()
            if name not in {"PATH", "HOME", "LANG", "PWD", "SHELL", "SHLVL", "TERM", "_", "OLDPWD"}
        }
        assert own
        assert names & own == set()
        assert "MARKER" in names
        assert "HOME=/nowhere" not in seen
        assert f"HOME={tmp_path}" in seen


def _parents_names() -> set[str]:
    content = Path("/proc/self/environ").read_bytes().decode("utf-8", "replace")
    return {line.split("=", 1)[0] for line in content.split("\0") if "=" in line}


async def test_nothing_of_the_repository_s_settings_is_obeyed(tmp_path: Path) -> None:
    async with bench_with(tmp_path, bash("true"), Turn(text="end")) as b:
        assignment = b.assignment(prompt="Look at @/etc/passwd and /init")
        (assignment.workspace / ".claude").mkdir()
        hook = {"matcher": "", "hooks": [{"type": "command", "command": "touch hooked"}]}
        settings = {"hooks": {"PreToolUse": [hook], "SessionStart": [hook]}, "env": {"FOO": "bar"}}
        (assignment.workspace / ".claude/settings.json").write_text(json.dumps(settings))
        server = {"command": "touch", "args": [str(assignment.workspace / "served")]}
        (assignment.workspace / ".mcp.json").write_text(json.dumps({"mcpServers": {"evil": server}}))
        (assignment.workspace / "CLAUDE.md").write_text("obey-me-marker")
        result = await b.run(assignment)
        assert result.failure is None
        assert not b.workspace("hooked").exists()
        assert not b.workspace("served").exists()
        sent = "".join(json.dumps(request.body) for request in b.model.model.requests)
        assert "obey-me-marker" not in sent
        assert "root:x:0:0" not in sent
        assert "Look at @/etc/passwd and /init" in sent


async def test_the_gate_is_asked_and_its_reason_reaches_claude(tmp_path: Path) -> None:
    push = bash("git push")
    told = Turn(text="I will not.", expect=("You cannot push: commit your work",))
    async with bench_with(tmp_path, push, told) as b:
        assignment = b.assignment()
        judge = TypeGate(assignment.profile, assignment.workspace)

        async def gate(call: base.ToolCall) -> Verdict:
            found = judge.judge(call).objection
            return Verdict(Decision.DENY, found.reason) if found else Verdict(Decision.ALLOW)

        result = await b.run(assignment, gate=gate)
        assert result.failure is None
        assert result.final_text == "I will not."


async def test_a_gate_that_breaks_lets_nothing_through(tmp_path: Path) -> None:
    async def broken(call: base.ToolCall) -> Verdict:
        raise RuntimeError("broken")

    async with bench_with(tmp_path, bash("touch done"), Turn(text="end")) as b:
        await b.run(gate=broken)
        assert not b.workspace("done").exists()


async def test_a_review_has_no_tools_that_write_and_answers_in_structure(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"findings": {"type": "array", "items": {"type": "string"}}},
        "required": ["findings"],
    }
    answer = ToolCall(name="StructuredOutput", input={"findings": ["one"]})
    async with bench_with(tmp_path, Turn(text="Here.", tool_calls=(answer,))) as b:
        result = await b.run(b.assignment(profile=PROFILES[TaskType.REVIEW], output_schema=schema))
        assert result.failure is None
        assert result.structured == {"findings": ["one"]}
        tools = b.model.model.requests[0].body["tools"]
        assert isinstance(tools, list)
        names = {tool["name"] for tool in tools if isinstance(tool, dict)}
        assert {"Bash", "Read", "StructuredOutput"} <= names
        assert not {"Write", "Edit", "NotebookEdit", "WebFetch", "WebSearch", "Skill", "Workflow"} & names


async def test_a_conversation_goes_on_elsewhere_and_only_its_own_part_is_charged(tmp_path: Path) -> None:
    first = Turn(text="First part.")
    second = Turn(when="now mend it", text="Mended.", expect=("now mend it",))
    async with bench_with(tmp_path, first, second) as b:
        before = await b.run(b.assignment(session_id=(session := str(uuid.uuid4()))))
        elsewhere = Bench(tmp_path / "elsewhere", b.model, transcript=b.transcript)
        elsewhere.root.mkdir()
        resumed = elsewhere.assignment(session_id=session, resumes=True, prompt="now mend it")
        after = await elsewhere.run(resumed)
        assert after.failure is None
        assert after.final_text == "Mended."
        history = json.dumps(b.model.model.requests[-1].body["messages"])
        assert "First part." in history
        assert "Please build it." in history
        assert after.usage.turns == 1
        assert 0 < after.usage.cost_usd < before.usage.cost_usd  # the demo's cache makes a resumption cheaper
        again = await elsewhere.run(replace(resumed, prompt="and again"))
        assert again.failure is None
        assert "Mended." in json.dumps(b.model.model.requests[-1].body["messages"])


async def test_a_conversation_that_is_not_there_cannot_go_on(tmp_path: Path) -> None:
    async with bench_with(tmp_path, Turn(text="x")) as b:
        result = await b.run(b.assignment(resumes=True))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.AGENT_ERROR


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, FailureReason.MODEL_RATE_LIMITED),
        (529, FailureReason.MODEL_OVERLOADED),
        pytest.param(500, FailureReason.MODEL_OVERLOADED, marks=pytest.mark.every_case("529")),
        (401, FailureReason.MODEL_AUTH_FAILED),
        pytest.param(403, FailureReason.MODEL_AUTH_FAILED, marks=pytest.mark.every_case("401")),
        (404, FailureReason.AGENT_ERROR),
    ],
)
async def test_what_the_model_s_side_answers_becomes_a_reason(
    tmp_path: Path, status: int, reason: FailureReason
) -> None:
    refusal = ErrorReply(status=status, times=50)
    async with bench_with(tmp_path, Turn(error=refusal)) as b:
        result = await b.run()
        assert result.failure is not None
        assert result.failure.reason is reason
        assert result.failure.detail
        assert KEY not in result.failure.detail


async def test_a_wait_that_is_too_long_is_left_to_the_queue(tmp_path: Path) -> None:
    async with bench_with(tmp_path, Turn(error=ErrorReply(status=429, times=50, retry_after=900))) as b:
        result = await b.run(agent=ClaudeCode(DirectLauncher(bundled_cli()), max_retries=5))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.MODEL_RATE_LIMITED


async def test_a_refused_key_is_not_tried_again_and_again(tmp_path: Path) -> None:
    async with bench_with(tmp_path, Turn(error=ErrorReply(status=401, times=50))) as b:
        result = await b.run(agent=ClaudeCode(DirectLauncher(bundled_cli()), max_retries=10))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.MODEL_AUTH_FAILED
        assert len(b.model.model.requests) <= 3


async def test_nobody_at_the_model_s_address(tmp_path: Path) -> None:
    async with bench_with(tmp_path, Turn(text="x")) as b:
        result = await b.run(b.assignment(model=ModelAccess("http://127.0.0.1:9", KEY)))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.MODEL_OVERLOADED


async def test_turns_are_limited(tmp_path: Path) -> None:
    async with bench_with(tmp_path, bash("true"), repeat_last=True) as b:
        result = await b.run(b.assignment(max_turns=2))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.MAX_TURNS
        assert result.usage.cost_usd > 0


async def test_dollars_are_limited(tmp_path: Path) -> None:
    dear = Turn(tool_calls=(ToolCall(name="Bash", input={"command": "true"}),), usage=Tokens(output_tokens=50_000))
    async with bench_with(tmp_path, dear, repeat_last=True) as b:
        result = await b.run(b.assignment(budget_usd=1.0, max_turns=50))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.BUDGET_EXCEEDED
        assert 1.0 <= result.usage.cost_usd < 4.0


# ── silences ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_model_that_never_answers(tmp_path: Path) -> None:
    async with bench_with(tmp_path, Turn(text="late", hang_seconds=60, fault_times=50)) as b:
        result = await b.run(b.assignment(watchdog=replace(PATIENT, first_message=2)))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.AGENT_NO_FIRST_MESSAGE


async def test_a_stream_that_stops_in_the_middle(tmp_path: Path) -> None:
    stuck = Turn(text="a long answer " * 20, hang_seconds=60, hang_after_events=4, fault_times=50)
    async with bench_with(tmp_path, stuck) as b:
        result = await b.run(b.assignment(watchdog=replace(PATIENT, idle=8)))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.AGENT_IDLE
        assert result.usage.input_tokens > 0


async def test_a_run_without_end(tmp_path: Path) -> None:
    async with bench_with(tmp_path, bash("tail -f /dev/null"), Turn(text="end")) as b:
        result = await b.run(b.assignment(watchdog=replace(PATIENT, total=3)))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.TIMEOUT


async def test_waiting_for_our_own_gate_is_no_silence_of_the_agent(tmp_path: Path) -> None:
    async def slow(call: base.ToolCall) -> Verdict:
        await pause(10)
        return Verdict(Decision.ALLOW)

    async with bench_with(tmp_path, bash("true"), Turn(text="end")) as b:
        result = await b.run(b.assignment(watchdog=replace(PATIENT, idle=8)), gate=slow)
        assert result.failure is None


FAKE = """#!{python}
import json, os, sys, time
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "control_request":
        said = {{"hook_on_failure_supported": True}}
        answer = {{"subtype": "success", "request_id": message["request_id"], "response": said}}
        print(json.dumps({{"type": "control_response", "response": answer}}), flush=True)
    elif message["type"] == "user":
        {then}
"""
RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_ms": 1,
    "duration_api_ms": 1,
    "num_turns": 1,
    "session_id": "x",
    "total_cost_usd": 0.5,
    "result": "done",
}


def fake(tmp_path: Path, then: str) -> ClaudeCode:
    """Claude Code's place taken by a program that misbehaves: `then` is what it does when it is told its task."""
    program = tmp_path / "fake"
    program.write_text(FAKE.format(python=sys.executable, then=then))
    program.chmod(0o755)
    return ClaudeCode(DirectLauncher(program))


@pytest.mark.parametrize(
    ("then", "reason", "said"),
    [
        ("sys.exit(0)", FailureReason.AGENT_NO_RESULT, ""),
        ("print('boom', file=sys.stderr); sys.exit(7)", FailureReason.AGENT_CRASHED, "exit code 7"),
        ("print('boom', file=sys.stderr); sys.exit(7)", FailureReason.AGENT_CRASHED, "boom"),
        ("os.kill(os.getpid(), 11)", FailureReason.AGENT_CRASHED, "signal 11"),
        ("print('{broken', flush=True)", FailureReason.AGENT_CRASHED, "nobody can read"),
        ("print('noise'); sys.exit(0)", FailureReason.AGENT_NO_RESULT, ""),
        (
            "print(json.dumps(" + repr(RESULT) + "), flush=True); time.sleep(60)",
            FailureReason.AGENT_NO_EXIT,
            "did not exit",
        ),
        ("time.sleep(60)", FailureReason.AGENT_NO_FIRST_MESSAGE, "said nothing"),
        (
            "import signal; signal.signal(15, signal.SIG_IGN); os.fork() or os.setsid(); time.sleep(60)",
            FailureReason.AGENT_NO_FIRST_MESSAGE,
            "",
        ),
    ],
)
async def test_a_program_that_misbehaves(tmp_path: Path, then: str, reason: FailureReason, said: str) -> None:
    async with bench_with(tmp_path, Turn(text="x")) as b:
        silent = reason is FailureReason.AGENT_NO_FIRST_MESSAGE
        watchdog = replace(PATIENT, first_message=1.5 if silent else 240, after_result=0.5)
        result = await b.run(b.assignment(watchdog=watchdog), agent=fake(tmp_path, then))
        assert result.failure is not None
        assert result.failure.reason is reason
        assert said in result.failure.detail


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    async with bench_with(tmp_path, Turn(text="x")) as b:
        result = await b.run(agent=ClaudeCode(DirectLauncher(tmp_path / "none")))
        assert result.failure is not None
        assert result.failure.reason is FailureReason.AGENT_CRASHED
        assert "none" in result.failure.detail


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_it_leaves_running_goes_with_it(tmp_path: Path) -> None:
    daemon = bash("setsid nohup sleep 300 >/dev/null 2>&1 & echo started")
    async with bench_with(tmp_path, daemon, Turn(text="end")) as b:
        result = await b.run()
        assert result.failure is None


async def test_cancelled_it_leaves_no_process(tmp_path: Path) -> None:
    busy = bash("setsid nohup sleep 300 >/dev/null 2>&1 & touch here; tail -f /dev/null")
    async with bench_with(tmp_path, busy, Turn(text="end")) as b:
        running = asyncio.create_task(b.run())
        await eventually(lambda: b.workspace("here").exists())
        assert len(b.processes()) >= 3
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert b.processes() == []


@pytest.mark.parametrize("after", [0.0, 0.01, 0.05, 0.2, 0.5])
async def test_cancelled_at_any_moment_it_leaves_no_process(tmp_path: Path, after: float) -> None:
    async with bench_with(tmp_path, Turn(text="x", delay_ms=60_000)) as b:
        running = asyncio.create_task(b.run())
        await pause(after)
        running.cancel()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert b.processes() == []
