"""The gate that every tool call passes: what the agent may call, and what it is told where it may not.

This is guidance, not the security boundary: a command is judged by what it says, and a program can do more than its
name tells. What must not happen is made impossible by the sandbox and by holding no credentials; what must not leave
is judged again, by the same rules, on the result (verification/policy.py).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from agentvine.domain.sensitive import Operation, Sensitive, Touched, judge
from agentvine.domain.tool_policy import ToolPolicy, policy_of
from agentvine.domain.worker_types import WorkerProfile
from agentvine.worker.agent.base import Decision, ToolCall, Verdict
from agentvine.worker.agent.refusals import Refusals
from agentvine.worker.agent.shell import Unreadable
from agentvine.worker.agent.shell_effects import Effects, effects
from agentvine.worker.agent.shell_rules import objection
from agentvine.worker.files import kind_of

_HARMLESS = frozenset(
    {"Glob", "LS", "TodoWrite", "TodoRead", "ToolSearch", "BashOutput", "TaskOutput"}
    | {"KillShell", "KillBash", "TaskStop", "Task", "Agent", "StructuredOutput", "DeferredToolPlaceholder"}
    | {"TaskCreate", "TaskUpdate", "TaskGet", "TaskList", "ListAgents"}
)
_READING = {"Read": "file_path", "Grep": "path", "NotebookRead": "notebook_path"}
_WRITING = {"Write": "file_path", "Edit": "file_path", "MultiEdit": "file_path", "NotebookEdit": "notebook_path"}
_HEADLESS = frozenset({"AskUserQuestion", "EnterPlanMode", "ExitPlanMode"})
_NETWORK = frozenset({"WebFetch", "WebSearch"})
_MOST_WORDS = 5000
_SCRATCH = " What is only for yourself goes to a file in /tmp."
_ALLOWED = Verdict(Decision.ALLOW)


class _Objection(NamedTuple):
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class TypeGate:
    """The `ToolGate` of one worker type.

    `workspace` is where the checkout is on this machine; `seen_at` is where the agent sees it, if that is another path.
    `policy` None: the tools of the type.
    """

    profile: WorkerProfile
    workspace: Path
    seen_at: Path | None = None
    policy: ToolPolicy | None = None
    sensitive: Sensitive = field(default_factory=Sensitive)
    repository: str = ""
    refusals: Refusals = field(default_factory=Refusals)

    async def __call__(self, call: ToolCall) -> Verdict:
        """Allow it, or deny it with a reason and keep a record of that."""
        refused = next(self._objections(call), None)
        if refused is None:
            return _ALLOWED
        self.refusals.note(call, refused.rule, refused.reason)
        return Verdict(Decision.DENY, refused.reason)

    @property
    def _tools(self) -> ToolPolicy:
        return self.policy or policy_of(self.profile.type)

    def _objections(self, call: ToolCall) -> Iterator[_Objection]:
        """What there is against a call, the gravest first."""
        if call.name in _HARMLESS:
            return
        if call.name == "Bash":
            yield from self._shell(call.input.get("command"))
        elif call.name in _WRITING:
            yield from self._write(call.input.get(_WRITING[call.name]))
        elif call.name in _READING:
            yield from self._read(call.input.get(_READING[call.name]))
        elif call.name in _HEADLESS:
            yield _Objection(
                "nobody-there",
                "Nobody can answer here: decide what is reasonable, and say in your last message what you assumed.",
            )
        elif call.name in _NETWORK:
            yield _Objection("no-web", "There is no access to the web here: work with what is in the checkout.")
        else:
            yield _Objection("no-such-tool", f"{call.name} cannot be used here: use Bash and the tools for files.")

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, path: object) -> Iterator[_Objection]:
        if not self._tools.writes:
            yield _Objection("tool-policy", "This task changes no file: report what you found instead.")
        elif not isinstance(path, str) or not path or "\0" in path:
            yield _Objection("workspace", "The call names no file.")
        elif (inside := self._inside(path)) is None:
            reason = "Only files inside the checkout may be written: use a path in your working directory."
            yield _Objection("workspace", reason)
        elif ".git" in (part.lower() for part in inside.parts):
            yield _Objection("workspace", "What is in .git is not written by hand: use git.")
        else:
            yield from self._changes([inside.as_posix()])

    def _read(self, path: object) -> Iterator[_Objection]:
        if isinstance(path, str) and path:
            yield from self._judged(files=(self._touched(path, written=False),))

    def _changes(self, paths: list[str], hint: str = "") -> Iterator[_Objection]:
        """What there is against changing files of the checkout."""
        for path in paths:
            if reason := self._tools.objection_to_writing(kind_of(path)):
                yield _Objection("tool-policy", f"{path}: {reason}{hint}")
        yield from self._judged(files=tuple(Touched(path, kind_of(path)) for path in paths))

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _shell(self, command: object) -> Iterator[_Objection]:
        if not isinstance(command, str):
            yield _Objection("shell", "The call has no command.")
            return
        if reason := objection(command, may_write=bool(self._tools.writes)):
            yield _Objection("shell", reason)
            return
        try:
            found = effects(command)
        except Unreadable as error:
            yield _Objection("shell", f"The command cannot be read as a shell command ({error}).")
            return
        for program in dict.fromkeys(words[0] for words in found.programs):
            if reason := self._tools.objection_to_running(program):
                yield _Objection("tool-policy", reason)
        yield from self._effects(found)

    def _effects(self, found: Effects) -> Iterator[_Objection]:
        if len(found.written) + len(found.read) > _MOST_WORDS:
            yield _Objection("shell", "The command names too many files: use a pattern, or write a script and run it.")
            return
        written = [path for path in map(self._within, found.written) if path is not None]
        yield from self._changes(written, _SCRATCH)
        deleted = sum(self._within(path) is not None for path in found.deleted)
        read = tuple(self._touched(path, written=False) for path in found.read)
        yield from self._judged(files=read, commands=found.programs, deleted=deleted)

    # ── what both need ───────────────────────────────────────────────────────────────────────────────────────────

    def _judged(
        self, files: tuple[Touched, ...] = (), commands: tuple[tuple[str, ...], ...] = (), deleted: int = 0
    ) -> Iterator[_Objection]:
        operation = Operation(self.profile.type, self.repository, files, commands, deleted)
        ruling = judge(operation, self.sensitive)
        if not ruling.allowed:
            yield _Objection(ruling.rule, ruling.reason)

    def _touched(self, path: str, *, written: bool) -> Touched:
        place = self._within(path) or path
        return Touched(place, kind_of(place), written)

    def _within(self, path: str) -> str | None:
        """`path`, as a command names it, relative to the checkout; None if it is outside of it, as /tmp is."""
        if not path or "\0" in path or len(path) > 4096:
            return None
        inside = self._inside(str(PurePosixPath(path))) if not path.startswith("~") else None
        return None if inside is None else inside.as_posix()

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
