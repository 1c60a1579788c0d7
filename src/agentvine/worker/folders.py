"""Removing what somebody hostile may have left behind."""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path


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
    """Remove the file, or the link, `name` right in `folder`, if it is there; a link is not followed."""
    with contextlib.suppress(OSError):
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.unlink(name, dir_fd=place)
        finally:
            os.close(place)
