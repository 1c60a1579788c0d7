"""One at a time over all processes of a host."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

from agentvine.kit.doorbell import pause

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1


@contextlib.asynccontextmanager
async def exclusive(path: Path, timeout: float) -> AsyncIterator[int]:
    """Hold the lock file `path`, made if missing, for the length of the block; gives its file descriptor.

    The lock belongs to the open file (flock(2)): it ends with this process, however that ends, and is not inherited by
    the processes that it starts. Its holder may remove the file. Raises TimeoutError after `timeout` seconds of
    waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _opened(path)
    try:
        async with asyncio.timeout(timeout):
            delay = _FIRST_PAUSE
            while True:
                if not _taken(handle):
                    await pause(delay)
                    delay = min(delay * 2, _LONGEST_PAUSE)
                elif _is_at(path, handle):
                    break
                else:
                    gone, handle = handle, _opened(path)
                    os.close(gone)
        yield handle
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_at(path: Path, handle: int) -> bool:
    """False if the file was removed between its opening and its locking: then its lock keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
