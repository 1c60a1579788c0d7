"""`agentvine up` replaces a server that hangs, which neither ends nor answers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psutil

from agentvine.cli.settings import environment
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.cast import a_task
from agentvine.testing.eventually import eventually
from agentvine.up import Plan, Up, up

SILENCE = 2.0


def server_here() -> int | None:
    """The server that this process has started."""
    for child in psutil.Process().children():
        try:
            if child.cmdline()[-2:] == ["agentvine", "server"] and child.status() != psutil.STATUS_ZOMBIE:
                return child.pid
        except psutil.Error:
            continue
    return None


async def another(than: int) -> int | None:
    found = server_here()
    return found if found != than else None


@asynccontextmanager
async def upright(plan: Plan) -> AsyncIterator[Up]:
    shutdown, ready = Shutdown(), asyncio.Queue[Up]()
    running = asyncio.create_task(up(plan, shutdown, ready.put_nowait))
    first = asyncio.create_task(ready.get())
    try:
        await asyncio.wait([running, first], return_when=asyncio.FIRST_COMPLETED)
        assert first.done(), running.exception()
        yield first.result()
    finally:
        shutdown.drain()
        await running


async def test_a_server_that_hangs_is_replaced(tmp_path: Path) -> None:
    around = {"PATH": environment()["PATH"], "HOME": str(tmp_path)}
    async with upright(Plan(tmp_path / "data", {}, around, port=0, silence=SILENCE)) as there:
        hanging = server_here()
        assert hanging is not None
        os.kill(hanging, signal.SIGSTOP)
        assert await eventually(partial(another, hanging))
        assert not psutil.pid_exists(hanging)
        async with APIClient(there.url, there.key, patience=120) as api:
            task = await HTTPFrontDesk(api).submit(a_task())  # taken by whoever came into its place
            assert (await HTTPFrontDesk(api).task(task.id)).task == task
