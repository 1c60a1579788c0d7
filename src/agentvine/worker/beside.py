"""Work that goes on beside a block and ends with it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from agentvine.kit.logs import logger

_log = logger("beside")


@asynccontextmanager
async def vital(what: str, work: Coroutine[object, object, None], fatal: type[Exception]) -> AsyncIterator[None]:
    """As `beside`, but an error of the type `fatal` ends the block at once, as if cancelled, and is raised."""
    block = asyncio.current_task()
    assert block is not None  # noqa: S101  a coroutine runs in a task
    before, running, found = block.cancelling(), True, None

    async def watched() -> None:
        nonlocal found
        try:
            await work
        except fatal as error:
            found = error
            if running:
                block.cancel()

    async with beside(what, watched()):
        try:
            yield
        except asyncio.CancelledError:
            if found is not None and block.uncancel() <= before:
                raise found from None
            raise
        finally:
            running = False


@asynccontextmanager
async def beside(what: str, work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run `work` while the block runs; what is left of it then is cancelled.

    That it fails is no reason to stop the block: it is logged. Unlike a task group it leaves the block's own errors
    as they are.
    """
    task = asyncio.create_task(work, name=what)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning(f"{what} failed", error=f"{type(error).__name__}: {error}")
