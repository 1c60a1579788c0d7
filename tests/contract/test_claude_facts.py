"""What AgentVine relies on in Claude Code and its SDK, shown by running them against the scripted model.

A failure here after an upgrade of claude-agent-sdk means that `worker/agent/` must be looked at before it is trusted.
"""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ProcessError,
    ResultError,
    StreamEvent,
    SystemMessage,
    UserMessage,
)

from agentvine.demo.messages_api import FILLER
from agentvine.demo.script import ErrorReply, ToolCall, Turn
from agentvine.kit.doorbell import pause
from tests.contract.machine import (
    ALLOW,
    ASK,
    DEFER,
    DENY,
    DONE,
    LONGEST,
    TOOLS,
    WRITE,
    Decision,
    Gate,
    Machine,
    Store,
    ask_controller,
    bash,
    machine,
)


async def test_a_task_runs_and_tells_its_story_cost_and_usage(tmp_path: Path) -> None:
    asked: list[str] = []
    gate = Gate()
    turns = (
        Turn(text="I write.", tool_calls=(WRITE,)),
        Turn(tool_calls=(bash("cat a.txt; env"),), expect=("created successfully",)),
        Turn(tool_calls=(ASK,), expect=("written",)),
        Turn(text="All done.", expect=("The controller says: blue.",)),
    )
    async with machine(tmp_path / "m", *turns) as here:
        seen = await here.run("/compact @/etc/hostname", gate, mcp_servers=ask_controller(asked))
        assert not here.model.failures
        first = here.model.requests[0].body

        # the prompt reaches the model as it was written, and the tools are those asked for, the SDK's server among them
        messages = cast("list[Any]", first["messages"])
        assert messages[0]["content"][-1]["text"] == "/compact @/etc/hostname"
        offered = {one["name"] for one in cast("list[Any]", first["tools"])}
        assert {*TOOLS, "mcp__agentvine__ask_controller"} <= offered
        assert offered.isdisjoint({"ToolSearch", "WebFetch", "Agent", "AskUserQuestion"})

        # the SDK hands its own environment on; the wrapper stops it
        assert "PYTEST_CURRENT_TEST" in here.names.read_text().split()
        assert "PYTEST_CURRENT_TEST" not in here.heard()
        assert "HOME=" in here.heard()

    assert seen.error is None
    assert here.files() == {"a.txt"}
    assert asked == ["Which colour?"]
    assert [call[0] for call in gate.calls] == ["hook"] * 3
    assert [(call[1], call[2]) for call in gate.calls] == [(use.name, use.id) for use in seen.tool_uses()]

    init = seen.messages[0]
    assert isinstance(init, SystemMessage)
    assert init.subtype == "init"
    assert {"session_id", "tools", "mcp_servers", "claude_code_version"} <= init.data.keys()
    assert len(seen.system("status")) == 4, "one before each request to the model"
    events = [message.event for message in seen.messages if isinstance(message, StreamEvent)]
    assert events[0]["type"] == "message_start"
    told = sum(event["usage"]["output_tokens"] for event in events if event["type"] == "message_delta")
    result = seen.result
    assert (result.subtype, result.is_error, result.terminal_reason) == ("success", False, "completed")
    assert (result.num_turns, result.result) == (4, "All done.")
    assert result.total_cost_usd is not None
    assert 0.001 < result.total_cost_usd < 1
    assert result.usage is not None
    assert result.usage["output_tokens"] == told
    assert result.usage["cache_read_input_tokens"] > 0
    assert seen.messages[-1] is result


