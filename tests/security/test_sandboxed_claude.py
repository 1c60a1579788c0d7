"""The real Claude Code in a box, with a scripted model behind the gateway: it works, and never sees the key."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.script import Usage as Tokens
from agentvine.demo.scripted_model import RunningModel, serve
from agentvine.domain.execution import Usage
from agentvine.domain.retry import FailureReason
from agentvine.testing.agents import MemoryTranscript, an_assignment
from agentvine.worker.agent import base
from agentvine.worker.agent.base import AgentResult, Assignment, Decision, ModelAccess, Verdict
from agentvine.worker.agent.boxed import BoxLauncher
from agentvine.worker.agent.claude import ClaudeCode, bundled_cli
from agentvine.worker.sandbox.base import Box, EgressRecord, Upstream
from agentvine.worker.sandbox.bubblewrap import Bubblewrap
from agentvine.worker.sandbox.limits import Limit, Limits
from tests.security.boxes import Place, left_of, place

KEY = "sk-ant-real-key-that-stays-outside"


@dataclass
class Bench:
    """Claude in one box."""

    where: Place
    model: RunningModel
    box: Box
    records: list[EgressRecord]
    metered: list[Usage]
    transcript: MemoryTranscript = field(default_factory=MemoryTranscript)

    def assignment(self, **changes: object) -> Assignment:
        return an_assignment(self.where.workspace, self.where.private, ModelAccess(self.model.url, KEY), **changes)

    async def run(self, assignment: Assignment | None = None) -> AgentResult:
        agent = ClaudeCode(BoxLauncher(self.box, bundled_cli()), max_retries=0)
        result = await agent.run(assignment or self.assignment(), _allow, self.transcript, lambda usage: None)
        assert not left_of(self.where)
        return result

    @property
    def heard(self) -> str:
        """All that the model was sent."""
        return "\n".join(request.raw.decode() for request in self.model.model.requests)


async def _allow(call: base.ToolCall) -> Verdict:
    return Verdict(Decision.ALLOW)


@asynccontextmanager
async def bench_with(
    sandbox: Bubblewrap, root: Path, *turns: Turn, budget: float = 5.0, **wishes: object
) -> AsyncIterator[Bench]:
    where = place(root)
    records: list[EgressRecord] = []
    metered: list[Usage] = []
    script = Script(scenarios=(Scenario(name="only", turns=turns),))
    async with serve(script) as model:
        upstream = Upstream(model.url, KEY, budget_usd=budget)
        spec = where.spec(upstream=upstream, record=records.append, meter=metered.append, **wishes)
        async with sandbox.box(spec) as box:
            yield Bench(where, model, box, records, metered)
        assert not left_of(where)
    assert model.model.failures == []


def bash(command: str, *, expect: tuple[str, ...] = ()) -> Turn:
    return Turn(tool_calls=(ToolCall(name="Bash", input={"command": command}),), expect=expect)


async def test_it_writes_and_runs_and_is_metered(sandbox: Bubblewrap, tmp_path: Path) -> None:
    write = ToolCall(name="Write", input={"file_path": "{workspace}/hello.py", "content": "print(6 * 7)\n"})
    tokens = Tokens(input_tokens=1000, output_tokens=100)
    turns = (
        Turn(text="I write.", tool_calls=(write,), usage=tokens),
        bash("python hello.py; pwd; id -u"),
        Turn(text="It is built.", expect=("42\n/workspace\n1000",)),
    )
    async with bench_with(sandbox, tmp_path, *turns) as bench:
        result = await bench.run()
        assert result.failure is None, result
        assert result.final_text == "It is built."
        assert (bench.where.workspace / "hello.py").read_text() == "print(6 * 7)\n"
        assert {"user", "assistant"} <= {str(entry["type"]) for entry in bench.transcript.entries}
        assert bench.box.usage == bench.metered[-1]
        assert bench.box.usage.turns >= 3
        assert bench.box.usage.input_tokens >= 1000
        assert bench.box.usage.cost_usd > 0
        messages = [request for request in bench.model.model.requests if request.path == "/v1/messages"]
        assert {request.headers.get("x-api-key") for request in messages} == {KEY}
        assert all("authorization" not in request.headers for request in messages)
        assert {(record.way.value, record.allowed) for record in bench.records} == {("model", True)}


async def test_it_goes_on_where_it_stopped_with_another_box(sandbox: Bubblewrap, tmp_path: Path) -> None:
    turns = (
        bash("echo first > note; cat note"),
        Turn(text="Half done."),
        bash("cat note", expect=("Go on",)),
        Turn(text="All done.", expect=("first",)),
    )
    async with bench_with(sandbox, tmp_path, *turns) as bench:
        first = bench.assignment()
        assert (await bench.run(first)).final_text == "Half done."
        again = replace(first, resumes=True, prompt="Go on, please.")
        assert (await bench.run(again)).final_text == "All done."
        assert "Half done." in bench.model.model.requests[-1].raw.decode()


async def test_the_key_is_nowhere_inside(sandbox: Bubblewrap, tmp_path: Path) -> None:
    """The agent searches its environment, every process and every file that it can read, and tells the model."""
    search = (
        "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n';"
        ' part=real-key-; grep -rslF -- ${part}that-stays /workspace /home /tmp /run /etc "$CLAUDE_CONFIG_DIR";'
        " echo searched"
    )
    told = ToolCall(name="Bash", input={"command": search})
    async with bench_with(
        sandbox, tmp_path, Turn(tool_calls=(told,)), Turn(text="end", expect=("searched", "held-outside"))
    ) as bench:
        assert (await bench.run()).failure is None
        said = bench.heard
        assert "real-key-that-stays" not in said
        assert "ANTHROPIC_API_KEY=held-outside" in said
        assert "PYTEST_CURRENT_TEST" not in said  # which the worker's own environment has
        assert str(bench.where.private) in said  # the name of its configuration directory, and nothing in it
        results = json.dumps(bench.transcript.entries)
        assert KEY not in results


async def test_a_spent_budget_ends_the_run_at_the_next_call(sandbox: Bubblewrap, tmp_path: Path) -> None:
    dear = Tokens(input_tokens=2_000_000, output_tokens=1000)
    turns = (Turn(tool_calls=bash("echo one").tool_calls, usage=dear), bash("echo two"), Turn(text="never"))
    async with bench_with(sandbox, tmp_path, *turns, budget=0.5) as bench:
        result = await bench.run(bench.assignment(budget_usd=1000.0))
        assert result.failure is not None
        assert "budget" in result.failure.detail
        assert bench.box.usage is not None
        assert bench.box.usage.cost_usd > 0.5
        refused = [record for record in bench.records if not record.allowed]
        assert refused
        assert "budget" in refused[0].reason
        assert "two" not in bench.heard


async def test_a_limit_ends_the_run_and_says_which(sandbox: Bubblewrap, tmp_path: Path) -> None:
    fill = "for i in $(seq 20); do head -c 20000000 /dev/zero > f$i; done; sleep 50"
    limits = Limits(disk_bytes=100 << 20)
    async with bench_with(sandbox, tmp_path, bash(fill), Turn(text="never"), limits=limits) as bench:
        launcher = BoxLauncher(bench.box, bundled_cli())
        result = await ClaudeCode(launcher, max_retries=0).run(
            bench.assignment(), _allow, bench.transcript, lambda usage: None
        )
        assert result.failure is not None
        assert result.failure.reason in {FailureReason.AGENT_CRASHED, FailureReason.AGENT_NO_RESULT}
        assert bench.box.breach is not None
        assert bench.box.breach.limit is Limit.DISK
