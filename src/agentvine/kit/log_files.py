"""Keeps the log files of long-lived processes small: what a file has beyond a size moves to one older file."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger

MOST_BYTES = 50 * 1024 * 1024
_LOOK_SECONDS = 30.0
_log = logger("logs")


@asynccontextmanager
async def kept_small(folder: Path, most: int = MOST_BYTES, look: float = _LOOK_SECONDS) -> AsyncIterator[None]:
    """While the block runs, each `*.log` in `folder` that is larger than `most` bytes begins anew.

    What it had is then in the file of its name with `.1` added, in the place of what was there. Whoever writes has to
    append: it goes on in the file that it has open. A line that is written in between may be lost.
    """
    keeping = asyncio.create_task(_keep(folder, most, look), name="keep logs small")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def _keep(folder: Path, most: int, look: float) -> None:
    while True:
        await asyncio.to_thread(_look, folder, most)
        await pause(look)


def _look(folder: Path, most: int) -> None:
    for path in sorted(folder.glob("*.log")):
        try:
            _begin_anew(path, most)
        except OSError as error:
            _log.warning("a log could not be made smaller", file=str(path), why=error.strerror)


def _begin_anew(path: Path, most: int) -> None:
    if path.stat().st_size <= most:
        return
    older, draft = path.with_name(f"{path.name}.1"), path.with_name(f"{path.name}.new")
    shutil.copyfile(path, draft)
    draft.chmod(0o600)
    draft.replace(older)
    with path.open("r+b") as file:
        file.truncate(0)
