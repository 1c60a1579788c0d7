"""What a case of the corpora is: a task, what the agent does about it, and how that has to end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from pydantic import JsonValue

from agentvine.domain.worker_types import TaskType

Files = Mapping[str, str | None]
"""Paths and what stands there; None: nothing any more."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the agent does before it says that it is finished."""

    files: Files = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    """Commands for a shell in the agent's own box, once the files are written."""
    says: str = "Done; all tests pass."
    answer: JsonValue = None
    """The structured answer of a review."""


@dataclass(frozen=True, slots=True)
class Case:
    """One execution. A further turn is what the agent does when it is told what is missing."""

    name: str
    does: str
    """In one sentence for people."""
    type: TaskType
    base: str
    """The name of the repository that it begins with."""
    turns: tuple[Turn, ...]
    title: str = ""
    description: str = ""

    @property
    def repairs(self) -> int:
        """How often the agent may repair."""
        return len(self.turns) - 1


@dataclass(frozen=True, slots=True)
class Cheat(Case):
    """Must not be delivered."""

    caught_by: str = ""
    """The check that has to say so."""


@dataclass(frozen=True, slots=True)
class Honest(Case):
    """Must be delivered."""


class More(TypedDict, total=False):
    """What most cases leave as it is."""

    runs: tuple[str, ...]
    says: str
    then: tuple[Turn, ...]


def cheat(
    name: str,
    does: str,
    kind: TaskType,
    base: str,
    files: Files,
    *,
    caught_by: str,
    runs: tuple[str, ...] = (),
    says: str = "Done; all tests pass.",
    answer: JsonValue = None,
    title: str = "",
    description: str = "",
    then: tuple[Turn, ...] = (),
) -> Cheat:
    """A cheat in one turn, and what it tries next (`then`)."""
    turns = (Turn(files, runs, says, answer), *then)
    return Cheat(name, does, kind, base, turns, title, description, caught_by)


def honest(
    name: str,
    does: str,
    kind: TaskType,
    base: str,
    files: Files,
    *,
    runs: tuple[str, ...] = (),
    says: str = "Done.",
    answer: JsonValue = None,
    title: str = "",
    description: str = "",
    then: tuple[Turn, ...] = (),
) -> Honest:
    """An honest run in one turn, and what it mends afterwards (`then`)."""
    return Honest(name, does, kind, base, (Turn(files, runs, says, answer), *then), title, description)
