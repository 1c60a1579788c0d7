"""Locks between processes. Each belongs to an open file (flock(2)), so it ends with its process, however that ends."""

import fcntl
import os
from pathlib import Path


def open_lock(path: Path) -> int:
    """A file descriptor of the lock file `path`, made if missing, which processes that are started do not inherit.

    Raises OSError.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def is_at(path: Path, handle: int) -> bool:
    """False if the file was removed, or another one put there, since it was opened: then its lock keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def lock(handle: int) -> bool:
    """Take the lock unless another process, or another descriptor, has it. False if so. Never waits."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(handle: int) -> None:
    """Give the lock back. Harmless for one that is not held."""
    fcntl.flock(handle, fcntl.LOCK_UN)
