"""Environments that a set-up has made, kept on this host and laid into later checkouts instead of being made again.

An environment is what a set-up leaves in the folders that it `makes`, and is known by what it depends on: the contents
of its `files`, the command itself and the tool chain. Only what was made in a checkout of a base is kept, before any
test ran there: what a result's scripts do to it never reaches others. Each checkout gets a copy of its own.
"""

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from agentvine.worker.folders import remove_folder
from agentvine.worker.verification.found import SetupCommand

_DRAFT = ".draft"
_FORM = 1


class TooLarge(OSError):
    """The environment has more bytes or files than are kept."""


class Environments:
    """The environments of a host, in `folder`: at most `most`, those that were not used for longest go first.

    None is kept that has more than `largest` bytes, or while the file system has less than `reserve` bytes free.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most: int = 8,
        largest: int = 4 * 1024**3,
        reserve: int = 4 * 1024**3,
        files: int = 300_000,
    ) -> None:
        self._folder = folder
        self._most = most
        self._largest = largest
        self._reserve = reserve
        self._files = files

    async def place(self, key: str, checkout: Path, setup: SetupCommand) -> bool:
        """Lay the environment into `checkout`, in which nothing runs. False if there is none, or no place for it."""
        kept = self._folder / key
        if not kept.is_dir() or not all(_is_free(checkout, path) for path in setup.makes):
            return False
        try:
            with suppress(FileNotFoundError):
                os.utime(kept)
            for number, path in enumerate(setup.makes):
                await asyncio.to_thread(self._copy, kept / str(number), checkout / path)
        except OSError:  # it was thrown away meanwhile, or the disk is full
            for path in setup.makes:
                await remove_folder(checkout / path)
            return False
        return True

    async def keep(self, key: str, checkout: Path, setup: SetupCommand) -> None:
        """Keep what the set-up has made in `checkout`, in which nothing runs. What cannot be kept is not."""
        final = self._folder / key
        if final.exists() or not all(_is_plain(checkout, path) for path in setup.makes):
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free < self._reserve:
            return
        draft = self._folder / f"{key}-{secrets.token_hex(4)}{_DRAFT}"
        try:
            draft.mkdir(mode=0o700)
            for number, path in enumerate(setup.makes):
                await asyncio.to_thread(self._copy, checkout / path, draft / str(number))
            draft.rename(final)
            await self._thin_out()
        except OSError:  # too large, not readable, or somebody else was faster
            return
        finally:
            await remove_folder(draft)

    async def _thin_out(self) -> None:
        kept = [one for one in self._folder.iterdir() if not one.name.endswith(_DRAFT)]
        for one in sorted(kept, key=_age)[: -self._most]:
            gone = one.with_name(f"{one.name}-{secrets.token_hex(4)}{_DRAFT}")
            with suppress(OSError):
                one.rename(gone)  # so that nobody takes it half removed
                await remove_folder(gone)

    def _copy(self, source: Path, target: Path) -> None:
        """Copy a folder: folders, files and links as such, nothing else. Raises OSError."""
        room, files = self._largest, self._files

        def copy(name: str, to: str) -> None:
            nonlocal room, files
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                about = os.fstat(opened)
                if not stat.S_ISREG(about.st_mode):
                    return
                room, files = room - about.st_size, files - 1
                if room < 0 or files < 0:
                    raise TooLarge(str(source))
                made = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    while os.sendfile(made, opened, None, 1 << 30):
                        pass
                    os.fchmod(made, stat.S_IMODE(about.st_mode) & 0o755 | 0o600)
                    os.utime(made, ns=(about.st_atime_ns, about.st_mtime_ns))
                finally:
                    os.close(made)
            finally:
                os.close(opened)

        try:
            shutil.copytree(source, target, symlinks=True, copy_function=copy)
        except shutil.Error as error:  # a list of what went wrong
            raise TooLarge(str(error)[:500]) from error


def environment_key(setup: SetupCommand, files: Mapping[str, str], url: str, surroundings: str) -> str:
    """What an environment is known by. `files`: path → digest of the content, of those the set-up depends on."""
    depends = {path: files.get(path) for path in setup.files}
    told = [_FORM, url, setup.argv, setup.directory, setup.makes, depends, surroundings]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _is_plain(checkout: Path, path: str) -> bool:
    """Whether a folder is at `path`, and no link leads there."""
    place = checkout
    for part in Path(path).parts:
        place = place / part
        if part == ".." or place.is_symlink() or not place.is_dir():
            return False
    return True


def _is_free(checkout: Path, path: str) -> bool:
    """Whether nothing is at `path`, and no link leads there."""
    above, place = Path(path).parent, checkout / path
    return (above == Path() or _is_plain(checkout, str(above))) and not place.exists() and not place.is_symlink()


def _age(one: Path) -> float:
    try:
        return one.stat().st_mtime
    except OSError:
        return 0.0
