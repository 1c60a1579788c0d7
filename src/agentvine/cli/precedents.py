"""Precedents: answers of people that settle the like."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from agentvine.domain.precedent import Precedent

_PAGE = 200
_WHOLE = 30
"""Length of a whole id."""

All = Annotated[bool, typer.Option("--all", help="Also those that are expired or forgotten.")]
Which = Annotated[str, typer.Argument(metavar="PRECEDENT", help="Its id, or enough of its beginning or end.")]


@command("list", "agentvine precedents list", "agentvine precedents list --all --json")
async def list_precedents(call: Call, everything: All = False, as_json: Json = False) -> None:
    """List answers that were kept to settle the like, newest first."""
    found = [each async for each in _all(call, everything)]
    if as_json:
        call.screen.json(found)
    elif found:
        _list(call, found)
    else:
        call.screen.note(("no answer is remembered; `agentvine answer … --remember` keeps one", "dim"))


async def _all(call: Call, everything: bool) -> "AsyncIterator[Precedent]":
    cursor = None
    while True:
        page = await call.desk.precedents(everything, cursor=cursor, limit=_PAGE)
        for each in page.items:
            yield each
        cursor = page.next_cursor
        if cursor is None or not page.items:
            return


def _list(call: Call, found: "list[Precedent]") -> None:
    from agentvine.cli.render import Column
    from agentvine.cli.text import short_id, shortened

    now = call.clock.now()
    columns = [
        Column("PRECEDENT"),
        Column("FOR", flexible=True),
        Column("ENDS", "right"),
        Column("ASKED", flexible=True),
        Column("SETTLED WITH", flexible=True),
    ]
    rows = [
        (
            short_id(each.id),
            _where(each),
            _ends(each, now),
            shortened(each.message, 300),
            shortened(_with(each), 300),
        )
        for each in found
    ]
    call.screen.table(columns, rows)


@command("show", "agentvine precedents show 7k3m9x2p", "agentvine precedents show 7k3m9x2p --json")
async def show(call: Call, precedent: Which, as_json: Json = False) -> None:
    """Show a precedent: what was asked, what settles the like, where, until when, and by whom it was made."""
    from agentvine.cli.render import block

    found = await _meant(call, precedent)
    if as_json:
        call.screen.json(found)
        return
    for name, value in (
        ("precedent", found.id),
        ("request", found.request_id),
        ("for", _where(found)),
        ("made", f"{found.created_at:%Y-%m-%d %H:%M} UTC by {found.created_by}"),
        ("ends", _ends(found, call.clock.now())),
    ):
        call.screen.say((f"{name:<14}", "dim"), value)
    call.screen.show(block(found.message, indent=2))
    call.screen.say((_with(found), "bold"))


@command("forget", "agentvine precedents forget 7k3m9x2p", "agentvine precedents forget 7k3m9x2p --json")
async def forget(call: Call, precedent: Which, as_json: Json = False) -> None:
    """Let a precedent settle nothing from now on. What it has settled stays settled."""
    found = await _meant(call, precedent)
    forgotten = await call.desk.forget(found.id)
    if as_json:
        call.screen.json(forgotten)
    else:
        call.screen.say(forgotten.id, " settles nothing any more")


async def _meant(call: Call, typed: str) -> "Precedent":
    from agentvine.cli.names import fits
    from agentvine.cli.text import shortened
    from agentvine.domain.errors import InvalidInput, NotFound

    typed = typed.strip()
    if typed.startswith("pre_") and len(typed) == _WHOLE:
        return await call.desk.precedent(typed)
    found = [each async for each in _all(call, True) if typed and fits(each.id, typed)]
    if len(found) == 1:
        return found[0]
    if not found:
        shown = shortened(typed, 40)
        message = f"there is no precedent '{shown}'; `agentvine precedents list --all` lists them"
        raise NotFound(message, kind="precedent", id=shown)
    names = [{"pointer": "", "message": f"{each.id}  {shortened(each.message, 60)}"} for each in found[:8]]
    raise InvalidInput(f"'{typed}' could be any of {len(found)} precedents; write more of it:", errors=names)


def _where(precedent: "Precedent") -> str:
    kind = precedent.type.value if precedent.type else "any type"
    return f"{kind} in {precedent.repository or 'any repository'}"


def _ends(precedent: "Precedent", now: "datetime") -> str:
    from agentvine.cli.text import until

    if precedent.forgotten_at is not None:
        return "forgotten"
    if not precedent.holds(now):
        return "expired"
    return until(precedent.expires_at, now) if precedent.expires_at else "never"


def _with(precedent: "Precedent") -> str:
    response = precedent.response
    return f"{response.verdict}: {response.message}" if response.message else response.verdict
