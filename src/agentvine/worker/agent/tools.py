"""The judge of every tool call: what the agent may call, what it is told where it may not, and what needs approval.

This is guidance, not the security boundary: a command is judged by what it says, and a program can do more than its
name tells. What must not happen is made impossible by the sandbox and by holding no credentials; what must not leave
is judged again, by the same rules, on the result (verification/policy.py).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from agentvine.domain.sensitive import Operation, Ruling, Sensitive, Touched, judge_all
from agentvine.domain.tool_policy import ToolPolicy, policy_of
from agentvine.domain.worker_types import WorkerProfile
from agentvine.worker.agent.base import ToolCall
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


class Objection(NamedTuple):
    """Why a call is not made, whoever would agree to it."""

    rule: str
    reason: str


class _Look(NamedTuple):
    """What a call does."""

    operation: Operation
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What there is against a call: an objection, or rules by which somebody has to agree, or nothing."""

    objection: Objection | None = None
    rulings: tuple[Ruling, ...] = ()
    paths: tuple[str, ...] = ()
    """The files that it names, relative to the checkout where they are in it."""
    deleted: tuple[str, ...] = ()
    """Those in the checkout that it deletes."""


@dataclass(frozen=True, slots=True)
class TypeGate:
    """Judges the calls of one worker type.

    `workspace` is where the checkout is on this machine; `seen_at` is where the agent sees it, if that is another path.
    `policy` None: the tools of the type.
    """

    profile: WorkerProfile
    workspace: Path
    seen_at: Path | None = None
    policy: ToolPolicy | None = None
    sensitive: Sensitive = field(default_factory=Sensitive)
    repository: str = ""

    def judge(self, call: ToolCall) -> Judgement:
        """What there is against a call. Never raises, whatever the call holds."""
        for found in self._looked_at(call):  # objections come first
            if isinstance(found, Objection):
                return Judgement(found)
            operation = found.operation
            rulings = tuple(judge_all(operation, self.sensitive))
            return Judgement(None, rulings, tuple(dict.fromkeys(file.path for file in operation.files)), found.deleted)
        return Judgement()

    @property
    def _tools(self) -> ToolPolicy:
        return self.policy or policy_of(self.profile.type)

    def _looked_at(self, call: ToolCall) -> Iterator[Objection | _Look]:
        """What there is against a call, the gravest first; in the end what it does, if that may be sensitive."""
        if call.name in _HARMLESS:
            return
        if call.name == "Bash":
            yield from self._shell(call.input.get("command"))
        elif call.name in _WRITING:
            yield from self._write(call.input.get(_WRITING[call.name]))
        elif call.name in _READING:
            yield from self._read(call.input.get(_READING[call.name]))
        elif call.name in _HEADLESS:
            yield Objection(
                "nobody-there",
                "Nobody can answer here: decide what is reasonable, and say in your last message what you assumed.",
            )
        elif call.name in _NETWORK:
            yield Objection("no-web", "There is no access to the web here: work with what is in the checkout.")
        else:
            yield Objection("no-such-tool", f"{call.name} cannot be used here: use Bash and the tools for files.")

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, path: object) -> Iterator[Objection | _Look]:
        if not self._tools.writes:
            yield Objection("tool-policy", "This task changes no file: report what you found instead.")
        elif not isinstance(path, str) or not path or "\0" in path:
            yield Objection("workspace", "The call names no file.")
        elif (inside := self._inside(path)) is None:
            reason = "Only files inside the checkout may be written: use a path in your working directory."
            yield Objection("workspace", reason)
        elif ".git" in (part.lower() for part in inside.parts):
            yield Objection("workspace", "What is in .git is not written by hand: use git.")
        else:
            yield from self._may_change([inside.as_posix()])
            yield self._look((self._touched(inside.as_posix()),))

    def _read(self, path: object) -> Iterator[Objection | _Look]:
        if isinstance(path, str) and path:
            yield self._look((self._touched(self._within(path) or path, written=False),))

    def _may_change(self, paths: list[str], hint: str = "") -> Iterator[Objection]:
        """What there is against changing files of the checkout."""
        for path in paths:
            if reason := self._tools.objection_to_writing(kind_of(path)):
                yield Objection("tool-policy", f"{path}: {reason}{hint}")

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _shell(self, command: object) -> Iterator[Objection | _Look]:
        if not isinstance(command, str):
            yield Objection("shell", "The call has no command.")
            return
        if reason := objection(command, may_write=bool(self._tools.writes)):
            yield Objection("shell", reason)
            return
        try:
            found = effects(command)
        except Unreadable as error:
            yield Objection("shell", f"The command cannot be read as a shell command ({error}).")
            return
        for program in dict.fromkeys(words[0] for words in found.programs):
            if reason := self._tools.objection_to_running(program):
                yield Objection("tool-policy", reason)
        yield from self._effects(found)

    def _effects(self, found: Effects) -> Iterator[Objection | _Look]:
        if len(found.written) + len(found.read) > _MOST_WORDS:
            yield Objection("shell", "The command names too many files: use a pattern, or write a script and run it.")
            return
        written = [path for path in map(self._within, found.written) if path is not None]
        yield from self._may_change(written, _SCRATCH)
        deleted = tuple(path for path in map(self._within, found.deleted) if path is not None)
        read = [self._touched(self._within(path) or path, written=False) for path in found.read]
        yield self._look((*map(self._touched, written), *read), found.programs, deleted)

    # ── what both need ───────────────────────────────────────────────────────────────────────────────────────────

    def _look(
        self,
        files: tuple[Touched, ...],
        commands: tuple[tuple[str, ...], ...] = (),
        deleted: tuple[str, ...] = (),
    ) -> _Look:
        return _Look(Operation(self.profile.type, self.repository, files, commands, len(deleted)), deleted)

    def _touched(self, place: str, *, written: bool = True) -> Touched:
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
        try:
            real = Path(os.path.realpath(root / asked))
        except ValueError:  # no name that a file could have
            return None
        return real.relative_to(root) if real.is_relative_to(root) and real != root else None
