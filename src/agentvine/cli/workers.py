"""Workers: who is there."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import Json, command

if TYPE_CHECKING:
    from collections.abc import Collection

    from agentvine.domain.worker import Worker
    from agentvine.domain.worker_types import WorkerType

All = Annotated[bool, typer.Option("--all", help="Also those that are offline.")]


@command("workers", "agentvine workers", "agentvine workers --all --json")
async def workers(call: Call, everything: All = False, as_json: Json = False) -> None:
    """List the workers and what they are doing."""
    known = await call.desk.workers()
    found = [worker for worker in known if everything or worker.status.value != "offline"]
    if as_json:
        call.screen.json(found)
        return
    if found:
        _list(call, found)
    else:
        call.screen.note(("no worker is there; `agentvine worker --help` shows how to start one", "dim"))
    if len(found) < len(known):
        call.screen.note((f"{len(known) - len(found)} offline; --all shows them", "dim"))


def _list(call: Call, found: "list[Worker]") -> None:
    from agentvine.cli.render import Column, status
    from agentvine.cli.text import ago, duration

    now = call.clock.now()
    columns = [
        Column("WORKER"),
        Column("NAME", flexible=True),
        Column("TYPE"),
        Column("STATUS"),
        Column("SLOTS", "right"),
        Column("CPU", "right"),
        Column("MEMORY", "right"),
        Column("UP", "right"),
        Column("SEEN", "right"),
        Column("NOTE", flexible=True),
    ]
    rows = [
        (
            each.id,
            each.name,
            each.worker_type.value,
            status(each.status.value),
            f"{len(each.current_tasks)}/{each.slots}",
            f"{each.metrics.cpu_percent:.0f}%",
            f"{each.metrics.memory_mb:.0f} MB",
            duration(each.metrics.uptime_seconds),
            ago(each.seen_at, now),
            each.note or "",
        )
        for each in found
    ]
    call.screen.table(columns, rows)


async def tell_who_is_missing(call: Call, types: "Collection[WorkerType]") -> None:
    """Say so if there is no worker for some of these types: then nothing happens until there is one."""
    there = {worker.worker_type for worker in await call.desk.workers() if worker.status.value != "offline"}
    for kind in sorted(set(types) - there):
        call.screen.note((f"no {kind.value} worker is there; `agentvine worker --type {kind.value} --help`", "yellow"))