async def test_the_hook_sees_each_call_and_may_deny_change_or_answer_it_and_blocks_when_it_fails(
    tmp_path: Path,
) -> None:
    options = [{"label": label, "description": label} for label in ("Red", "Blue")]
    question = {"question": "Which colour?", "header": "Colour", "multiSelect": False, "options": options}
    ask = ToolCall(name="AskUserQuestion", input={"questions": [question]})
    broken = ToolCall(name="Edit", input={"file_path": "{workspace}/b.txt", "old_string": "c", "new_string": "d"})

    def decide(name: str, given: dict[str, Any]) -> Decision:
        match name:
            case "Write":
                return DENY
            case "Bash":
                return {**ALLOW, "updatedInput": {**given, "command": "echo changed > b.txt"}}
            case "AskUserQuestion":
                return {**ALLOW, "updatedInput": {**given, "answers": {"Which colour?": "Blue"}}}
        raise RuntimeError("the gate is broken")

    gate = Gate(decide)
    turns = (
        Turn(tool_calls=(WRITE, bash("echo original > b.txt"))),
        Turn(tool_calls=(ask,), expect=("The controller says no.",)),
        Turn(tool_calls=(broken,), expect=("Blue",)),
        Turn(text="All done.", expect=("blocking because onFailure",)),
    )
    async with machine(tmp_path / "m", *turns) as here:
        seen = await here.run(gate=gate, tools=[*TOOLS, "AskUserQuestion"], stderr=lambda _: None)
        assert not here.model.failures
    assert here.files() == {"b.txt"}
    assert (here.workspace / "b.txt").read_text() == "changed\n"
    assert [call[:2] for call in gate.calls] == [
        ("hook", name) for name in ("Write", "Bash", "AskUserQuestion", "Edit")
    ]
    assert [one["tool_name"] for one in seen.result.permission_denials or []] == ["Write", "Edit"]


@pytest.mark.every_case("test_claude_agent: nothing of the repository's settings is obeyed")
async def test_a_repository_s_own_settings_and_servers_are_not_run(tmp_path: Path) -> None:
    def plant(at: Machine) -> None:
        touch = f"touch {at.workspace}/HOOK"
        hooks = {name: [{"hooks": [{"type": "command", "command": touch}]}] for name in ("SessionStart", "PreToolUse")}
        server = {"command": "/bin/sh", "args": ["-c", f"touch {at.workspace}/SERVER; cat"]}
        (at.workspace / ".claude").mkdir()
        (at.workspace / ".claude" / "settings.json").write_text(json.dumps({"hooks": hooks}))
        (at.workspace / ".mcp.json").write_text(json.dumps({"mcpServers": {"evil": server}}))
        for name in ("CLAUDE.md", "AGENTS.md"):
            (at.workspace / name).write_text("the words of the repository")

    turns = (Turn(tool_calls=(WRITE,)), DONE)
    as_cli_does: dict[str, Any] = {"setting_sources": None, "strict_mcp_config": False}
    async with machine(tmp_path / "closed", *turns) as closed, machine(tmp_path / "open", *turns) as open_:
        plant(closed)
        plant(open_)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(closed.run())
            tasks.create_task(open_.run(**as_cli_does))
        assert closed.files().isdisjoint({"HOOK", "SERVER"})
        assert "the words of the repository" not in closed.heard()
        assert open_.files() >= {"HOOK", "SERVER"}, "what was planted would have run"
        assert "the words of the repository" in open_.heard()


@pytest.mark.every_case("test_claude_agent: what the model's side answers becomes a reason")
async def test_errors_of_the_model_are_told_with_their_status(tmp_path: Path) -> None:
    async def fails_with(status: Any, told: str) -> None:
        always = ErrorReply(status=status, times=99, retry_after=0)
        async with machine(tmp_path / str(status), Turn(error=always)) as here:
            seen = await here.run()
            assert len(here.model.requests) == 2, "CLAUDE_CODE_MAX_RETRIES bounds Claude's own tries"
        assert [one["error_status"] for one in seen.system("api_retry")] == [status]
        result = seen.result
        assert (result.subtype, result.is_error) == ("success", True)
        assert (result.terminal_reason, result.api_error_status) == ("api_error", status)
        last = [message for message in seen.messages if isinstance(message, AssistantMessage)][-1]
        assert (last.model, last.error) == ("<synthetic>", told)
        assert isinstance(seen.error, ResultError)
        assert (seen.error.api_error_status, seen.error.terminal_reason) == (status, "api_error")

    async with asyncio.TaskGroup() as tasks:
        for status, told in ((429, "rate_limit"), (529, "server_error"), (401, "authentication_failed")):
            tasks.create_task(fails_with(status, told))


