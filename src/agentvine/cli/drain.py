"""Sends workers home: one, those of a host, or all; and shows how they leave."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command

if TYPE_CHECKING:
    from agentvine.domain.worker import Worker

STILL_THERE = 3
LOOK_AGAIN_SECONDS = 1.0

Workers = Annotated[list[str] | None, typer.Argument(metavar="WORKER...", help="Ids or names, or enough of an id.")]
Host = Annotated[str | None, typer.Option("--host", metavar="NAME", help="All workers of this host.")]
All = Annotated[bool, typer.Option("--all", help="All workers.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until they have left.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Give up waiting after so long.")
]


@command(
    "drain",
    "agentvine drain wrk_bugfix-1",
    "agentvine drain --host build-3 --wait --timeout 600",
    "agentvine drain --all --wait --json",
)
async def drain(
    call: Call,
    workers: Workers = None,
    host: Host = None,
    everyone: All = False,
    wait: Wait = False,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Let workers finish what they do, and leave.

    They take no more work from now on. What is not done within their grace period goes back, with no attempt charged,
    and others go on with it. A worker that is started again works again: stop what starts it, if it shall stay away.

    Exit code: 0 told, or with --wait gone; 3 not gone when the time was up.
    """
    chosen = await _chosen(call, workers or [], host, everyone=everyone)
    told = [await call.desk.drain_worker(each.id) for each in chosen]
    if not as_json:
        for each in told:
            call.screen.say(each.id, " takes no more work and leaves when it is done")
        call.screen.flush()
    left = await _gone(call, told, timeout, quiet=as_json) if wait else told
    if as_json:
        call.screen.json(left)
    if wait and any(_there(each) for each in left):
        raise typer.Exit(STILL_THERE)


async def _chosen(call: Call, names: list[str], host: str | None, *, everyone: bool) -> "list[Worker]":
    from agentvine.cli.names import worker_id

    if (bool(names), host is not None, everyone).count(True) != 1:
        raise typer.BadParameter("name workers, or a --host, or say --all")
    if names:
        return [await call.desk.worker(each) for each in dict.fromkeys([await worker_id(call.desk, n) for n in names])]
    there = [each for each in await call.desk.workers() if _there(each)]
    if host is None:
        return there
    chosen = [each for each in there if each.host == host]
    if not chosen:
        hosts = ", ".join(sorted({each.host for each in there})) or "none"
        raise typer.BadParameter(f"no worker of {host} is there; the hosts are: {hosts}", param_hint="--host")
    return chosen


async def _gone(call: Call, told: "list[Worker]", timeout: float | None, *, quiet: bool) -> "list[Worker]":
    """How they stand when all have left, or the time is up. Each that leaves is told."""
    from agentvine.kit.doorbell import pause

    began = call.clock.elapsed()
    sessions = {each.id: each.registered_at for each in told}
    left: dict[str, Worker] = {}
    while True:
        now = {each.id: each for each in await call.desk.workers()}
        for name, registered_at in sessions.items():
            each = now.get(name)
            if name not in left and (each is None or not _there(each) or each.registered_at != registered_at):
                left[name] = each or next(one for one in told if one.id == name)
                if not quiet:
                    call.screen.say(name, " has left")
                    call.screen.flush()
        waited = call.clock.elapsed() - began
        if len(left) == len(sessions) or (timeout is not None and waited >= timeout):
            return [left.get(name) or now[name] for name in sessions]
        if not quiet:
            _progress(call, [now[name] for name in sessions if name not in left])
        await pause(LOOK_AGAIN_SECONDS if timeout is None else min(LOOK_AGAIN_SECONDS, max(timeout - waited, 0.05)))


def _progress(call: Call, there: "list[Worker]") -> None:
    if call.screen.err.is_terminal:
        running = sum(len(each.current_tasks) for each in there)
        call.screen.note((f"{len(there)} workers are still there, with {running} orders", "dim"))


def _there(worker: "Worker") -> bool:
    return worker.status.value != "offline"
