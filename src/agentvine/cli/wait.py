"""Waits until tasks are over, shows how they go meanwhile, and says in its exit code how they ended."""

import typing

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command

if typing.TYPE_CHECKING:
    from collections.abc import Collection

    from agentvine.wire.messages import TaskDetail

COMPLETED, FAILED, CANCELLED, NOT_OVER, WAITING = 0, 1, 2, 3, 4
WORST_FIRST = (FAILED, CANCELLED, WAITING, NOT_OVER, COMPLETED)
_CODES = {"completed": COMPLETED, "failed": FAILED, "cancelled": CANCELLED, "waiting": WAITING}

Tasks = typing.Annotated[list[str], typer.Argument(metavar="TASK...", help="Ids, or enough of each to name one.")]
Timeout = typing.Annotated[
    float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Give up waiting after so long.")
]


def exit_code(statuses: "Collection[str]") -> int:
    """The worst of what these statuses mean: failed, then cancelled, waiting for a person, not over, completed."""
    codes = {_CODES.get(status, NOT_OVER) for status in statuses}
    return next((code for code in WORST_FIRST if code in codes), COMPLETED)


@command(
    "wait",
    "agentvine wait 7k3m9x2p --timeout 600",
    "agentvine wait 7k3m9x2p x2v9w4ht --timeout 3600 --json",
)
async def wait(call: Call, tasks: Tasks, timeout: Timeout = None, as_json: Json = False) -> None:
    """Wait until tasks are over, or until a person has to decide.

    Exit code: 0 completed, 1 failed (or the server refused), 2 cancelled, 3 not over when the time was up, 4 waiting
    for a person. Of several tasks the worst counts, in the order 1, 2, 4, 3, 0.
    """
    from agentvine.cli.names import task_id
    from agentvine.cli.workers import tell_who_is_missing

    ids = list(dict.fromkeys([await task_id(call.desk, typed) for typed in tasks]))
    if not as_json:
        first = [(await call.desk.task(each)).task for each in ids]
        await tell_who_is_missing(call, {task.asked.type for task in first if task.status.value == "pending"})
    details = await watch(call, ids, timeout)
    if as_json:
        call.screen.json(details)
    else:
        report(call, details)
    code = exit_code([detail.task.status.value for detail in details])
    if code:
        raise typer.Exit(code)


async def watch(call: Call, ids: list[str], timeout: float | None) -> "list[TaskDetail]":
    """Look at the tasks until each is over or waits for a person, at most `timeout` seconds; then how they stand.

    A server that goes away meanwhile is waited for. Raises what the first look at each task raises.
    """
    from agentvine.cli.follow import LOOK_AGAIN_SECONDS, following
    from agentvine.cli.progress import Progress

    deadline = None if timeout is None else call.clock.elapsed() + timeout
    details: dict[str, TaskDetail] = {}
    stale: Collection[str] = ids
    async with following(call.desk, ids) as changes:
        with Progress(call.screen, call.clock) as progress:
            while True:
                await _look(call, stale, details)
                progress.show([details[each] for each in ids])
                left = LOOK_AGAIN_SECONDS if deadline is None else deadline - call.clock.elapsed()
                if left <= 0 or all(detail.task.status.value in _CODES for detail in details.values()):
                    break
                heard = await changes.wait(min(left, LOOK_AGAIN_SECONDS))
                stale = ids if heard is None else heard
    return [details[each] for each in ids]


async def _look(call: Call, ids: "Collection[str]", details: "dict[str, TaskDetail]") -> None:
    from agentvine.domain.errors import Unavailable

    for each in ids:
        try:
            details[each] = await call.desk.task(each)
        except Unavailable:
            if each not in details:
                raise
            return


def report(call: Call, details: "list[TaskDetail]") -> None:
    """One line for each task: how it ended, what it took, where the result is."""
    from agentvine.cli.asked import how_to_answer, options
    from agentvine.cli.render import block, status
    from agentvine.cli.sheet import delivered, totals
    from agentvine.cli.text import short_id, shortened

    now = call.clock.now()
    for detail in details:
        word = detail.task.status.value
        delivery = next((each.delivery for each in reversed(detail.executions) if each.delivery), None)
        where = f"  {delivered(delivery)}" if delivery and word == "completed" else ""
        call.screen.say((word, str(status(word).style)), f"  {detail.task.id}  {totals(detail, now)}{where}")
        failure = detail.order.failure
        if word == "failed" and failure is not None:
            call.screen.say("  ", (failure.reason.value, "red"))
            call.screen.show(block(failure.detail, indent=2))
        for request in detail.requests:
            if request.status.value == "open":
                call.screen.say(f"  {request.kind.value} {request.id}: ", shortened(request.message, 200))
                options(call.screen, request)
                call.screen.say(("  → ", "cyan"), (how_to_answer(request, short_id(request.id)), "dim"))
