"""Copies of everything that a server has: made while it runs, put into an empty place later, or another database.

A *backup* is the same again: SQLite's file as its own backup function copies it, or, of PostgreSQL, all rows in a plain
format. An *export* is all rows in that format, for either database. Both have the artifacts and the server's own files.
What they are made of stands in `store/archive.py`.

Whoever is put back in time must not take what workers say, or said, for what it knows. So what ran is given back, with
no attempt charged, and every order's lease token jumps over all that may have been handed out since: what a worker of
the earlier life still says is refused.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import agentvine
from agentvine.domain.base import Model
from agentvine.kit.clock import Clock, SystemClock
from agentvine.server.control_plane import Orders
from agentvine.server.settings import ServerSettings
from agentvine.server.terms import Terms
from agentvine.store import archive, plain, work_orders, workers
from agentvine.store.address import kind_of, sqlite_path
from agentvine.store.archive import ArchiveError, Manifest, Opened, Writer
from agentvine.store.artifacts import ArtifactFolder
from agentvine.store.engine import open_database
from agentvine.store.migrate import migrate
from agentvine.store.plain import DatabaseNotUsable, Snapshot
from agentvine.store.revision import DatabaseDamaged
from agentvine.store.sqlite_connection import copy_database
from agentvine.store.turns import lock_of
from agentvine.store.unit import Unit

_OWN_FILES = ("signing.key", "keys.json", "first-key")
"""What a server, or `agentvine up`, makes in its data directory besides database and artifacts."""
_POLICY = "policy.toml"
_TOKENS = 1_000_000
"""More leases than any order gets in one life of a database."""


class Copied(Model):
    """What was written, or put in place."""

    where: Path
    format: str
    revision: str
    rows: dict[str, int]
    artifacts: int
    files: tuple[str, ...]
    """The server's own files."""
    missing_artifacts: tuple[str, ...] = ()
    given_back: int = 0
    """How many orders were running."""


def back_up(settings: ServerSettings, target: Path, clock: Clock | None = None) -> Copied:
    """Write a backup to `target`. A server may run meanwhile. Blocks. Raises ArchiveError."""
    path = sqlite_path(settings.database)
    if path is None:
        return _written(settings, target, archive.BACKUP, clock or SystemClock(), settings.database, None)
    if not path.exists():
        raise ArchiveError(f"there is no database {path}; name the server's data directory with --data")
    with TemporaryDirectory(prefix=".agentvine-", dir=_made(target.absolute().parent)) as passing:
        copy = Path(passing) / archive.DATABASE
        try:
            copy_database(path, copy)
        except (DatabaseDamaged, OSError) as error:
            raise ArchiveError(str(error)) from error
        return _written(settings, target, archive.BACKUP, clock or SystemClock(), f"sqlite:///{copy}", copy)


def export(settings: ServerSettings, target: Path, clock: Clock | None = None) -> Copied:
    """Write an export to `target`. A server may run meanwhile. Blocks. Raises ArchiveError."""
    path = sqlite_path(settings.database)
    if path is not None and not path.exists():
        raise ArchiveError(f"there is no database {path}; name the server's data directory with --data")
    return _written(settings, target, archive.EXPORT, clock or SystemClock(), settings.database, None)


def restore(settings: ServerSettings, source: Path, *, only_check: bool = False) -> Copied:
    """Put a backup into the empty place that `settings` name. Blocks. Raises ArchiveError; then nothing has changed."""
    return _put_in_place(settings, source, archive.BACKUP, "a backup was restored", only_check=only_check)


def take_in(settings: ServerSettings, source: Path, *, only_check: bool = False) -> Copied:
    """As `restore`, for an export, and into either kind of database."""
    return _put_in_place(settings, source, archive.EXPORT, "an export was imported", only_check=only_check)


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _written(
    settings: ServerSettings, target: Path, kind: str, clock: Clock, url: str, database: Path | None
) -> Copied:
    """`url` is what rows are counted in; `database` is its file if that is what the archive shall hold."""
    artifacts = ArtifactFolder(settings.data / "artifacts")
    try:
        with artifacts.kept(), plain.snapshot(url) as there, archive.writing(target) as out:
            rows, digests = _add_rows(out, there, target, keep=database is None)
            if database is not None:
                out.add(archive.DATABASE, database)
            missing = tuple(
                sorted(digest for digest in digests if not _add(out, f"artifacts/{digest}", artifacts, digest))
            )
            files = _add_own_files(out, settings)
            manifest = Manifest(
                format=kind,
                version=archive.VERSION,
                made_at=clock.now(),
                agentvine=agentvine.__version__,
                revision=there.revision,
                database=kind_of(settings.database),
                rows=rows,
                missing_artifacts=missing,
                files=out.files,
            )
            out.end(manifest)
    except DatabaseNotUsable as error:
        raise ArchiveError(str(error)) from error
    return _told(target, manifest, files)


def _add_rows(out: Writer, there: Snapshot, target: Path, *, keep: bool) -> tuple[dict[str, int], set[str]]:
    """How many rows each table has, and which artifacts they name; with `keep` they are added."""
    counts: dict[str, int] = {}
    digests: set[str] = set()
    with TemporaryDirectory(prefix=".agentvine-", dir=_made(target.absolute().parent)) as passing:
        for table in there.tables:
            path, counts[table] = Path(passing) / "rows", 0
            with path.open("wb") as file:
                for line in there.rows(table):
                    counts[table] += 1
                    if keep:
                        file.write(line)
                    if table == "artifacts":
                        digests.add(plain.column(line, "sha256"))
            if keep:
                out.add(f"tables/{table}.jsonl", path)
    return counts, digests


