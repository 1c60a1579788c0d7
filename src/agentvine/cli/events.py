"""What happened: the events of the fleet or of one task."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentvine.domain.event import Event

QUIET_SECONDS = 1.0
"""A past that is being told has no pause this long: then it is over."""
_UNTOLD = frozenset({"token"})
"""What of an event's data only programs need."""

Follow = Annotated[bool, typer.Option("--follow", "-f", help="From now on, each as it happens, until interrupted.")]
After = Annotated[int | None, typer.Option("--after", min=0, metavar="NUMBER", help="Only those above this number.")]
Task = Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only those of this task.")]
Lines = Annotated[bool, typer.Option("--json", help="Print each event as one JSON object on its own line.")]


@command(
    "events",
    "agentvine events",
    "agentvine events -f --json",
    "agentvine events --task 7k3m9x2p",
    "agentvine events -f --after 1042",
)
async def events(
    call: Call, follow: Follow = False, after: After = None, task: Task = None, as_json: Lines = False
) -> None:
    """List what happened, the oldest first."""
    from agentvine.cli.names import task_id

    only = None if task is None else await task_id(call.desk, task)
    told = call.desk.events(0 if after is None and not follow else after, only)
    while (event := await _next(told, None if follow else QUIET_SECONDS)) is not None:
        _print(call, event, as_json)


async def _next(told: "AsyncIterator[Event]", patience: float | None) -> "Event | None":
    import asyncio

    try:
        async with asyncio.timeout(patience):
            return await anext(told, None)
    except TimeoutError:
        return None


def _print(call: Call, event: "Event", as_json: bool) -> None:
    from agentvine.cli.render import cut, line, to_json
    from agentvine.cli.text import short_id, shortened

    if as_json:
        call.screen.raw(to_json(event, indent=None))
    else:
        subject = short_id(event.task_id or event.worker_id or "")
        told = [f"{name}={value}" for name, value in event.data.items() if name not in _UNTOLD and value is not None]
        when = event.at.astimezone().strftime("%m-%d %H:%M:%S")
        head = (f"{event.seq:>6}  {when}  ", "dim")
        what = (shortened("  ".join(told), 300), "dim")
        call.screen.show(cut(line(head, f"{event.kind:<24}  ", (f"{subject:<14}  ", "cyan"), what)))
    call.screen.flush()
