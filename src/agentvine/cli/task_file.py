"""Tasks written down in TOML: one task, or several that name one another.

    type = "bugfix"                          repository = "https://github.com/acme/shop.git"
    title = "Round prices to cents"          branch = "main"
    repository = "https://…/shop.git"
    branch = "main"                          [[task]]
    requirements = ["No float"]              name = "model"
    [budget]                                 type = "feature"
    usd = 2.0                                title = "Store a currency with each price"

                                             [[task]]
                                             name = "docs"
                                             type = "docs"
                                             title = "Explain currencies"
                                             needs = ["model"]

The fields are those of the API's tasks. Beside `[[task]]`, the top of the file holds what all of them share.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from agentvine.cli.failures import invalid
from agentvine.domain.errors import InvalidInput
from agentvine.domain.task import NewTask
from agentvine.wire.messages import NamedTask, TaskBatch

Fields = Mapping[str, object]
_NAMES: TypeAdapter[list[str]] = TypeAdapter(list[str])


@dataclass(frozen=True, slots=True)
class Wish:
    """A task as it was written: `needs` still holds local names and abbreviations."""

    name: str
    fields: Fields
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a file, or a command line, asks for."""

    tasks: tuple[Wish, ...]
    listed: bool
    """True if they were written as a list, and are answered as one."""


def read(content: str, source: str, options: Fields) -> Wishes:
    """The wishes in `content`. `options` fill in what it leaves open. Raises `InvalidInput`."""
    try:
        top = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{source} is not TOML: {error}") from error
    tables = top.pop("task", None)
    if tables is None:
        return Wishes((_wish("task", {**options, **top}, ""),), listed=False)
    if not isinstance(tables, list) or not tables or not all(isinstance(each, dict) for each in tables):
        raise InvalidInput(f"{source}: write each task as a table that starts with the line [[task]]")
    shared = {**options, **top}
    wishes = []
    for number, table in enumerate(tables):
        own = dict(table)
        name = own.pop("name", f"task {number + 1}")
        if not isinstance(name, str) or not name.strip():
            raise InvalidInput(f"{source}: the name of task {number + 1} is not a text")
        wishes.append(_wish(name.strip(), {**shared, **own}, f"/tasks/{number}/task"))
    return Wishes(tuple(wishes), listed=True)


def _wish(name: str, fields: Fields, prefix: str) -> Wish:
    rest = dict(fields)
    try:
        needs = _NAMES.validate_python(rest.pop("needs", []))
    except ValidationError as error:
        raise invalid(error, "'needs' is a list of names and ids", f"{prefix}/needs") from error
    return Wish(name, rest, tuple(needs))


def from_options(options: Fields) -> Wishes:
    """The one wish that the options alone make."""
    return Wishes((_wish("task", options, ""),), listed=False)


def single(wish: Wish, needs: Sequence[str]) -> NewTask:
    """The task of a wish whose needs were found. Raises `InvalidInput` that tells every mistake."""
    return _task(wish, needs, "")


def batch(wishes: Wishes, ids: Mapping[str, str]) -> TaskBatch:
    """All wishes as one submission. `ids` maps each need that is no local name to the id of a task."""
    names = {wish.name for wish in wishes.tasks}
    tasks = [
        NamedTask(
            name=wish.name,
            needs_names=tuple(need for need in wish.needs if need in names),
            task=_task(wish, [ids[need] for need in wish.needs if need not in names], f"/tasks/{number}/task"),
        )
        for number, wish in enumerate(wishes.tasks)
    ]
    try:
        return TaskBatch(tasks=tuple(tasks))
    except ValidationError as error:
        raise invalid(error, "these tasks cannot be submitted together") from error


def foreign(wishes: Wishes) -> tuple[str, ...]:
    """The needs that name no task of the same list."""
    names = {wish.name for wish in wishes.tasks} if wishes.listed else set()
    return tuple(dict.fromkeys(need for wish in wishes.tasks for need in wish.needs if need not in names))


def _task(wish: Wish, needs: Sequence[str], prefix: str) -> NewTask:
    try:
        return NewTask.model_validate({**wish.fields, "needs": tuple(needs)})
    except ValidationError as error:
        raise invalid(error, "the task is not complete, or not as it has to be", prefix) from error
