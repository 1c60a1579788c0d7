"""The gate that every tool call passes: what the agent may call, and what it is told where it may not.

This is guidance, not the security boundary: a command is judged by what it says, and a program can do more than its
name tells. What must not happen is made impossible by the sandbox and by holding no credentials.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from agentvine.domain.worker_types import TaskType, WorkerProfile
from agentvine.worker.agent.base import Decision, ToolCall, Verdict
from agentvine.worker.agent.shell_rules import objection
from agentvine.worker.files import FileKind, kind_of

_HARMLESS = frozenset(
    {"Read", "Glob", "Grep", "LS", "NotebookRead", "TodoWrite", "TodoRead", "ToolSearch", "BashOutput", "TaskOutput"}
    | {"KillShell", "KillBash", "TaskStop", "Task", "Agent", "StructuredOutput", "DeferredToolPlaceholder"}
    | {"TaskCreate", "TaskUpdate", "TaskGet", "TaskList", "ListAgents"}
)
_WRITING = {"Write": "file_path", "Edit": "file_path", "MultiEdit": "file_path", "NotebookEdit": "notebook_path"}
_HEADLESS = frozenset({"AskUserQuestion", "EnterPlanMode", "ExitPlanMode"})
_NETWORK = frozenset({"WebFetch", "WebSearch"})
_ALLOWED = Verdict(Decision.ALLOW)


@dataclass(frozen=True, slots=True)
class TypeGate:
    """The `ToolGate` of one worker type.

    `workspace` is where the checkout is on this machine; `seen_at` is where the agent sees it, if that is another path.
    """

    profile: WorkerProfile
    workspace: Path
    seen_at: Path | None = None

    async def __call__(self, call: ToolCall) -> Verdict:
        refused = self._objection(call)
        return _ALLOWED if refused is None else Verdict(Decision.DENY, refused)

    def _objection(self, call: ToolCall) -> str | None:
        if call.name in _HARMLESS:
            return None
        if call.name == "Bash":
            command = call.input.get("command")
            if not isinstance(command, str):
                return "The call has no command."
            return objection(command, may_write=self.profile.changes_files)
        if call.name in _WRITING:
            return self._write(call.input.get(_WRITING[call.name]))
        if call.name in _HEADLESS:
            return "Nobody can answer here: decide what is reasonable, and say in your last message what you assumed."
        if call.name in _NETWORK:
            return "There is no access to the web here: work with what is in the checkout."
        return f"{call.name} cannot be used here: use Bash and the tools for files."

    def _write(self, path: object) -> str | None:
        if not self.profile.changes_files:
            return "This task changes no file: report what you found instead."
        if not isinstance(path, str) or not path or "\0" in path:
            return "The call names no file."
        inside = self._inside(path)
        if inside is None:
            return "Only files inside the checkout may be written: use a path in your working directory."
        if ".git" in (part.lower() for part in inside.parts):
            return "What is in .git is not written by hand: use git."
        return self._kind(kind_of(inside.as_posix()))

    def _kind(self, kind: FileKind) -> str | None:
        if self.profile.type is TaskType.DOCS and kind is not FileKind.DOCS:
            return "This task changes documentation only. If code or tests need a change, say so in your last message."
        if self.profile.type is TaskType.TEST and kind is not FileKind.TEST:
            return "This task changes tests only. If the code needs a change, say so in your last message."
        return None

    def _inside(self, path: str) -> Path | None:
        """`path` relative to the checkout, links resolved; None if it leads out of it."""
        root = Path(os.path.realpath(self.workspace))
        asked = Path(path)
        if asked.is_absolute() and self.seen_at is not None:
            if not asked.is_relative_to(self.seen_at):
                return None
            asked = asked.relative_to(self.seen_at)
        real = Path(os.path.realpath(root / asked))
        return real.relative_to(root) if real.is_relative_to(root) and real != root else None
