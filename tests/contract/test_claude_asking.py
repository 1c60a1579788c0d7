"""Claude Code asks, is answered, told something, stopped at a call or broken off, and goes on there, elsewhere."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.demo.script import ToolCall, Turn
from agentvine.testing.eventually import eventually
from agentvine.testing.launching import DirectLauncher
from agentvine.worker.agent import base
from agentvine.worker.agent.asking import ASK_TOOL, BUILT_IN
from agentvine.worker.agent.base import Decision, Verdict
from agentvine.worker.agent.claude import ClaudeCode, bundled_cli
from tests.contract.claude_bench import Bench, bash, bench_with

ASK = ToolCall(name=ASK_TOOL, input={"question": "Which colour?", "options": ["red", "blue"]})
BLUE = Verdict(Decision.ALLOW, answer="The controller answers: blue")
PARK = Verdict(Decision.PARK, "Ask again, alone.")
ALLOW = Verdict(Decision.ALLOW)
DENY = Verdict(Decision.DENY, "Not that.")


class Gate:
    """Decides by the tool's name, and remembers what came."""

    def __init__(self, decide: Callable[[base.ToolCall], Verdict]) -> None:
        self.calls: list[base.ToolCall] = []
        self._decide = decide

    async def __call__(self, call: base.ToolCall) -> Verdict:
        self.calls.append(call)
        return self._decide(call)


def on_questions(verdict: Verdict) -> Gate:
    return Gate(lambda call: verdict if call.name in {ASK_TOOL, BUILT_IN} else ALLOW)


async def elsewhere(b: Bench, assignment: base.Assignment, gate: Gate) -> base.AgentResult:
    """Go on on another machine: nothing of the first one's files but the transcript."""
    private = b.root / "private-2"
    private.mkdir()
    return await b.run(replace(assignment, private=private, resumes=True, prompt=None), gate=gate)


async def test_a_question_is_in_view_from_the_start_and_its_answer_reaches_the_model(tmp_path: Path) -> None:
    turns = (Turn(tool_calls=(ASK,)), Turn(text="Blue it is.", expect=("The controller answers: blue",)))
    async with bench_with(tmp_path, *turns) as b:
        result = await b.run(gate=on_questions(BLUE))
        assert result.failure is None, result
        assert result.final_text == "Blue it is."
        offered = b.model.model.requests[0].body["tools"]
        assert isinstance(offered, list)
        assert ASK_TOOL in {tool["name"] for tool in offered if isinstance(tool, dict)}


async def test_claude_s_own_question_leads_to_the_same_place(tmp_path: Path) -> None:
    options = [{"label": label, "description": label} for label in ("Red", "Blue")]
    question = {"question": "Which colour?", "header": "Colour", "multiSelect": False, "options": options}
    ask = ToolCall(name=BUILT_IN, input={"questions": [question]})
    turns = (Turn(tool_calls=(ask,)), Turn(text="Blue it is.", expect=("The controller answers: blue",)))
    async with bench_with(tmp_path, *turns) as b:
        result = await b.run(gate=on_questions(BLUE))
        assert result.failure is None, result
        assert result.final_text == "Blue it is."


async def test_a_parked_question_ends_the_run_and_goes_on_at_that_call_without_another_word(tmp_path: Path) -> None:
    turns = (
        bash("echo first > note"),
        Turn(tool_calls=(ASK,)),
        Turn(text="Blue it is.", expect=("The controller answers: blue",)),
    )
    async with bench_with(tmp_path, *turns) as b:
        first, second = on_questions(PARK), on_questions(BLUE)
        assignment = b.assignment()
        stopped = await b.run(assignment, gate=first)
        assert stopped.failure is None, stopped
        assert stopped.parked is not None
        assert stopped.parked.name == ASK_TOOL
        result = await elsewhere(b, assignment, second)
        assert result.failure is None, result
        assert result.parked is None
        assert result.final_text == "Blue it is."
        assert {call.id for call in second.calls} == {stopped.parked.id}
        asked = [request for request in b.model.model.requests if b"Which colour?" in request.raw]
        assert len(asked) == 1, "one request after the answer, and none before: no turn was added"


