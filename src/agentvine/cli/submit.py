"""Submits tasks, from options or from a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command
from agentvine.cli.failures import OPTIONS
from agentvine.cli.wait import Timeout, exit_code, report, watch
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.worker_types import TaskType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentvine.cli.task_file import Fields, Wishes
    from agentvine.domain.task import Task

Type = Annotated[TaskType | None, typer.Option("--type", help="What kind of work it is.")]
Repo = Annotated[str | None, typer.Option("--repo", metavar="URL", help="The repository to work on.")]
Branch = Annotated[
    str | None,
    typer.Option(
        "--branch",
        metavar="NAME",
        help="Where the work starts, and an autonomous result goes.",
        show_default="the repository's",
    ),
]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="What is wanted, in one line.")]
Description = Annotated[
    str | None,
    typer.Option("--description", metavar="TEXT", help="All that Claude should know; '-' reads it from input."),
]
Permission = Annotated[
    PermissionLevel | None,
    typer.Option("--permission", help="How far the worker may go; else as its type usually may."),
]
Queue = Annotated[
    str | None, typer.Option("--queue", metavar="NAME", help="One of high_priority, default and low_priority.")
]
Priority = Annotated[
    int | None, typer.Option("--priority", metavar="NUMBER", help="Higher goes first within a queue; 0 if not given.")
]
Requirement = Annotated[
    list[str] | None, typer.Option("--requirement", metavar="TEXT", help="Something that must hold; may be repeated.")
]
Needs = Annotated[
    list[str] | None, typer.Option("--needs", metavar="TASK", help="A task to complete before; may be repeated.")
]
Specialization = Annotated[
    list[str] | None, typer.Option("--specialization", metavar="WORD", help="What a worker must know; may be repeated.")
]
BudgetUsd = Annotated[
    float | None, typer.Option("--budget-usd", metavar="DOLLARS", help="The most that the model may cost, all in all.")
]
MaxTurns = Annotated[
    int | None, typer.Option("--max-turns", metavar="NUMBER", help="The most turns of one Claude Code run.")
]
Host = Annotated[
    list[str] | None,
    typer.Option(
        "--host", metavar="HOST:PORT", help="What its sandbox may reach, if its worker offers it; repeatable."
    ),
]
File = Annotated[
    Path | None, typer.Option("--file", "-f", metavar="FILE", help="A TOML file with the task, or a list of [[task]].")
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="KEY", help="Submitting again with the same key does nothing."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Then wait for it, with the exit codes of `agentvine wait`.")]


@command(
    "submit",
    "agentvine submit --type bugfix --repo https://github.com/acme/shop.git --branch main --title 'Prices lose a cent'",
    "agentvine submit --type docs --repo file:///srv/shop.git --branch main --title 'Explain refunds' "
    "--requirement 'Name every error code' --description - --wait < notes.txt",
    "agentvine submit --type feature --repo https://github.com/acme/shop.git --branch main --title 'Gift cards' "
    "--permission human_required --needs 7k3m9x2p --budget-usd 3 --json",
    "agentvine submit --file plan.toml --wait --timeout 3600",
)
async def submit(
    call: Call,
    type: Type = None,
    repo: Repo = None,
    branch: Branch = None,
    title: Title = None,
    description: Description = None,
    permission: Permission = None,
    priority: Priority = None,
    queue: Queue = None,
    requirement: Requirement = None,
    needs: Needs = None,
    specialization: Specialization = None,
    budget_usd: BudgetUsd = None,
    max_turns: MaxTurns = None,
    host: Host = None,
    file: File = None,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Submit a task; prints its id.

    With --file the tasks come from a TOML file: one task, or a list of [[task]] tables that are accepted together and
    may need one another by name. Options then fill in what the file leaves open.
    """
    budget = {name: value for name, value in (("usd", budget_usd), ("turns", max_turns)) if value is not None}
    fields = {
        "type": type,
        "repository": repo,
        "branch": branch,
        "title": title,
        "description": _described(description),
        "permission_level": permission,
        "priority": priority,
        "queue": queue,
        "requirements": requirement,
        "needs": needs,
        "specializations": specialization,
        "budget": budget,
        "hosts": host,
    }
    given = {name: value for name, value in fields.items() if value is not None and value != [] and value != {}}
    wishes = _wishes(file, given)
    tasks = await _accepted(call, wishes, idempotency_key)
    if not as_json:
        from agentvine.cli.workers import tell_who_is_missing

        await tell_who_is_missing(call, {task.asked.type for task in tasks})
    if wait:
        await _wait(call, tasks, timeout, as_json, wishes.listed)
    else:
        _tell(call, tasks, as_json, wishes.listed)


def _described(given: str | None) -> str | None:
    return _text(typer.get_binary_stream("stdin").read(), "the description") if given == "-" else given


def _text(content: bytes, what: str) -> str:
    from agentvine.domain.errors import InvalidInput

    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{what} is not UTF-8 text: {error}") from error


def _wishes(file: Path | None, options: "Fields") -> "Wishes":
    from agentvine.cli import task_file
    from agentvine.domain.errors import InvalidInput

    if file is None:
        missing = [OPTIONS[name] for name in ("type", "repository", "title") if name not in options]
        if missing:
            raise typer.BadParameter(f"still needed: {', '.join(missing)} (or a task file, with --file)")
        return task_file.from_options(options)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    return task_file.read(_text(content, str(file)), str(file), options)


async def _accepted(call: Call, wishes: "Wishes", idempotency_key: str | None) -> "tuple[Task, ...]":
    from agentvine.cli import task_file
    from agentvine.cli.names import task_id
    from agentvine.domain.errors import InvalidInput

    if wishes.listed and idempotency_key is not None:
        raise InvalidInput("an idempotency key goes with one task; a list of [[task]] has none")
    ids = {need: await task_id(call.desk, need) for need in task_file.foreign(wishes)}
    if wishes.listed:
        return await call.desk.submit_all(task_file.batch(wishes, ids))
    wish = wishes.tasks[0]
    task = task_file.single(wish, [ids[need] for need in wish.needs])
    return (await call.desk.submit(task, idempotency_key),)


def _tell(call: Call, tasks: "Sequence[Task]", as_json: bool, listed: bool) -> None:
    from agentvine.cli.text import short_id, shortened

    if as_json:
        call.screen.json(tasks if listed else tasks[0])
        return
    for task in tasks:
        call.screen.say(task.id)
        words = f"{task.asked.type.value}, {task.permission_level.value}, {task.status.value}: "
        call.screen.note((words, "dim"), shortened(task.asked.title, 100))
    call.screen.note(("→ ", "cyan"), (f"agentvine logs -f {short_id(tasks[0].id)}", "dim"))


async def _wait(call: Call, tasks: "Sequence[Task]", timeout: float | None, as_json: bool, listed: bool) -> None:
    details = await watch(call, [task.id for task in tasks], timeout)
    ended = [detail.task for detail in details]
    if as_json:
        call.screen.json(ended if listed else ended[0])
    else:
        report(call, details)
    if code := exit_code([task.status.value for task in ended]):
        raise typer.Exit(code)
