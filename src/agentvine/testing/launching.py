"""The agent without a box, for what is about the agent alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentvine.kit.process import guarded_argv
from agentvine.worker.agent.base import Assignment
from agentvine.worker.agent.launcher import Launch, wrapped


@dataclass(frozen=True, slots=True)
class DirectLauncher:
    """Starts the agent on this machine as this user, beneath a guardian: nothing of it outlives the worker."""

    program: Path
    grace: float = 2.0

    def prepare(self, assignment: Assignment, environment: Mapping[str, str]) -> Launch:
        private = assignment.private
        for name in ("home", "tmp", "claude", "launch"):
            (private / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        command = guarded_argv([str(self.program)], grace=self.grace)
        model = {"ANTHROPIC_BASE_URL": assignment.model.base_url, "ANTHROPIC_API_KEY": assignment.model.api_key}
        told = {**environment, **{name: value for name, value in model.items() if value}}
        wrapper, note = wrapped(command, told, private / "launch")
        return Launch(wrapper, assignment.workspace, private / "claude", note)
