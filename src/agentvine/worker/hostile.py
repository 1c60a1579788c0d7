"""Reading what the repository's code or the agent may have written: nothing is followed, nothing can block.

A symbolic link would hand out a file of the host, a FIFO would wait for ever, a device may never end.
"""

import os
import stat
from pathlib import Path, PurePosixPath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Refused(Exception):
    """The file is not one that may be read; the message says why."""


def read_beneath(root: Path, relative: str, limit: int) -> bytes:
    """The content of the regular file `relative` (with '/') beneath the directory `root`.

    No component of `relative` may be a symbolic link or '..'; `root` itself is trusted. Raises FileNotFoundError, and
    Refused for anything that is not a regular file of at most `limit` bytes.
    """
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts:
        raise Refused(f"{relative!r} is no path inside the directory")
    directory = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        for part in parts[:-1]:
            deeper = _open(part, _DIRECTORY, directory, relative)
            os.close(directory)
            directory = deeper
        file = _open(parts[-1], _FILE, directory, relative)
    finally:
        os.close(directory)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise Refused(f"{relative} is not a regular file")
        with os.fdopen(file, "rb", closefd=False) as opened:
            content = opened.read(limit + 1)
    finally:
        os.close(file)
    if len(content) > limit:
        raise Refused(f"{relative} is larger than {limit} bytes")
    return content


def _open(name: str, flags: int, directory: int, relative: str) -> int:
    try:
        return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as error:  # ELOOP for a link, ENOTDIR, ENXIO for a socket, EACCES
        raise Refused(f"{relative} cannot be read: {error.strerror}") from error
