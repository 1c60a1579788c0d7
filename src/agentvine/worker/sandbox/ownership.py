"""Makes a workspace the box's own: files that belong to the user inside, and that share nothing with the host.

A hard link is a second name for one file: a workspace cloned with links lets what runs inside write to the mirror's
objects. So files with several names are replaced by copies. Nothing is followed; call it while nothing runs inside.
"""

import os
import stat
from pathlib import Path

from agentvine.worker.folders import descend

_PIECE = 1 << 30


def adopt(root: Path, user: int | None) -> None:
    """Walk `root`; with `user`, give every entry to it (needs root). Raises OSError."""

    def visit(directory: int) -> list[str]:
        if user is not None:
            os.fchown(directory, user, user)
        return _own_entries(directory, user)

    descend(root, visit)


def _own_entries(directory: int, user: int | None) -> list[str]:
    """Make what is in a directory the box's own. Returns the names of the directories in it."""
    with os.scandir(directory) as listing:
        entries = [(entry.name, entry.stat(follow_symlinks=False)) for entry in listing]
    for name, status in entries:
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            _sever(name, status, directory)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)  # noqa: PLW2901  it is another file now
        if user is not None and (status.st_uid, status.st_gid) != (user, user):
            os.chown(name, user, user, dir_fd=directory, follow_symlinks=False)
    return [name for name, status in entries if stat.S_ISDIR(status.st_mode)]


def _sever(name: str, status: os.stat_result, directory: int) -> None:
    """Replace a file that has other names by a copy of its own, with the same mode and times."""
    copy = f".agentvine-{status.st_ino}"
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(copy, flags, 0o600, dir_fd=directory)
        try:
            while os.sendfile(target, source, None, _PIECE):
                pass
            os.fchmod(target, stat.S_IMODE(status.st_mode))
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(target)
        os.replace(copy, name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(source)
