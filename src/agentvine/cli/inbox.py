"""What workers ask people, and the answers."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command

if TYPE_CHECKING:
    from agentvine.domain.request import WorkerRequest

Target = Annotated[
    str, typer.Argument(metavar="TASK|REQUEST", help="A request's id, or the task that waits for it; or enough of one.")
]
All = Annotated[bool, typer.Option("--all", help="Also those that need no answer any more.")]


@command("inbox", "agentvine inbox", "agentvine inbox --json", "agentvine inbox --all")
async def inbox(call: Call, everything: All = False, as_json: Json = False) -> None:
    """List what workers ask, the oldest first."""
    from agentvine.cli.names import requests

    found = [each async for each in requests(call.desk, everything)]
    if as_json:
        call.screen.json(found)
    elif found:
        _list(call, found)
    else:
        call.screen.note(("nobody asks anything", "dim"))


def _list(call: Call, found: "list[WorkerRequest]") -> None:
    from agentvine.cli.render import Column, status
    from agentvine.cli.text import ago, short_id, shortened, until

    now = call.clock.now()
    columns = [
        Column("REQUEST"),
        Column("TASK"),
        Column("KIND"),
        Column("STATUS"),
        Column("ASKED", "right"),
        Column("EXPIRES", "right"),
        Column("MESSAGE", flexible=True),
    ]
    rows = [
        (
            short_id(each.id),
            short_id(each.task_id),
            each.kind.value,
            status(each.status.value),
            ago(each.created_at, now),
            until(each.expires_at, now) if each.status.value == "open" else "",
            shortened(each.message, 300),
        )
        for each in found
    ]
    call.screen.table(columns, rows)
    approval = next((each for each in found if each.kind.value == "approval" and each.status.value == "open"), None)
    if approval is not None:
        task = short_id(approval.task_id)
        call.screen.note(("→ ", "cyan"), (f"agentvine diff {task}; agentvine approve {task}", "dim"))


@command("approve", "agentvine approve 7k3m9x2p", "agentvine approve 7k3m9x2p --message 'Good; mind the changelog'")
async def approve(
    call: Call,
    target: Target,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="Something to tell Claude with it.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Approve what a worker wants to do.

    Such as delivering the result of a human_required task: `agentvine diff` shows it.
    """
    await _respond(call, target, "approved", message, as_json)


@command("deny", "agentvine deny 7k3m9x2p --because 'Keep the old name as an alias'")
async def deny(
    call: Call,
    target: Target,
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="What Claude shall do instead.")] = "",
    as_json: Json = False,
) -> None:
    """Deny what a worker wants to do. Claude goes on with the reason; without one the task ends."""
    await _respond(call, target, "denied", because, as_json)


@command("answer", "agentvine answer 7k3m9x2p 'Round half to even'")
async def answer(
    call: Call,
    target: Target,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The answer.")],
    as_json: Json = False,
) -> None:
    """Answer a worker's question."""
    await _respond(call, target, "answer", text, as_json)


async def _respond(
    call: Call, target: str, verdict: Literal["answer", "approved", "denied"], message: str, as_json: bool
) -> None:
    from pydantic import ValidationError

    from agentvine.cli import names
    from agentvine.cli.failures import invalid
    from agentvine.domain.errors import InvalidInput
    from agentvine.wire.messages import Reply

    kind = "clarification" if verdict == "answer" else "approval"
    request = await names.request(call.desk, target, kind)
    if request.kind.value != kind:
        other = "approve or deny it" if kind == "clarification" else "answer it with `agentvine answer`"
        raise InvalidInput(f"{request.id} is a request for {_ASKS_FOR[request.kind.value]}: {other}")
    try:
        reply = Reply(verdict=verdict, message=message)
    except ValidationError as error:
        raise invalid(error, "this answer cannot be sent") from error
    done = await call.desk.respond(request.id, reply)
    if as_json:
        call.screen.json(done)
    else:
        call.screen.say(done.id, f" {_DONE[verdict]}; task {done.task_id} goes on")


_ASKS_FOR = {"clarification": "an answer", "approval": "approval"}
_DONE = {"answer": "answered", "approved": "approved", "denied": "denied"}
