"""What people say to whoever works on a task."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, TaskArgument, command

if TYPE_CHECKING:
    from agentvine.wire.messages import Comment, NewComment

Words = Annotated[str | None, typer.Argument(metavar="TEXT|-", help="What Claude is to hear; '-' reads it from input.")]
Listed = Annotated[bool, typer.Option("--list", help="Show what was said until now.")]


@command(
    "comment",
    "agentvine comment 7k3m9x2p 'Keep the old name as an alias'",
    "agentvine comment 7k3m9x2p - < review.md",
    "agentvine comment 7k3m9x2p --list",
)
async def comment(
    call: Call, task: TaskArgument, text: Words = None, listed: Listed = False, as_json: Json = False
) -> None:
    """Say something to whoever works on a task: Claude hears it at its next turn.

    Of a task that is over, `agentvine retry TASK --comment TEXT` goes on with a comment.
    """
    from agentvine.cli.names import task_id

    if (text is None) is not listed:
        raise typer.BadParameter("give either a TEXT or --list")
    found = await task_id(call.desk, task)
    if text is None:
        _list(call, await call.desk.comments(found), as_json)
        return
    said = await call.desk.comment(found, _new(text))
    if as_json:
        call.screen.json(said)
    else:
        call.screen.say(said.task_id, f" has comment {said.number}; Claude hears it at its next turn")


def words(given: str) -> str:
    """What was typed, or what is on the input for '-'. Raises InvalidInput if that is no text."""
    from agentvine.domain.errors import InvalidInput

    if given != "-":
        return given
    try:
        return typer.get_binary_stream("stdin").read().decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the comment is not UTF-8 text: {error}") from error


def _new(text: str) -> "NewComment":
    from pydantic import ValidationError

    from agentvine.cli.failures import invalid
    from agentvine.wire.messages import NewComment

    try:
        return NewComment(text=words(text))
    except ValidationError as error:
        raise invalid(error, "this comment cannot be sent") from error


def _list(call: Call, comments: "tuple[Comment, ...]", as_json: bool) -> None:
    from agentvine.cli.render import block
    from agentvine.cli.text import ago

    if as_json:
        call.screen.json(comments)
        return
    for each in comments:
        call.screen.say((f"{each.number}. ", "bold"), (f"{each.author}, {ago(each.at, call.clock.now())}", "dim"))
        call.screen.show(block(each.text, indent=3))
    if not comments:
        call.screen.note(("nobody has said anything of it", "dim"))
