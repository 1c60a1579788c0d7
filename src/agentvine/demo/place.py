"""The directory in which a demo plays."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentvine.demo.fleet import Stage
from agentvine.demo.repositories import DemoFailed

_REMOTE = "purse.git"


@contextmanager
def place(stage: Stage) -> Iterator[Path]:
    """A directory with an empty `home` in it. Unless it is to be kept, only the remote is left at the end: it is small.

    Raises DemoFailed if the one to be kept is not empty.
    """
    if stage.keep is None:
        where = Path(tempfile.mkdtemp(prefix="agentvine-demo-"))
    else:
        where = stage.keep.absolute()
        if where.exists() and any(where.iterdir()):
            raise DemoFailed(f"{where} is not empty; name a directory that does not exist yet")
        where.mkdir(parents=True, exist_ok=True)
    (where / "home").mkdir()
    try:
        yield where
    finally:
        if stage.keep is None:
            _leave_the_remote(where)


def _leave_the_remote(where: Path) -> None:
    for entry in where.iterdir():
        if entry.name != _REMOTE:
            shutil.rmtree(entry, ignore_errors=True)