def _add(out: Writer, name: str, artifacts: ArtifactFolder, digest: str) -> bool:
    try:
        out.add(name, artifacts.path(digest))
    except FileNotFoundError:
        return False
    return True


def _add_own_files(out: Writer, settings: ServerSettings) -> tuple[str, ...]:
    places = {name: settings.data / name for name in _OWN_FILES}
    if settings.signing_key is not None:
        places["signing.key"] = settings.signing_key
    if settings.policy is not None:
        places[_POLICY] = settings.policy
    there = {name: path for name, path in places.items() if path.is_file()}
    for name, path in there.items():
        out.add(f"files/{name}", path)
    return tuple(sorted(there))


# ── putting in place ─────────────────────────────────────────────────────────────────────────────────────────────


def _put_in_place(settings: ServerSettings, source: Path, kind: str, why: str, *, only_check: bool) -> Copied:
    data = settings.data
    with ExitStack() as stack:
        if not only_check:
            _check_place(settings)
        try:
            beside = _room_for(data) if not only_check else Path(stack.enter_context(TemporaryDirectory()))
            there = stack.enter_context(archive.opened(source, beside))
            _check(there, kind, source)
            if only_check:
                _try_out(there, beside / "trial")
                return _told(source, there.manifest, _files_of(there))
            given_back = _filled(settings, there, why)
        except DatabaseNotUsable as error:
            raise ArchiveError(f"{source}: {error}") from error
        except OSError as error:
            raise ArchiveError(f"{data} cannot be written: {error.strerror or error}") from error
    return _told(data, there.manifest, _files_of(there)).model_copy(update={"given_back": given_back})


def _check_place(settings: ServerSettings) -> None:
    data = settings.data
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise ArchiveError(f"{data} is not empty; name a data directory that is, or move what is in it away")
    try:
        plain.check_empty(settings.database)
    except DatabaseNotUsable as error:
        raise ArchiveError(str(error)) from error


def _check(there: Opened, kind: str, source: Path) -> None:
    manifest = there.manifest
    if manifest.format != kind:
        other = "agentvine restore" if manifest.format == archive.BACKUP else "agentvine import"
        raise ArchiveError(f"{source} is made for `{other}`")
    plain.check_known(manifest.revision, manifest.agentvine)


def _try_out(there: Opened, folder: Path) -> None:
    """Put the database where it does no harm: only then is it sure that it would be taken."""
    folder.mkdir()
    _filled_database(there, f"sqlite:///{folder / archive.DATABASE}", folder)


def _filled(settings: ServerSettings, there: Opened, why: str) -> int:
    """Fill the data directory, its database file last, and the database. Returns what was given back."""
    staged = there.folder / "data"
    staged.mkdir(mode=0o700)
    for name, path in there.named("files"):
        path.rename(staged / name)
    for digest, path in there.named("artifacts"):
        target = ArtifactFolder(staged / "artifacts").path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    final = sqlite_path(settings.database)
    url = settings.database if final is None else f"sqlite:///{staged / archive.DATABASE}"
    _filled_database(there, url, staged)
    given_back = asyncio.run(_begin_anew(url, why))
    lock_of(staged / archive.DATABASE).unlink(missing_ok=True)
    _put(staged, settings.data)
    put = settings.data / archive.DATABASE
    if final is not None and final != put:
        _made(final.parent)
        shutil.move(put, final)
    os.sync()
    return given_back


def _room_for(data: Path) -> Path:
    """Where to unpack: in the data directory if it is there, else beside it.

    Renaming needs one file system, and a directory that is there may be a volume: nothing can replace that, and what is
    beside it is not ours.
    """
    return data if data.is_dir() else data.parent


def _put(staged: Path, data: Path) -> None:
    if not data.is_dir():
        staged.rename(data)
        return
    with suppress(PermissionError):  # whoever made it decides who reads it
        data.chmod(0o700)
    for path in sorted(staged.iterdir(), key=lambda path: path.name == archive.DATABASE):  # that last
        path.rename(data / path.name)


def _filled_database(there: Opened, url: str, folder: Path) -> None:
    manifest = there.manifest
    file = there.folder / archive.DATABASE
    if not file.exists():
        loaded = plain.load(
            url, manifest.revision, {name.removesuffix(".jsonl"): _lines(path) for name, path in there.named("tables")}
        )
        if loaded != manifest.rows:
            raise DatabaseNotUsable("its tables have not as many rows as the manifest says")
        return
    if sqlite_path(url) is None:
        raise DatabaseNotUsable(
            "it holds an SQLite database: restore it to one, then use `agentvine export` and `import`"
        )
    shutil.copyfile(file, folder / archive.DATABASE)
    try:
        migrate(url)
    except DatabaseDamaged as error:
        raise DatabaseNotUsable(str(error)) from error


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


async def _begin_anew(url: str, why: str) -> int:
    """Let nothing go on that the database takes for running. Returns how many orders were given back."""
    database = open_database(url)
    orders = Orders(SystemClock(), Terms())

    def work(unit: Unit) -> int:
        running = work_orders.running(unit)
        for order in running:
            orders.give_back(unit, order, why)
        work_orders.skip_tokens(unit, _TOKENS)
        workers.set_all_offline(unit)
        return len(running)

    try:
        return await database.write(work)
    finally:
        await database.close()


def _files_of(there: Opened) -> tuple[str, ...]:
    return tuple(name.removeprefix("files/") for name in sorted(there.manifest.files) if name.startswith("files/"))


def _told(where: Path, manifest: Manifest, files: tuple[str, ...]) -> Copied:
    return Copied(
        where=where,
        format=manifest.format,
        revision=manifest.revision,
        rows=manifest.rows,
        artifacts=sum(name.startswith("artifacts/") for name in manifest.files),
        files=files,
        missing_artifacts=manifest.missing_artifacts,
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
