"""An agent without a model: it does what a case says, in the box that the real one would have had."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentvine.domain.execution import Usage
from agentvine.worker.agent.base import AgentResult, Assignment, Meter, News, ToolGate, Transcript
from agentvine.worker.sandbox.base import Box
from tests.proof.case import Turn

_SECONDS = 60.0


@dataclass(slots=True)
class ScriptedAgent:
    """Implements `Agent`: a turn each time it is run, the last one again and again. It asks no gate: what a gate would
    have refused has to be refused by the proof alone."""

    box: Box
    turns: Sequence[Turn]
    told: list[str] = field(default_factory=list)
    """What it was told, run by run."""

    async def run(
        self,
        assignment: Assignment,
        gate: ToolGate,
        transcript: Transcript,
        meter: Meter,
        news: News | None = None,
    ) -> AgentResult:
        turn = self.turns[min(len(self.told), len(self.turns) - 1)]
        self.told.append(assignment.prompt or "")
        await transcript.append([{"type": "assistant", "uuid": f"{assignment.session_id}-{len(self.told)}"}])
        usage = Usage(turns=1, input_tokens=10, output_tokens=5, cost_usd=0.001)
        meter(usage)
        for path, content in turn.files.items():
            file = assignment.workspace / path
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        if turn.files:
            await self.box.adopt()
        for command in turn.runs:
            argv = ["sh", "-c", command]
            done = await self.box.run(
                argv, cwd=assignment.workspace, timeout=_SECONDS, env=dict(assignment.environment)
            )
            assert done.exit_code == 0, f"{command}: {done.stderr}"
        return AgentResult(usage, final_text=turn.says, structured=turn.answer)
