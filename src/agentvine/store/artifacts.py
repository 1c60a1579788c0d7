"""The contents of artifacts: files in a folder, named by their digest, so that what is kept is never overwritten."""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path


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
        target = self._path(digest)
        if target.exists():
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
        return self._path(digest).read_bytes()

    def _path(self, digest: str) -> Path:
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
