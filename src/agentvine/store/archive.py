"""A copy of everything as files: a folder, or one tar file, with a manifest that has the digest of each.

    manifest.json          what it is, who made it, every other file with size and SHA-256; written last
    agentvine.db           the database as SQLite has it (only in a backup of one), or
    tables/<table>.jsonl   its rows, a JSON object a line
    artifacts/<sha256>     contents that results consist of
    files/<name>           the server's own files: signing.key, keys.json …

It holds secrets, so it belongs to whoever made it alone (0600, a folder 0700). It is there under its name only when it
is whole.
"""

import hashlib
import os
import re
import secrets
import shutil
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Literal, Self

from pydantic import Field, ValidationError

from agentvine.domain.base import Model, Moment

VERSION = 1
"""Of this layout. A reader refuses a higher one."""
MANIFEST = "manifest.json"
DATABASE = "agentvine.db"
BACKUP, EXPORT = "agentvine-backup", "agentvine-export"
_TAR = (".tar", ".tar.gz", ".tgz")
_OTHERS = frozenset({".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".tbz", ".txz"})
"""Endings of what people may expect to get, and would not."""
_NAME = re.compile(r"manifest\.json|agentvine\.db|tables/[a-z_]+\.jsonl|artifacts/[0-9a-f]{64}|files/[a-z][a-z0-9.-]*")
_PIECE = 1 << 20


class ArchiveError(Exception):
    """The archive cannot be written or used. The message says what to do."""


class Entry(Model):
    """A file of an archive."""

    size: int
    sha256: str


class Manifest(Model):
    """What an archive says of itself."""

    format: str = Field(pattern=f"^({BACKUP}|{EXPORT})$")
    version: int
    made_at: Moment
    agentvine: str
    """The version of AgentVine that wrote it."""
    revision: str
    """Of the database's schema."""
    database: str
    """From which kind it comes: sqlite or postgresql."""
    rows: dict[str, int]
    """How many each table has."""
    missing_artifacts: tuple[str, ...] = ()
    """Digests that the database names and the artifact folder did not have."""
    files: dict[str, Entry]


class Writer(ABC):
    """Takes files one by one; remembers their digests."""

    def __init__(self) -> None:
        self.files: dict[str, Entry] = {}

    def add(self, name: str, path: Path) -> None:
        """Take the file at `path`. Raises FileNotFoundError."""
        with path.open("rb") as file:
            self.files[name] = self._take(name, file, path.stat().st_size)

    def end(self, manifest: Manifest) -> None:
        """The last file."""
        content = manifest.model_dump_json(indent=1).encode()
        self._take(MANIFEST, BytesIO(content), len(content))

    @abstractmethod
    def _take(self, name: str, file: BinaryIO, size: int) -> Entry: ...


class _FolderWriter(Writer):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _take(self, name: str, file: BinaryIO, size: int) -> Entry:
        return copied(file, self._folder / name)


class _Hashing:
    """A file as tarfile reads it, with its digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


class _TarWriter(Writer):
    def __init__(self, tar: tarfile.TarFile) -> None:
        super().__init__()
        self._tar = tar

    def _take(self, name: str, file: BinaryIO, size: int) -> Entry:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        hashing = _Hashing(file)
        self._tar.addfile(info, hashing)
        return Entry(size=size, sha256=hashing.digest.hexdigest())


def is_tar(target: Path) -> bool:
    """Whether a target of this name is one file, and not a folder."""
    return target.name.endswith(_TAR)


@contextmanager
def writing(target: Path) -> Iterator[Writer]:
    """An archive at `target`, which must not exist; it is there when the block is left, and whole.

    Raises ArchiveError.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ArchiveError(f"{target} exists already; name a place that does not")
    if target.suffix in _OTHERS and not is_tar(target):
        raise ArchiveError(f"{target}: name a folder, or a file that ends in {', '.join(_TAR)}")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_tar(target):
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            mode: Literal["w", "w:gz"] = "w" if target.suffix == ".tar" else "w:gz"
            with os.fdopen(descriptor, "w+b") as file:
                with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as tar:
                    yield _TarWriter(tar)
                file.flush()
                os.fsync(file.fileno())
        else:
            draft.mkdir(mode=0o700)
            yield _FolderWriter(draft)
        draft.rename(target)
    except OSError as error:
        raise ArchiveError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def copied(file: BinaryIO, path: Path) -> Entry:
    """Copy a file durably, for its owner alone, and say what it was."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return Entry(size=size, sha256=digest.hexdigest())


class Opened:
    """An archive that was found to be whole, unpacked in a folder of its own."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def named(self, beginning: str) -> Iterator[tuple[str, Path]]:
        """The files below `beginning/`, by the rest of their names."""
        for name in sorted(self.manifest.files):
            if name.startswith(f"{beginning}/"):
                yield name.removeprefix(f"{beginning}/"), self.folder / name

    @classmethod
    def of(cls, folder: Path, found: dict[str, Entry], source: Path) -> Self:
        """Check what was unpacked. Raises ArchiveError."""
        manifest = _manifest(folder, source)
        wanted, there = manifest.files, {name: entry for name, entry in found.items() if name != MANIFEST}
        if missing := sorted(wanted.keys() - there.keys()):
            raise _damaged(source, f"{missing[0]} is missing" + _and_more(missing))
        if surplus := sorted(there.keys() - wanted.keys()):
            raise _damaged(source, f"{surplus[0]} does not belong to it" + _and_more(surplus))
        if changed := sorted(name for name in wanted if wanted[name] != there[name]):
            raise _damaged(source, f"{changed[0]} is not what was written" + _and_more(changed))
        for name, entry in there.items():
            if name.startswith("artifacts/") and name != f"artifacts/{entry.sha256}":
                raise _damaged(source, f"{name} is not what its name says")
        return cls(folder, manifest)


@contextmanager
def opened(source: Path, beside: Path) -> Iterator[Opened]:
    """The archive at `source`, unpacked in a passing folder `beside` the place where it shall go, and checked.

    Raises ArchiveError if it is damaged, newer, or no archive.
    """
    if not source.exists():
        raise ArchiveError(f"{source} does not exist")
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".agentvine-", dir=beside) as passing:
        folder = Path(passing)
        files = _of_folder(source) if source.is_dir() else _of_tar(source)
        try:
            found = {name: copied(file, folder / name) for name, file in files}
        except (tarfile.TarError, EOFError, zlib.error) as error:  # the rest of a file is only read here
            raise _damaged(source, str(error)) from error
        yield Opened.of(folder, found, source)


def _of_folder(source: Path) -> Iterator[tuple[str, BinaryIO]]:
    for path in sorted(source.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(source).as_posix()
        if path.is_symlink() or not _NAME.fullmatch(name):
            raise _damaged(source, f"{name} does not belong to it")
        with path.open("rb") as file:
            yield name, file


def _of_tar(source: Path) -> Iterator[tuple[str, BinaryIO]]:
    seen: set[str] = set()
    try:
        with _opened(source) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is None or member.name in seen or not _NAME.fullmatch(member.name):
                    raise _damaged(source, f"{member.name!r} does not belong to it")
                seen.add(member.name)
                yield member.name, file  # type: ignore[misc]  # typeshed: IO[bytes]
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise _damaged(source, str(error)) from error


def _opened(source: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(source, "r:*")
    except tarfile.ReadError as error:
        what = f"{source} cannot be read as a tar file: it is none, or damaged from its beginning"
        raise ArchiveError(f"{what}. Nothing was changed") from error


def _manifest(folder: Path, source: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.exists():
        raise _damaged(source, f"{MANIFEST} is missing, so that it is no backup or export, or is not whole")
    try:
        content = path.read_bytes()
        version = _Version.model_validate_json(content).version
    except ValidationError as error:
        raise _damaged(source, f"{MANIFEST} cannot be read") from error
    if version > VERSION:
        raise ArchiveError(
            f"{source} has layout {version}, this AgentVine knows up to {VERSION}: install the version that made it"
        )
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise _damaged(source, f"{MANIFEST} cannot be read") from error


class _Version(Model, extra="ignore"):
    version: int


def _damaged(source: Path, why: str) -> ArchiveError:
    return ArchiveError(f"{source} is damaged ({why}); take another backup. Nothing was changed")


def _and_more(names: Iterable[str]) -> str:
    more = len(list(names)) - 1
    return f", and {more} more" if more else ""
