"""What goes with an answer: another input for the call, and for what it is to be remembered; and what became of it."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.domain.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agentvine.cli.call import Call
    from agentvine.domain.precedent import Remember as Wanted
    from agentvine.domain.request import ToolUse, WorkerRequest

Remember = Annotated[
    bool, typer.Option("--remember", help="Settle the like with it, for tasks of this type in this repository.")
]
AnyType = Annotated[bool, typer.Option("--any-type", help="With --remember: for tasks of any type.")]
Everywhere = Annotated[bool, typer.Option("--everywhere", help="With --remember: in any repository.")]
For = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="With --remember: for so long, such as 90d or 12h; 30d.")
]
Edit = Annotated[bool, typer.Option("--edit", help="Change the input of the call in $EDITOR first.")]
Input = Annotated[
    str | None,
    typer.Option("--input", metavar="FILE|-", help="Make the call with the input in this JSON file instead."),
]
_LARGEST = 1024 * 1024
_DONE = {"answer": "answered", "approved": "approved", "denied": "denied"}
_HAPPENED = {
    "decide": "Claude was told to decide itself",
    "deny": "Claude was told that nobody agreed",
    "fail": "the task failed",
}


@dataclass(frozen=True, slots=True)
class Extras:
    """What was said besides the answer itself."""

    remember: bool = False
    any_type: bool = False
    everywhere: bool = False
    lasts: str | None = None
    edit: bool = False
    source: str | None = None

    def remembered(self) -> "Wanted | None":
        """Where the answer is to be remembered, and how long. Raises a usage error for what makes no sense."""
        if not self.remember:
            given = {"--any-type": self.any_type, "--everywhere": self.everywhere, "--for": self.lasts is not None}
            for option, is_given in given.items():
                if is_given:
                    raise typer.BadParameter("is only for an answer that is remembered: --remember", param_hint=option)
            return None
        from pydantic import ValidationError

        from agentvine.cli.keys import seconds
        from agentvine.domain.precedent import Remember as Wanted

        lasts = {} if self.lasts is None else {"for_seconds": seconds(self.lasts, "--for")}
        try:
            return Wanted(any_type=self.any_type, everywhere=self.everywhere, **lasts)
        except ValidationError:
            raise typer.BadParameter("write a time between 1s and 365d", param_hint="--for") from None

    async def changed_input(self, request: "WorkerRequest") -> "dict[str, JsonValue] | None":
        """The input with which the call is to be made instead. Raises `InvalidInput` if nothing is to be sent."""
        if not self.edit and self.source is None:
            return None
        if self.edit and self.source is not None:
            raise typer.BadParameter("give the input, or edit it, not both", param_hint="--input")
        if request.call is None:
            raise InvalidInput(f"{request.id} is about a whole result; there is no call whose input could be changed")
        if self.source is not None:
            return _read(self.source)
        return await _edited(request.call)


def _read(source: str) -> "dict[str, JsonValue]":
    try:
        if source == "-":
            content = typer.get_binary_stream("stdin").read(_LARGEST + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(_LARGEST + 1)
    except OSError as error:
        raise InvalidInput(f"{source} cannot be read: {error.strerror}; nothing was sent") from None
    return _object(content, "the input" if source == "-" else source)


async def _edited(call: "ToolUse") -> "dict[str, JsonValue]":
    from agentvine.cli.settings import environment
    from agentvine.kit.process import ProcessNotFound, at_terminal

    surroundings = environment()
    editor = surroundings.get("VISUAL") or surroundings.get("EDITOR") or "vi"
    with TemporaryDirectory(prefix="agentvine-") as folder:
        path = Path(folder) / "input.json"
        path.write_text(json.dumps(call.input, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        try:
            code = await at_terminal([*shlex.split(editor), str(path)], env=surroundings)
        except (ProcessNotFound, ValueError) as error:
            raise InvalidInput(f"the editor {editor!r} cannot be started ({error}); set EDITOR") from None
        if code:
            raise InvalidInput(f"the editor ended with {code}; nothing was sent")
        changed = _object(path.read_bytes(), "the edited input")
    if changed == call.input:
        raise InvalidInput("the input is unchanged, so nothing was sent; to approve it as it is, leave out --edit")
    return changed


def _object(content: bytes, what: str) -> "dict[str, JsonValue]":
    if len(content) > _LARGEST:
        raise InvalidInput(f"{what} is larger than {_LARGEST} bytes; nothing was sent")
    if not content.strip():
        raise InvalidInput(f"{what} is empty; nothing was sent")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{what} is no JSON: {error}; nothing was sent") from None
    if not isinstance(found, dict):
        raise InvalidInput(f'{what} is no JSON object, such as {{"command": "…"}}; nothing was sent')
    return found


def tell(call: "Call", done: "WorkerRequest") -> None:
    """What became of an answer that was sent."""
    if done.status.value != "expired" or done.response is None:
        verdict = _DONE[done.response.verdict] if done.response else done.status.value
        call.screen.say(done.id, f" {verdict}; task {done.task_id} goes on")
        return
    happened = _HAPPENED[done.unanswered.value]
    call.screen.say(done.id, f": this came too late. Nobody had answered in time, and {happened}.")
    then = f"`agentvine retry {done.task_id}` goes on with it" if done.unanswered.value == "fail" else ""
    call.screen.note((f"It is kept, for if the same is asked again{'; ' + then if then else ''}.", "dim"))
