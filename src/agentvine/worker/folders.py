"""Removing what somebody hostile may have left behind."""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path, PurePosixPath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


async def remove_folder(path: Path) -> None:
    """Remove a folder and all in it, also what was made unwritable; links are removed, never followed.

    Nothing happens if it is not there. No process may be left that writes into it. Raises OSError if it resists.
    """
    await asyncio.to_thread(_remove, path)


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        _open_up(path)
        shutil.rmtree(path)


def _open_up(path: Path) -> None:
    path.chmod(0o700)
    with os.scandir(path) as entries:
        folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for folder in folders:
        _open_up(folder)


def remove_entry(folder: Path, name: str) -> None:
    """Remove the file, or the link, `name` (a path with '/') beneath `folder`, if it is there.

    No link on the way is followed: it would lead to the host's own files. `folder` itself is trusted.
    """
    *parents, last = PurePosixPath(name).parts
    if name.startswith("/") or ".." in (*parents, last):
        return
    with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
        place = os.open(folder, _DIRECTORY)
        opened.callback(os.close, place)
        for parent in parents:
            place = os.open(parent, _DIRECTORY, dir_fd=place)
            opened.callback(os.close, place)
        os.unlink(last, dir_fd=place)