async def test_a_stream_that_breaks_off_is_mended_and_nothing_runs_twice(tmp_path: Path) -> None:
    """What Claude Code does next hangs on what it has read: nothing (it asks again), a block of text (it keeps that and
    asks to go on), or a tool call (it runs that)."""

    async def breaks(name: str, events: int) -> None:
        calls = (bash("echo once >> a.txt"),)
        broken = Turn(text="I append.", tool_calls=calls, cut_after_events=events)
        slow = {"hang_seconds": 5.0, "hang_after_events": events - 1}  # so that it has read what came before
        gate = Gate()
        async with machine(tmp_path / name, broken.model_copy(update=slow), DONE) as here:
            seen = await here.run(gate=gate)
            assert [request.turn for request in here.model.requests] in ([0, 0, 1], [0, 1])
        assert (here.workspace / "a.txt").read_text() == "once\n"
        assert len(gate.calls) == 1
        assert seen.result.result == "All done."

    async with asyncio.TaskGroup() as tasks:
        for name, events in (("nothing", 2), ("text", 7), ("call", 9)):
            tasks.create_task(breaks(name, events))


@pytest.mark.every_case("test_claude_agent: turns are limited")
async def test_turns_are_limited(tmp_path: Path) -> None:
    async with machine(tmp_path / "m", Turn(tool_calls=(WRITE,)), Turn(tool_calls=(WRITE,)), DONE) as here:
        seen = await here.run(max_turns=1)
        assert len(here.model.requests) == 1
    assert (seen.result.subtype, seen.result.terminal_reason) == ("error_max_turns", "max_turns")
    assert isinstance(seen.error, ResultError)


@pytest.mark.every_case("test_claude_agent: a conversation goes on elsewhere")
async def test_a_session_goes_on_elsewhere_from_its_stored_transcript(tmp_path: Path) -> None:
    turns = (
        Turn(tool_calls=(WRITE,)),
        Turn(text="Finished."),
        Turn(when="1 test failed", tool_calls=(bash("echo repaired > a.txt"),)),
        Turn(text="Repaired."),
    )
    store = Store()
    async with machine(tmp_path / "m", *turns) as here:
        first = await here.run(session_store=store, session_store_flush="eager")
        session = first.result.session_id
        kinds = [entry["type"] for entry in store.entries[session]]
        assert kinds.count("assistant") == 2
        here.move()
        second = await here.run("1 test failed.", session_store=store, session_store_flush="eager", resume=session)
        history = cast("list[Any]", here.model.requests[-1].body["messages"])
    assert second.result.session_id == session
    assert second.result.result == "Repaired."
    assert (here.workspace / "a.txt").read_text() == "repaired\n"
    assert sum(message["role"] == "assistant" for message in history) == 3, "the whole conversation was sent"

    # the cost goes on growing from run to run, usage and turns begin anew
    assert second.result.num_turns == 2
    assert first.result.usage
    assert second.result.usage
    assert first.result.usage["cache_creation_input_tokens"] > 0
    assert second.result.usage["cache_creation_input_tokens"] == 0
    assert second.result.total_cost_usd > first.result.total_cost_usd > 0  # type: ignore[operator]


@pytest.mark.every_case("test_claude_asking: what was broken off goes on")
async def test_a_killed_session_goes_on_elsewhere(tmp_path: Path) -> None:
    store = Store()
    turns = (Turn(tool_calls=(WRITE,)), Turn(text="x" * 200, hang_seconds=60, hang_after_events=4), DONE)
    async with machine(tmp_path / "m", *turns) as here:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(here.run(session_store=store, session_store_flush="eager"))
            async with asyncio.timeout(LONGEST):
                while len(here.model.requests) < 2 or "created successfully" not in json.dumps(store.entries):
                    await pause(0.02)
            for child in psutil.Process().children():
                with suppress(psutil.Error):
                    if child.cwd() == str(here.workspace):
                        child.kill()
        assert isinstance(running.result().error, ProcessError)
        assert cast("ProcessError", running.result().error).exit_code == -9
        assert not running.result().results
        here.move()
        (session,) = store.entries
        seen = await here.run("Go on.", session_store=store, session_store_flush="eager", resume=session)
        assert FILLER in here.heard()
    assert seen.result.result == "x" * 200, "the turn that was never finished is asked for again"


