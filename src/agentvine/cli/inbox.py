"""What workers ask people, and the answers."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command
from agentvine.cli.responding import AnyType, Edit, Everywhere, Extras, For, Input, Remember

if TYPE_CHECKING:
    from agentvine.domain.request import WorkerRequest
    from agentvine.wire.messages import Asked

ABOUT = """List what workers ask. Who waits longest comes first.

With --watch it goes on until Ctrl-C: each request as it comes, and what becomes of it; with --json as well, each is an
object on a line of its own.
"""
FIRST = 20
"""How many a list shows unless it is told otherwise."""
_PAGE = 200

Target = Annotated[
    str, typer.Argument(metavar="TASK|REQUEST", help="A request's id, or the task that waits for it; or enough of one.")
]
All = Annotated[bool, typer.Option("--all", help=f"All of them, not only the first {FIRST}.")]
History = Annotated[bool, typer.Option("--history", help="Also those that need no answer any more, as a table.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on: each as it comes, and what becomes of it.")]


@command(
    "inbox",
    "agentvine inbox",
    "agentvine inbox --watch",
    "agentvine inbox --watch --json",
    "agentvine inbox --history",
)
async def inbox(
    call: Call, everything: All = False, history: History = False, watch: Watch = False, as_json: Json = False
) -> None:
    """As `ABOUT` says."""
    if watch:
        from agentvine.cli import inbox_watch

        await inbox_watch.watch(call, as_json)
    elif history:
        await _history(call, as_json)
    else:
        await _waiting(call, everything or as_json, as_json)


@command("show", "agentvine inbox show 7k3m9x2p", "agentvine inbox show 7k3m9x2p --json")
async def show(call: Call, target: Target, as_json: Json = False) -> None:
    """Show all that one needs in order to answer.

    The question in full, its options, the exact call that waits, and what has been changed so far.
    """
    from pydantic import JsonValue

    from agentvine.cli import names
    from agentvine.cli.asked import page
    from agentvine.cli.render import plain_json

    request = await names.request(call.desk, target, "")
    detail = await call.desk.task(request.task_id)
    diff = await _changed_so_far(call, request)
    if as_json:
        shown: JsonValue = {
            "request": request.model_dump(mode="json"),
            "task": detail.task.model_dump(mode="json"),
            "diff": diff,
        }
        call.screen.raw(plain_json(shown, indent=2))
    else:
        page(call.screen, request, detail, diff, call.clock.now())


async def _changed_so_far(call: Call, request: "WorkerRequest") -> str | None:
    """The result whose delivery is asked for, or the draft. None if neither could be made."""
    from agentvine.domain.errors import NotFound

    delivery = request.kind.value == "approval" and request.call is None
    try:
        return await call.desk.diff(request.execution_id, draft=not delivery)
    except NotFound:
        return None


async def _waiting(call: Call, everything: bool, as_json: bool) -> None:
    from agentvine.cli.asked import entry, how_to_answer
    from agentvine.cli.text import short_id

    found: list[Asked] = []
    cursor: str | None = None
    while True:
        page = await call.desk.inbox(cursor, _PAGE if everything else FIRST)
        found += page.items
        cursor = page.next_cursor
        if cursor is None or not everything:
            break
    if as_json:
        call.screen.json([each.request for each in found])
        return
    if not found:
        call.screen.note(("nobody asks anything", "dim"))
        return
    now = call.clock.now()
    for each in found:
        entry(call.screen, each, now)
    if page.total > len(found):
        call.screen.note((f"and {page.total - len(found)} more; --all shows them", "dim"))
    name = short_id(found[0].request.id)
    call.screen.note(
        ("\u2192 ", "cyan"), (f"agentvine inbox show {name}; {how_to_answer(found[0].request, name)}", "dim")
    )


async def _history(call: Call, as_json: bool) -> None:
    from agentvine.cli.names import requests

    found = [each async for each in requests(call.desk, everything=True)]
    if as_json:
        call.screen.json(found)
    elif found:
        _list(call, found)
    else:
        call.screen.note(("nobody has asked anything yet", "dim"))


def _list(call: Call, found: "list[WorkerRequest]") -> None:
    from agentvine.cli.render import Column, status
    from agentvine.cli.text import ago, short_id, shortened

    now = call.clock.now()
    columns = [
        Column("REQUEST"),
        Column("TASK"),
        Column("KIND"),
        Column("STATUS"),
        Column("ASKED", "right"),
        Column("MESSAGE", flexible=True),
        Column("RESPONSE", flexible=True),
    ]
    rows = [
        (
            short_id(each.id),
            short_id(each.task_id),
            each.kind.value,
            status(each.status.value),
            ago(each.created_at, now),
            shortened(each.message, 300),
            shortened(f"{each.response.made_by}: {each.response.message}", 300) if each.response else "",
        )
        for each in found
    ]
    call.screen.table(columns, rows)


@command(
    "approve",
    "agentvine approve 7k3m9x2p",
    "agentvine approve 7k3m9x2p --message 'Good; mind the changelog'",
    "agentvine approve 7k3m9x2p --edit",
    "agentvine approve 7k3m9x2p --input call.json --remember --for 90d",
)
async def approve(
    call: Call,
    target: Target,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="Something to tell Claude with it.")
    ] = "",
    edit: Edit = False,
    input_file: Input = None,
    remember: Remember = False,
    any_type: AnyType = False,
    everywhere: Everywhere = False,
    lasts: For = None,
    as_json: Json = False,
) -> None:
    """Approve what a worker wants to do.

    Such as delivering the result of a human_required task: `agentvine diff` shows it. A call is made as it was asked
    for, or with another input, which Claude is told.
    """
    extras = Extras(remember, any_type, everywhere, lasts, edit, input_file)
    await _respond(call, target, "approved", message, as_json, extras)


@command(
    "deny",
    "agentvine deny 7k3m9x2p --because 'Keep the old name as an alias'",
    "agentvine deny 7k3m9x2p --because 'Not that package' --remember --any-type",
)
async def deny(
    call: Call,
    target: Target,
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="What Claude shall do instead.")] = "",
    remember: Remember = False,
    any_type: AnyType = False,
    everywhere: Everywhere = False,
    lasts: For = None,
    as_json: Json = False,
) -> None:
    """Deny what a worker wants to do. Claude goes on with the reason; without one the task ends."""
    await _respond(call, target, "denied", because, as_json, Extras(remember, any_type, everywhere, lasts))


@command(
    "answer",
    "agentvine answer 7k3m9x2p 'Round half to even'",
    "agentvine answer 7k3m9x2p 2",
    "agentvine answer 7k3m9x2p 2 --text",
    "agentvine answer 7k3m9x2p 'Always EUR' --remember --everywhere --for 90d",
)
async def answer(
    call: Call,
    target: Target,
    text: Annotated[str, typer.Argument(metavar="TEXT|NUMBER", help="The answer, or the number of an option.")],
    literal: Annotated[bool, typer.Option("--text", help="It is the answer itself, though it is a number.")] = False,
    remember: Remember = False,
    any_type: AnyType = False,
    everywhere: Everywhere = False,
    lasts: For = None,
    as_json: Json = False,
) -> None:
    """Answer a worker's question.

    A number is the option of that number, if the question has one; with --text it is the answer itself.
    """
    extras = Extras(remember, any_type, everywhere, lasts)
    await _respond(call, target, "answer", text, as_json, extras, literal=literal)


def chosen(request: "WorkerRequest", text: str) -> str:
    """The option whose number `text` is, or `text` itself. Raises `InvalidInput` for a number that no option has."""
    from agentvine.domain.errors import InvalidInput

    number = text.strip()
    if not number:
        raise InvalidInput("the answer is empty, and the first answer stands: write what Claude shall be told")
    if not request.options or not (number.isascii() and number.isdecimal()) or len(number) > 3:
        return text
    if 1 <= int(number) <= len(request.options):
        return request.options[int(number) - 1]
    last = len(request.options)
    raise InvalidInput(f"the options are numbered 1 to {last}; if {number} is the answer itself, add --text")


async def _respond(
    call: Call,
    target: str,
    verdict: Literal["answer", "approved", "denied"],
    message: str,
    as_json: bool,
    extras: Extras,
    *,
    literal: bool = True,
) -> None:
    from pydantic import ValidationError

    from agentvine.cli import names
    from agentvine.cli.failures import invalid
    from agentvine.cli.responding import tell
    from agentvine.domain.errors import InvalidInput
    from agentvine.wire.messages import Reply

    wanted = extras.remembered()
    kind = "clarification" if verdict == "answer" else "approval"
    request = await names.request(call.desk, target, kind)
    if request.kind.value != kind:
        other = "approve or deny it" if kind == "clarification" else "answer it with `agentvine answer`"
        raise InvalidInput(f"{request.id} is a request for {_ASKS_FOR[request.kind.value]}: {other}")
    if not literal:
        message = chosen(request, message)
    try:
        changed = await extras.changed_input(request)
        reply = Reply(verdict=verdict, message=message, changed_input=changed, remember=wanted)
    except ValidationError as error:
        raise invalid(error, "this answer cannot be sent") from error
    done = await call.desk.respond(request.id, reply)
    if as_json:
        call.screen.json(done)
    else:
        tell(call, done)


_ASKS_FOR = {"clarification": "an answer", "approval": "approval"}
