"""Removes what is old, and lifts a model limit by hand."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command

if TYPE_CHECKING:
    from agentvine.wire.administration import Prunable, Pruned

_UNITS = {"h": 3600, "d": 86_400, "w": 604_800}
_WHAT = ("orders", "transcripts", "artifacts", "workers", "events")
_SUMMED = ("orders", "executions", "transcript_entries", "artifacts", "artifact_bytes", "workers", "events")
_FILES = ("files", "file_bytes")

Older = Annotated[str, typer.Option("--older-than", metavar="AGE", help="Such as 30d, 12h or 8w; at least an hour.")]
What = Annotated[
    list[str] | None, typer.Option("--what", metavar="KIND", help=f"Only this: {', '.join(_WHAT)}. May be repeated.")
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only count.")]
Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="As `agentvine queue` names it.")]


@command(
    "prune",
    "agentvine prune --older-than 30d --dry-run",
    "agentvine prune --older-than 90d --what transcripts --what events --json",
)
async def prune(call: Call, older_than: Older, what: What = None, dry_run: Dry = False, as_json: Json = False) -> None:
    """Remove what is old and over, on the server.

    Orders that ended, with all that belongs to them; workers that are offline; events. Nothing that is pending, running
    or waiting is touched, nor what that needs. The audit log stays, tells of it, and can still be verified.
    """
    from agentvine.wire.administration import Prunable, Pruned, Pruning

    wanted = _kinds(what, tuple(Prunable))
    pruning = Pruning(older_than_seconds=_seconds(older_than), what=wanted, dry_run=dry_run)
    done = Pruned(dry_run=dry_run, more=True)
    while done.more:
        done = _sum(done, await call.desk.prune(pruning))
    if as_json:
        call.screen.json(done)
        return
    told = ", ".join(_counted(getattr(done, name), name) for name in _SUMMED if getattr(done, name))
    call.screen.say("would remove " if dry_run else "removed ", told or "nothing")
    if done.files:
        call.screen.say(f"gone from the disk: {_counted(done.files, 'files')} ({_counted(done.file_bytes, 'bytes')})")


def _counted(number: int, things: str) -> str:
    noun = things.replace("_", " ")
    return f"{number} {noun}" if number != 1 else f"1 {re.sub('ies$', 'y', noun).removesuffix('s')}"


def _sum(before: "Pruned", now: "Pruned") -> "Pruned":
    total = {name: getattr(before, name) + getattr(now, name) for name in (*_SUMMED, *_FILES)}
    return now.model_copy(update=total)


def _kinds(what: list[str] | None, every: "tuple[Prunable, ...]") -> "tuple[Prunable, ...]":
    if not what:
        return every
    if unknown := [each for each in what if each not in _WHAT]:
        raise typer.BadParameter(f"'{unknown[0]}' is none of {', '.join(_WHAT)}", param_hint="--what")
    return tuple(kind for kind in every if kind.value in what)


def _seconds(age: str) -> float:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([hdw])", age.strip())
    if match is None:
        raise typer.BadParameter("write an age of at least an hour, as 12h, 30d or 8w", param_hint="--older-than")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > 3.2e9:
        raise typer.BadParameter("that is longer than a century", param_hint="--older-than")
    return seconds


@command("lift", "agentvine lift 3f9a1c0b7d22", "agentvine lift default --json")
async def lift(call: Call, account: Account, as_json: Json = False) -> None:
    """Let the workers of a model account work again before its limit is over.

    A worker that finds its usage limit used up tells the server, and all that share its account get no work until the
    reset; `agentvine queue` lists them. Lift the limit when there is more to use, for instance on another plan.
    """
    left = await call.desk.lift_model_limit(account)
    if as_json:
        call.screen.json(left)
    else:
        call.screen.say(f"{account}: its workers get work again")