@pytest.mark.every_case("test_claude_asking: a parked command runs exactly once")
async def test_a_deferred_call_ends_the_run_and_comes_back_to_the_gate_elsewhere(tmp_path: Path) -> None:
    """The call must never get past both doors. Which of them it comes through on resume is Claude Code's race: it may
    run the call before it has heard of the hooks, but `can_use_tool` is there from the start (in mode `default`)."""
    store = Store()
    turns = (
        Turn(tool_calls=(bash("echo ran >> ran.txt"),)),
        Turn(text="It ran.", when="no output"),
        Turn(text="It did not."),
    )
    async with machine(tmp_path / "m", *turns) as here:
        first = Gate(lambda _, __: DEFER)
        deferred = await here.run(gate=first, session_store=store, session_store_flush="eager")
        result = deferred.result
        assert (result.is_error, result.stop_reason, result.terminal_reason) == (
            False,
            "tool_deferred",
            "tool_deferred",
        )
        assert deferred.error is None
        assert not here.files()
        assert result.deferred_tool_use is not None
        assert (result.deferred_tool_use.name, result.deferred_tool_use.id) == ("Bash", first.calls[0][2])

        copy = Store()
        copy.entries = json.loads(json.dumps(store.entries))
        for answer, words, kept in ((DENY, "It did not.", copy), (ALLOW, "It ran.", store)):
            here.move()
            gate = Gate(lambda _, __, answer=answer: answer)  # type: ignore[misc]
            seen = await here.run(None, gate, session_store=kept, session_store_flush="eager", resume=result.session_id)
            assert [call[1:] for call in gate.calls] == [first.calls[0][1:]], "once, with the id it had"
            assert seen.result.result == words
            assert ("ran.txt" in here.files()) is (answer is ALLOW)
            assert isinstance(next(one for one in seen.messages if not isinstance(one, SystemMessage)), UserMessage)
    assert (here.workspace / "ran.txt").read_text() == "ran\n"


@pytest.mark.every_case("test_claude_asking: a parked question ends the run and goes on")
async def test_a_deferred_question_is_answered_elsewhere(tmp_path: Path) -> None:
    store = Store()
    asked: list[str] = []
    async with machine(tmp_path / "m", Turn(tool_calls=(ASK,)), Turn(text="Blue it is.", expect=("blue",))) as here:
        more: dict[str, Any] = {"session_store": store, "session_store_flush": "eager"}
        deferred = await here.run(decide=lambda _, __: DEFER, mcp_servers=ask_controller(asked), **more)
        assert deferred.result.stop_reason == "tool_deferred"
        assert not asked
        here.move()
        session = deferred.result.session_id
        seen = await here.run(None, mcp_servers=ask_controller(asked), resume=session, **more)
        assert not here.model.failures
    assert asked == ["Which colour?"]
    assert seen.result.result == "Blue it is."


@pytest.mark.every_case("test_claude_asking: a question beside other calls is asked again alone")
async def test_of_several_deferred_calls_only_the_last_is_kept_but_a_run_can_be_stopped_with_all(
    tmp_path: Path,
) -> None:
    several = Turn(tool_calls=(WRITE, bash("echo second")))
    async with (
        machine(tmp_path / "defer", several) as trap,
        machine(tmp_path / "stop", several) as way_out,
        asyncio.TaskGroup() as tasks,
    ):
        lost = tasks.create_task(trap.run(decide=lambda _, __: DEFER))
        stopped = tasks.create_task(way_out.run(decide=lambda _, __: {**DENY, "stop": True}))
    kept = lost.result().result.deferred_tool_use
    assert kept is not None
    assert kept.name == "Bash"
    result = stopped.result().result
    assert (result.is_error, result.terminal_reason) == (False, "hook_stopped")
    assert [one["tool_name"] for one in result.permission_denials or []] == ["Write", "Bash"]
    assert len(way_out.model.requests) == 1, "the model is not asked again"
    assert not trap.files() | way_out.files()


@pytest.mark.every_case("test_claude_agent: a review answers in structure")
async def test_findings_come_as_data(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"findings": {"type": "array", "items": {"type": "string"}}},
        "required": ["findings"],
    }
    report = ToolCall(name="StructuredOutput", input={"findings": ["a.py:1 is wrong"]})
    async with machine(tmp_path / "m", Turn(tool_calls=(report,))) as here:
        seen = await here.run(output_format={"type": "json_schema", "schema": schema})
    assert seen.result.structured_output == {"findings": ["a.py:1 is wrong"]}
