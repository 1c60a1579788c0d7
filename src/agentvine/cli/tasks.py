"""Tasks: listed, shown, ended and begun again."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, TaskArgument, command
from agentvine.domain.worker_types import TaskType

if TYPE_CHECKING:
    from agentvine.domain.task import Task
    from agentvine.domain.work_order import WorkOrder
    from agentvine.wire.messages import Retry, TaskDetail, TaskFilter

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many, the newest first.")]


@command(
    "tasks",
    "agentvine tasks",
    "agentvine tasks --status failed --type bugfix",
    "agentvine tasks --repo https://github.com/acme/shop.git --limit 200 --json",
)
async def tasks(
    call: Call,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="Such as pending, running, waiting or failed.")
    ] = None,
    type: Annotated[TaskType | None, typer.Option("--type", help="Only this type.")] = None,
    repo: Annotated[str | None, typer.Option("--repo", metavar="URL", help="Only this repository.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List tasks, the newest first."""
    from agentvine.cli.names import recent_tasks

    which = _filter(status, type, repo)
    found = [task async for task in recent_tasks(call.desk, limit, which)]
    if as_json:
        call.screen.json(found)
    elif found:
        _list(call, found)
        if len(found) == limit:
            call.screen.note((f"the newest {limit}; --limit {limit * 4} shows more", "dim"))
    else:
        call.screen.note(("no task fits; `agentvine submit --help` shows how to make one", "dim"))


def _filter(status: str | None, type: TaskType | None, repo: str | None) -> "TaskFilter":
    from pydantic import ValidationError

    from agentvine.cli.failures import invalid
    from agentvine.domain.errors import InvalidInput
    from agentvine.domain.task import TaskStatus
    from agentvine.wire.messages import TaskFilter

    if status is not None and status not in set(TaskStatus):
        raise InvalidInput(f"there is no status '{status}'; write one of {', '.join(TaskStatus)}")
    try:
        return TaskFilter(status=status, type=type, repository=repo)
    except ValidationError as error:
        raise invalid(error, "tasks cannot be filtered by this") from error


def _list(call: Call, found: list["Task"]) -> None:
    from agentvine.cli.render import Column, status
    from agentvine.cli.text import ago, repository_name, short_id

    now = call.clock.now()
    columns = [
        Column("TASK"),
        Column("TYPE"),
        Column("STATUS"),
        Column("TITLE", flexible=True),
        Column("REPOSITORY", flexible=True),
        Column("SUBMITTED", "right"),
    ]
    rows = [
        (
            short_id(task.id),
            task.asked.type.value,
            status(task.status.value),
            task.asked.title,
            repository_name(task.asked.repository),
            ago(task.created_at, now),
        )
        for task in found
    ]
    call.screen.table(columns, rows)


@command("show", "agentvine show 7k3m9x2p", "agentvine show tsk_01k9zq4r8w6x5v3n2m1b0c9d8f --json")
async def show(call: Call, task: TaskArgument, as_json: Json = False) -> None:
    """Show a task and what became of it."""
    from agentvine.cli.names import task_id
    from agentvine.cli.sheet import draw

    detail = await call.desk.task(await task_id(call.desk, task))
    if as_json:
        call.screen.json(detail)
    else:
        draw(call.screen, detail, call.clock.now())
        await _tell_of_the_sandbox(call, detail)


async def _tell_of_the_sandbox(call: Call, detail: "TaskDetail") -> None:
    """Say so if the agent was confined by nothing."""
    from agentvine.domain.errors import NotFound

    for execution in reversed(detail.executions):
        try:
            found = await call.desk.evidence(execution.id)
        except NotFound:
            continue
        if found.sandbox == "none":
            call.screen.note(("without a sandbox: the agent could do on that host what its worker can", "yellow"))
        return


@command("cancel", "agentvine cancel 7k3m9x2p", "agentvine cancel tsk_01k9zq4r8w6x5v3n2m1b0c9d8f --json")
async def cancel(call: Call, task: TaskArgument, as_json: Json = False) -> None:
    """End a task that is not over. A worker on it stops and leaves nothing behind."""
    from agentvine.cli.names import task_id

    order = await call.desk.cancel(await task_id(call.desk, task))
    _changed(call, order, as_json, "cancelled")


@command(
    "retry",
    "agentvine retry 7k3m9x2p",
    "agentvine retry 7k3m9x2p --comment 'Also for refunds'",
    "agentvine retry tsk_01k9zq4r8w6x5v3n2m1b0c9d8f --json",
)
async def retry(
    call: Call,
    task: TaskArgument,
    comment: Annotated[
        str | None,
        typer.Option("--comment", metavar="TEXT|-", help="What is to be different; '-' reads it from input."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Reopen a failed task, with all attempts anew.

    With a comment Claude goes on with its conversation and hears that first. A completed task stays as it is; with a
    comment a new one follows it, on the branch that it delivered.
    """
    from agentvine.cli.names import task_id

    found = await task_id(call.desk, task)
    order = await call.desk.retry(found, _retry(comment))
    _changed(call, order, as_json, "queued again" if order.task_id == found else f"follows {found}")


def _retry(comment: str | None) -> "Retry | None":
    from pydantic import ValidationError

    from agentvine.cli.comment import words
    from agentvine.cli.failures import invalid
    from agentvine.wire.messages import Retry

    try:
        return None if comment is None else Retry(comment=words(comment))
    except ValidationError as error:
        raise invalid(error, "this comment cannot be sent") from error


def _changed(call: Call, order: "WorkOrder", as_json: bool, what: str) -> None:
    if as_json:
        call.screen.json(order)
    else:
        call.screen.say(order.task_id, f" {what}")


@command("diff", "agentvine diff 7k3m9x2p", "agentvine diff 7k3m9x2p | git apply --check")
async def diff(call: Call, task: TaskArgument) -> None:
    """Print a task's result as a unified diff.

    On a terminal it is coloured and cleaned; into a file or a pipe it goes as it is. While there is no result: what had
    been changed when something was asked last.
    """
    from agentvine.cli.results import latest, print_diff
    from agentvine.domain.errors import NotFound

    try:
        found = await latest(call.desk, task, "diff", call.desk.diff)
    except NotFound as none_yet:
        try:
            found = await latest(call.desk, task, "diff", lambda execution: call.desk.diff(execution, draft=True))
        except NotFound:
            raise none_yet from None
        call.screen.note(("this is no result: what was changed so far, when something was asked last", "yellow"))
    print_diff(call.screen, found)
