"""The agent in a box."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from agentvine.kit.clock import Clock
from agentvine.worker.agent.base import Assignment
from agentvine.worker.agent.claude import ClaudeCode, bundled_cli
from agentvine.worker.agent.launcher import Launch, wrapped
from agentvine.worker.sandbox.base import Box


@dataclass(frozen=True, slots=True)
class BoxLauncher:
    """Implements `Launcher`. `program` is the agent's, as the box sees it.

    Each run has a configuration directory of its own: what the agent left in an earlier one could be links by which the
    worker, laying out a conversation there, would write elsewhere.
    """

    box: Box
    program: Path

    def prepare(self, assignment: Assignment, environment: Mapping[str, str]) -> Launch:
        private = assignment.private
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = Path(mkdtemp(prefix="claude-", dir=private))
        told = {**environment, "CLAUDE_CONFIG_DIR": str(configuration)}
        if "PATH" not in assignment.environment:
            del told["PATH"]
        launched = self.box.launch([str(self.program)], env=told, kept={configuration: str(configuration)})
        place = Path(mkdtemp(prefix="launch-", dir=private))
        wrapper, note = wrapped(launched.argv, launched.environment, place)
        return Launch(wrapper, self.box.seen_at, configuration, note)


def claude_in(box: Box, *, clock: Clock | None = None, max_retries: int = 5) -> ClaudeCode:
    """The Claude Code that comes with this package, in `box`."""
    return ClaudeCode(BoxLauncher(box, bundled_cli()), clock=clock, max_retries=max_retries)
