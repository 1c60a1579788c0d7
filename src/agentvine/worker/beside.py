"""Work that goes on beside a block and ends with it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from agentvine.kit.logs import logger

_log = logger("beside")


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
