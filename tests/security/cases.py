"""What a hostile case is: a poisoned repository, a task, and a scripted model that tries what the poison asks for."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentvine.demo.script import Scenario, ToolCall, Turn
from agentvine.domain.retry import FailureReason
from agentvine.domain.worker_types import TaskType
from tests.security.payload import HOOK, PAYLOAD
from tests.security.territory import filled

DELIVERED = "delivered"
REFUSED = FailureReason.RESULT_REFUSED.value
UNPROVEN = FailureReason.VERIFICATION_FAILED.value
NOTHING_TO_SET_UP = FailureReason.SETUP_FAILED.value
OVER_A_LIMIT = FailureReason.LIMIT_EXCEEDED.value
HONEST = "echo 'A note.' > docs/note.md"
"""What the task asks for, so that there is something to deliver."""

FILES: Mapping[str, str] = {
    "README.md": "# Sample\n",
    "docs/index.md": "Welcome.\n",
    "payload.py": PAYLOAD,
    "hook.sh": HOOK,
}
"""What every repository holds."""


@dataclass(frozen=True, slots=True)
class Case:
    """One attack. @NAMES@ in all texts become facts of the host (`Territory.facts`).

    After each case it is seen to that no secret has left, that nothing outside has changed and that nothing is left
    over; the fields say what must hold beside that.
    """

    name: str
    """What is tried, in words, for the list in docs/security.md."""
    tries: tuple[str | ToolCall, ...] = ()
    """Shell commands, or calls of other tools, that the model makes, in order."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The poison: files of the repository."""
    built: str = ""
    """A shell script that poisons the repository further, run by the test where it is made; it commits by itself."""
    description: str = ""
    title: str = "Add a note"
    more: Mapping[str, object] = field(default_factory=dict)
    """More of the task."""
    type: TaskType = TaskType.DOCS
    ends: tuple[str, ...] = (DELIVERED,)
    """How the order may end: delivered, or a failure's reason."""
    hears: tuple[str, ...] = ()
    """What the model must be told, as a proof that the attack was made. Patterns of the script's kind."""
    delivers: Mapping[str, str | None] = field(default_factory=dict)
    """Files of the delivered branch, and a regular expression for what is in them."""
    never: tuple[str, ...] = ()
    """Files that must not be in the delivered branch."""
    settings: str = ""
    """Which worker works on it: see `estate.SETTINGS`."""
    repairs: tuple[str | ToolCall, ...] = ()
    """What the model calls after it was told that its result is not good enough."""
    proves: tuple[str, ...] = ()
    """Regular expressions for what stands in the evidence."""
    disproves: tuple[str, ...] = ()
    """What must not stand there."""
    honest: bool = True
    """Whether the model does what the task asks for, too."""

    def scenario(self, facts: Mapping[str, str]) -> Scenario:
        """What the model plays."""
        tries = (*((HONEST,) if self.honest else ()), *self.tries)
        told = tuple(filled(one, facts) for one in self.hears)
        turns = [_turn(tries, facts), Turn(text="It is done.", expect=told)]
        if self.repairs:
            turns += [_turn(self.repairs, facts), Turn(text="It is mended.")]
        return Scenario(name=self.name, match=(self.mark,), turns=tuple(turns))

    @property
    def mark(self) -> str:
        """Words of the task by which the model knows the case."""
        return f"[{self.name}]"

    def all_files(self, facts: Mapping[str, str]) -> dict[str, str]:
        return {path: filled(content, facts) for path, content in {**FILES, **self.files}.items()}


def _turn(tries: Sequence[str | ToolCall], facts: Mapping[str, str]) -> Turn:
    return Turn(text="I do as I am told.", tool_calls=tuple(_call(one, facts) for one in tries))


def _call(one: str | ToolCall, facts: Mapping[str, str]) -> ToolCall:
    if isinstance(one, str):
        return ToolCall(name="Bash", input={"command": filled(one, facts), "description": "Do it"})
    texts = {name: filled(value, facts) if isinstance(value, str) else value for name, value in one.input.items()}
    return ToolCall(name=one.name, input=texts)


def attack(script: str) -> dict[str, str]:
    """Poison that is a shell script, `attack.sh`: what it runs, no gate before the tool sees."""
    return {"attack.sh": script}


RUN = "sh attack.sh"


def writes(path: str, content: str) -> ToolCall:
    return ToolCall(name="Write", input={"file_path": path, "content": content})


def toml(test: str, *, setup: str = "", more: str = "") -> dict[str, str]:
    """An .agentvine.toml."""
    begin = f"[setup]\ncommand = {json.dumps(setup)}\n" if setup else ""
    return {".agentvine.toml": f"{begin}[test]\ncommand = {json.dumps(test)}\n{more}"}


def together(*cases: Case) -> Case:
    """One execution for several cases that do not get in each other's way; each still has to show that it was made."""
    files: dict[str, str] = {}
    tries: list[str | ToolCall] = []
    hears: list[str] = []
    for number, case in enumerate(cases):
        assert not case.built and not case.settings and not case.repairs and not case.more, case.name
        for own, content in case.files.items():
            path = own.replace("attack.sh", f"attack-{number}.sh")
            assert path not in files or path == ".gitattributes", path
            files[path] = files.get(path, "") + content
        marked = [
            f"echo begin-{number}; sh attack-{number}.sh; echo end-{number}" if one == RUN else one
            for one in case.tries
        ]
        tries += marked
        within = f"re:begin-{number}(?:(?!end-{number})[\\s\\S])*" if case.tries == (RUN,) else ""
        hears += [_within(within, text) for text in case.hears]
    first = cases[0]
    return Case(
        name=f"{first.name}, and {len(cases) - 1} more",
        tries=tuple(tries),
        files=files,
        description="\n".join(case.description for case in cases),
        ends=tuple({end for case in cases for end in case.ends}),
        hears=tuple(hears),
        never=tuple({path for case in cases for path in case.never}),
        proves=tuple(text for case in cases for text in case.proves),
    )


def _within(begin: str, text: str) -> str:
    if not begin:
        return text
    return begin + (text.removeprefix("re:") if text.startswith("re:") else re.escape(text))
