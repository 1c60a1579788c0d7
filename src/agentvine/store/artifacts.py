"""The contents of artifacts: files in a folder, named by their digest, so that what is kept is never overwritten."""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SPARED_SECONDS = 86_400.0
"""A content that was stored no longer ago is not taken for one that nobody needs."""
_LOCK = ".lock"


class ArtifactFolder:
    """A folder that belongs to the server. Its methods block; call them in a thread.

    A content is written before the database learns of it, so a crash in between leaves a file too many, never a row
    without its file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store(self, content: bytes) -> str:
        """Keep `content` durably and return its SHA-256. Raises OSError if the disk is full."""
        digest = hashlib.sha256(content).hexdigest()
        target = self.path(digest)
        with suppress(FileNotFoundError, NotADirectoryError):
            os.utime(target)  # needed again: `sweep` leaves it alone for a day
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        passing = target.parent / f".{digest}.{secrets.token_hex(4)}"
        try:
            _write_durably(passing, content)
            passing.rename(target)
        except BaseException:
            with suppress(FileNotFoundError):
                passing.unlink()
            raise
        _sync_folder(target.parent)
        return digest

    def load(self, digest: str) -> bytes:
        """What was kept. Raises FileNotFoundError."""
        return self.path(digest).read_bytes()

    def sweep(self, named: Callable[[str], Collection[str]], now: float) -> tuple[int, int]:
        """Remove contents that no row names, and drafts of a process that died. Returns how many, and their bytes.

        `named` tells the digests with a given beginning that rows name. What was stored within a day, also again,
        stays: its row may still be to come. Nothing is removed while somebody copies the folder.
        """
        try:
            with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
                found = [self._sweep(folder, named(folder.name), now) for folder in sorted(self._folder.glob("??"))]
        except BlockingIOError:
            return 0, 0
        return sum(count for count, _ in found), sum(size for _, size in found)

    def _sweep(self, folder: Path, named: Collection[str], now: float) -> tuple[int, int]:
        unnamed = [path for path in folder.iterdir() if path.name not in named]
        sizes = [_removed(path, now) for path in unnamed if now - path.stat().st_mtime > SPARED_SECONDS]
        gone = [size for size in sizes if size is not None]
        return len(gone), sum(gone)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While this lasts nobody removes contents."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        """Raises BlockingIOError with LOCK_NB. Where there is no folder there is nothing to be kept."""
        if not self._folder.is_dir():
            yield
            return
        with (self._folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, how)
            yield

    def path(self, digest: str) -> Path:
        """Where a content is, or would be."""
        return self._folder / digest[:2] / digest


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _removed(path: Path, now: float) -> int | None:
    """Its size; None if somebody has needed it again in this moment."""
    aside = path.with_name(f".{path.name.lstrip('.')}.gone")
    path.rename(aside)  # whoever stores it from now on finds nothing, and writes it anew
    status = aside.stat()
    if now - status.st_mtime <= SPARED_SECONDS:
        aside.rename(path)
        return None
    aside.unlink()
    return status.st_size
