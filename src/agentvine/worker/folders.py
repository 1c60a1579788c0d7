"""Walking through, and removing, what somebody hostile may have left behind."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def enter(name: str, directory: int | None) -> int:
    """Open the directory `name`, which is no link, in the open `directory`. Raises OSError."""
    return os.open(name, _DIRECTORY, dir_fd=directory)


@dataclass(frozen=True, slots=True)
class _Level:
    """A directory on the way down, with those in it that are still to be entered."""

    name: str
    identity: tuple[int, int]
    waiting: list[str]


def descend(
    root: Path,
    visit: Callable[[int], list[str]],
    leave: Callable[[int, str], None] = lambda _above, _name: None,
    enter: Callable[[str, int | None], int] = enter,
) -> None:
    """Visit `root` and every directory beneath it, however deep they lie in one another.

    `visit` is given an open directory, and returns the names of those in it to go on with. `leave` is called with the
    directory above and the name, once all beneath is done. Follows no link, uses no path, and holds two descriptors at
    most: back up it goes by `..`, and makes sure that it arrives where it came from. Raises OSError, also if it does
    not; what is gone meanwhile is passed over.
    """
    here = enter(os.fspath(root), None)
    try:
        levels = [_Level("", _identity(here), visit(here))]
        while levels[-1].waiting or len(levels) > 1:
            if levels[-1].waiting:
                name = levels[-1].waiting.pop()
                try:
                    below = enter(name, here)
                except FileNotFoundError:
                    continue
                here = _moved(here, below)
                levels.append(_Level(name, _identity(here), visit(here)))
            else:
                left = levels.pop()
                here = _moved(here, enter("..", here))
                if _identity(here) != levels[-1].identity:
                    raise OSError(errno.ESTALE, "a directory was moved while it was gone through", str(root))
                leave(here, left.name)
    finally:
        os.close(here)


def _moved(old: int, new: int) -> int:
    os.close(old)
    return new


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


async def remove_folder(path: Path) -> None:
    """Remove a folder and all in it, also what was made unwritable; links are removed, never followed.

    Nothing happens if it is not there. No process may be left that writes into it. Raises OSError if it resists.
    """
    await asyncio.to_thread(_remove, path)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        descend(path, _emptied, lambda above, name: os.rmdir(name, dir_fd=above), _enter_closed)
        path.rmdir()


def _emptied(directory: int) -> list[str]:
    """Remove all but directories; their names are left."""
    with os.scandir(directory) as listing:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
    for name, is_folder in entries:
        if not is_folder:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
    return [name for name, is_folder in entries if is_folder]


def _enter_closed(name: str, directory: int | None) -> int:
    """As `enter`, and let its owner, if we are it, read and write what is in it."""
    try:
        opened = enter(name, directory)
    except PermissionError:
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            Path(f"/proc/self/fd/{handle}").chmod(0o700)  # fchmod(2) does not take such a handle, nor does it a name
        finally:
            os.close(handle)
        opened = enter(name, directory)
    status = os.fstat(opened)
    if status.st_uid == os.geteuid() and status.st_mode & 0o700 != 0o700:
        os.fchmod(opened, 0o700)
    return opened


def remove_entry(folder: Path, name: str) -> None:
    """Remove the file, or the link, `name` (a path with '/') beneath `folder`, if it is there.

    No link on the way is followed: it would lead to the host's own files. `folder` itself is trusted.
    """
    *parents, last = PurePosixPath(name).parts
    if name.startswith("/") or ".." in (*parents, last):
        return
    with contextlib.suppress(OSError):
        place = os.open(folder, _DIRECTORY)
        try:
            for parent in parents:
                place = _moved(place, enter(parent, place))
            os.unlink(last, dir_fd=place)
        finally:
            os.close(place)
