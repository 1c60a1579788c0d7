"""One at a time over all processes of a host."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from agentvine.kit.doorbell import pause
from agentvine.kit.file_lock import is_at, lock, open_lock

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1


@contextlib.asynccontextmanager
async def exclusive(path: Path, timeout: float) -> AsyncIterator[int]:
    """Hold the lock file `path`, made if missing, for the length of the block; gives its file descriptor.

    Its holder may remove the file. Raises TimeoutError after `timeout` seconds of waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open_lock(path)
    try:
        async with asyncio.timeout(timeout):
            delay = _FIRST_PAUSE
            while True:
                if not lock(handle):
                    await pause(delay)
                    delay = min(delay * 2, _LONGEST_PAUSE)
                elif is_at(path, handle):
                    break
                else:
                    gone, handle = handle, open_lock(path)
                    os.close(gone)
        yield handle
    finally:
        os.close(handle)
