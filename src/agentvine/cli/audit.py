"""The audit log: what was refused, done to keys, and sealed; and whether it is what it was."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import REFUSED, Json, command

if TYPE_CHECKING:
    from agentvine.cli.render import Screen
    from agentvine.domain.audit import AuditEntry
    from agentvine.wire.administration import AuditCheck

_PAGE = 200
_MOST_SHOWN, _INDENT = 1000, 8
_UNTOLD = frozenset({"request_id", "sha256"})
"""What of an entry's data only programs need."""

Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many entries at most.")]
ExpectHead = Annotated[
    str | None,
    typer.Option("--expect-head", metavar="SEQ:HASH", help="An entry that must be there, as noted down earlier."),
]


@command("list", "agentvine audit list", "agentvine audit list --limit 500 --json")
async def list_audit(call: Call, limit: Limit = 50, as_json: Json = False) -> None:
    """List the latest entries of the audit log, newest first.

    An entry `events` seals what `agentvine events` tells; the others are about refusals and keys.
    """
    found: list[AuditEntry] = []
    cursor = None
    while len(found) < limit:
        page = await call.desk.audit(cursor, min(_PAGE, limit - len(found)))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    if as_json:
        call.screen.json(found)
    else:
        for entry in found:
            draw(call.screen, entry)


def draw(screen: "Screen", entry: "AuditEntry") -> None:
    """An entry, on one line if it has room there. Where a terminal has none, what was done goes on beneath; a pipe gets
    all of it."""
    from rich.padding import Padding

    from agentvine.cli.render import cut, line
    from agentvine.cli.text import shortened

    told = [f"{name}={value}" for name, value in entry.data.items() if name not in _UNTOLD and value not in (None, [])]
    when = entry.at.astimezone().strftime("%m-%d %H:%M:%S")
    head = line((f"{entry.seq:>6}  {when}  ", "dim"), f"{entry.kind.value:<12}  ", (f"{entry.actor:<34}  ", "cyan"))
    room = screen.out.width if screen.out.is_terminal else None
    rest = line(("  ".join(told) if room is None else shortened("  ".join(told), _MOST_SHOWN), "dim"))
    if room is None or head.cell_len + rest.cell_len <= room:
        screen.show(cut(head + rest))
        return
    screen.show(cut(head))
    screen.show(Padding(rest, (0, 0, 0, _INDENT)))


@command("verify", "agentvine audit verify", "agentvine audit verify --json")
async def verify(call: Call, expect_head: ExpectHead = None, as_json: Json = False) -> None:
    """Compute the audit log again, with all events that it seals.

    Exit codes: 0 it is intact, and the head is printed: note it down elsewhere; 1 it is broken, and where.
    Only an earlier head shows that entries were cut off at the end, or the whole log written anew.
    """
    expected = None if expect_head is None else _head(expect_head)
    entries = events = 0
    found = await call.desk.verify_audit()
    while True:
        entries, events = entries + found.entries, events + found.events
        if found.broken_at is not None or not found.more:
            break
        found = await call.desk.verify_audit(found.seq, found.hash)
    found = found.model_copy(update={"entries": entries, "events": events})
    if found.broken_at is None and expected is not None:
        found = await _expected(call, found, *expected)
    if as_json:
        call.screen.json(found)
    else:
        _tell(call, found)
    if found.broken_at is not None:
        raise typer.Exit(REFUSED)


async def _expected(call: Call, found: "AuditCheck", seq: int, expected: str) -> "AuditCheck":
    """The verdict, broken if entry `seq` is missing or has another hash."""
    page = await call.desk.audit(str(seq + 1), 1)
    there = next((entry for entry in page.items if entry.seq == seq), None)
    if there is None:
        why = f"it is missing, though it was there; the log ends with entry {found.seq}"
    elif there.hash != expected:
        why = "it is another one than before: the log was written anew"
    else:
        return found
    return found.model_copy(update={"broken_at": seq, "why": why})


def _tell(call: Call, found: "AuditCheck") -> None:
    if found.broken_at is None:
        call.screen.say(f"intact: {found.entries} entries, {found.events} events")
        if found.pruned_to:
            call.screen.say(f"events up to {found.pruned_to} were removed as old; `agentvine audit list` says by whom")
        call.screen.say(f"head {found.seq}:{found.hash}")
    else:
        call.screen.say(f"broken at entry {found.broken_at}: {found.why}")


def _head(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"([1-9][0-9]{0,14}):([0-9a-f]{64})", text.strip())
    if match is None:
        raise typer.BadParameter("write it as `agentvine audit verify` prints it, SEQ:HASH", param_hint="--expect-head")
    return int(match[1]), match[2]
