"""A place where the real Claude Code works against a scripted model."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.scripted_model import RunningModel, serve
from agentvine.domain.execution import Usage
from agentvine.testing.agents import MemoryTranscript, an_assignment
from agentvine.testing.launching import DirectLauncher
from agentvine.worker.agent import base
from agentvine.worker.agent.base import AgentResult, Assignment, Decision, ModelAccess, Verdict
from agentvine.worker.agent.claude import ClaudeCode, bundled_cli

KEY = "sk-ant-a-key-that-must-not-be-told"


@dataclass
class Bench:
    """A place where one agent works, and what was seen of it."""

    root: Path
    model: RunningModel
    transcript: MemoryTranscript = field(default_factory=MemoryTranscript)
    calls: list[base.ToolCall] = field(default_factory=list)
    metered: list[Usage] = field(default_factory=list)
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)

    def assignment(self, **changes: object) -> Assignment:
        workspace, private = self.root / "workspace", self.root / "private"
        for folder in (workspace, private):
            folder.mkdir(exist_ok=True)
        given: dict[str, object] = {"instructions": "Never push.", "environment": {"MARKER": self.marker}}
        return an_assignment(workspace, private, ModelAccess(self.model.url, KEY), **(given | changes))

    async def run(
        self, assignment: Assignment | None = None, agent: ClaudeCode | None = None, gate: base.ToolGate | None = None
    ) -> AgentResult:
        agent = agent or ClaudeCode(DirectLauncher(bundled_cli()), max_retries=0)
        result = await agent.run(assignment or self.assignment(), gate or self._allow, self.transcript, self._metered)
        assert self.processes() == []
        return result

    async def _allow(self, call: base.ToolCall) -> Verdict:
        self.calls.append(call)
        return Verdict(Decision.ALLOW)

    def _metered(self, usage: Usage) -> None:
        self.metered.append(usage)

    def processes(self) -> list[str]:
        """What carries this bench's marker in its environment."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    if self.marker.encode() in (folder / "environ").read_bytes():
                        found.append((folder / "cmdline").read_text())
                except OSError:
                    continue
        return found

    def workspace(self, name: str) -> Path:
        return self.root / "workspace" / name


@asynccontextmanager
async def bench_with(root: Path, *turns: Turn, repeat_last: bool = False) -> AsyncIterator[Bench]:
    script = Script(scenarios=(Scenario(name="only", turns=turns, repeat_last=repeat_last),))
    async with serve(script) as model:
        yield Bench(root, model)
    assert model.model.failures == []


def bash(command: str) -> Turn:
    return Turn(tool_calls=(ToolCall(name="Bash", input={"command": command}),))