async def test_a_parked_command_runs_exactly_once_after_it_was_allowed(tmp_path: Path) -> None:
    turns = (bash("echo ran >> count"), Turn(text="It ran."))
    async with bench_with(tmp_path, *turns) as b:
        assignment = b.assignment()
        stopped = await b.run(assignment, gate=Gate(lambda _: PARK))
        assert stopped.parked is not None
        assert not b.workspace("count").exists()
        result = await elsewhere(b, assignment, Gate(lambda _: ALLOW))
        assert result.final_text == "It ran."
        assert b.workspace("count").read_text() == "ran\n"


async def test_an_approval_may_change_the_call_and_the_model_is_told(tmp_path: Path) -> None:
    """The gate is asked once: what somebody agreed to does not come back to be asked about."""
    changed = Verdict(Decision.ALLOW, "It became another one.", changed_input={"command": "echo changed > out"})
    async with bench_with(tmp_path, bash("echo original > out"), Turn(text="done")) as b:
        gate = Gate(lambda _: changed)
        assert (await b.run(gate=gate)).failure is None
        assert b.workspace("out").read_text() == "changed\n"
        assert len(gate.calls) == 1
        assert b"It became another one." in b.model.model.requests[-1].raw


async def test_a_question_beside_other_calls_is_not_parked_but_asked_again_alone(tmp_path: Path) -> None:
    """Stopped there, the other call would be lost."""
    beside = Turn(tool_calls=(ASK, bash("echo kept > note").tool_calls[0]))
    turns = (beside, Turn(tool_calls=(ASK,), expect=("Ask again, alone.",)), Turn(text="Blue.", expect=("blue",)))
    async with bench_with(tmp_path, *turns) as b:
        assignment = b.assignment()
        gate = on_questions(PARK)
        stopped = await b.run(assignment, gate=gate)
        assert stopped.parked is not None
        assert [call.name for call in gate.calls].count(ASK_TOOL) == 2
        assert b.workspace("note").read_text() == "kept\n"
        assert (await elsewhere(b, assignment, on_questions(BLUE))).final_text == "Blue."


async def test_without_the_answer_the_tool_says_that_nobody_was_asked(tmp_path: Path) -> None:
    turns = (Turn(tool_calls=(ASK,)), Turn(text="I decided.", expect=("The controller was not asked",)))
    async with bench_with(tmp_path, *turns) as b:
        agent = ClaudeCode(DirectLauncher(bundled_cli()), max_retries=0)
        assert (await b.run(agent=agent, gate=Gate(lambda _: ALLOW))).final_text == "I decided."


async def test_what_was_broken_off_in_the_middle_of_a_call_goes_on_with_a_word(tmp_path: Path) -> None:
    """The CLI says of the call that its outcome is unknown, and adds no turn of its own."""
    turns = (
        bash("echo first > note"),
        bash("touch here; tail -f /dev/null"),
        Turn(text="I looked.", expect=("You were interrupted.",)),
    )
    async with bench_with(tmp_path, *turns) as b:
        assignment = b.assignment()
        running = asyncio.create_task(b.run(assignment))
        await eventually(lambda: b.workspace("here").exists())
        running.cancel()
        await asyncio.wait({running})
        assert b.processes() == []
        private = b.root / "private-2"
        private.mkdir()
        before = len(b.model.model.requests)
        result = await b.run(replace(assignment, private=private, resumes=True, prompt="You were interrupted."))
        assert result.failure is None, result
        assert result.final_text == "I looked."
        assert len(b.model.model.requests) == before + 1
        assert b"its outcome is unknown" in b.model.model.requests[-1].raw


class Said:
    """`News` of one thing, which is said as soon as something may be."""

    def __init__(self) -> None:
        self.left = ["Mind the gap."]
        self.answered = 0

    def take(self) -> str:
        return self.left.pop() if self.left else ""

    def heard(self) -> None:
        self.answered += not self.left


@pytest.mark.parametrize("ends", ["well", "badly", "denied"])
async def test_news_reach_the_model_with_its_next_request(tmp_path: Path, ends: str) -> None:
    first = bash("exit 3" if ends == "badly" else "echo well")
    said, gate = Said(), Gate(lambda _: DENY if ends == "denied" else ALLOW)
    async with bench_with(tmp_path, first, Turn(text="I mind it.")) as b:
        agent = ClaudeCode(DirectLauncher(bundled_cli()), max_retries=0)
        result = await agent.run(b.assignment(), gate, b.transcript, lambda _: None, said)
        assert result.failure is None, result
        told = [b"Mind the gap." in request.raw for request in b.model.model.requests]
        assert told == [False, True]
        assert said.answered == 1
