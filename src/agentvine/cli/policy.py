"""The controller's policy file: checked before a server reads it, and tried on what workers have asked until now."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import REFUSED, Command, Json, command

if TYPE_CHECKING:
    from agentvine.domain.policy import Policy

File = Annotated[Path, typer.Argument(metavar="FILE", help="The TOML file that AGENTVINE_SERVER_POLICY names.")]
History = Annotated[bool, typer.Option("--against-history", help="Try it on the requests that the server knows.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many, the latest.")]


def _check(file: File, as_json: Json = False) -> None:
    """Tell every mistake in a policy file. Needs no server.

    Exit codes: 0 a server can use it; 1 it cannot, and each mistake is told with its place and what to write.
    """
    from agentvine.cli.text import clean_line
    from agentvine.domain.policy import PolicyMistakes

    try:
        names = [rule.name for rule in _read(file).rule]
        mistakes: tuple[str, ...] = ()
    except PolicyMistakes as error:
        names, mistakes = [], error.mistakes
    if as_json:
        print(json.dumps({"rules": names, "mistakes": mistakes}, indent=2))
    else:
        for mistake in mistakes:
            print(f"{file}: {clean_line(mistake)}", file=sys.stderr)
    if mistakes:
        raise typer.Exit(REFUSED)
    if not as_json:
        print(f"{file} can be used; its rules are {', '.join(names)}" if names else f"{file} can be used; it is empty")


check = Command("check", _check, ("agentvine policy check policy.toml", "agentvine policy check policy.toml --json"))


@command(
    "test",
    "agentvine policy test policy.toml --against-history",
    "agentvine policy test policy.toml --against-history --limit 1000 --json",
)
async def test(
    call: Call, file: File, against_history: History = False, limit: Limit = 200, as_json: Json = False
) -> None:
    """Show what a policy file would have decided, next to what was decided and by whom. Nothing is changed."""
    from agentvine.cli import policy_trial
    from agentvine.domain.errors import InvalidInput
    from agentvine.domain.policy import PolicyMistakes

    if not against_history:
        raise typer.BadParameter("say what to try it on: --against-history", param_hint="--against-history")
    try:
        policy = _read(file)
    except PolicyMistakes as error:
        mistakes = [{"pointer": "", "message": mistake} for mistake in error.mistakes]
        raise InvalidInput(f"{file} cannot be used", errors=mistakes) from None
    found = await policy_trial.judged(call.desk, policy, limit)
    if as_json:
        call.screen.json(found)
    elif found:
        policy_trial.draw(call.screen, found, call.clock.now())
    else:
        call.screen.note(("no worker has asked anything yet", "dim"))


def _read(file: Path) -> "Policy":
    from agentvine.domain.policy import PolicyMistakes, parse

    try:
        return parse(file.read_bytes())
    except OSError as error:
        raise PolicyMistakes(f"it cannot be read: {error.strerror}") from None
