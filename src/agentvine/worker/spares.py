"""Checkouts made ahead of need, so that the next task on a repository finds its files already there.

Only fresh ones, made by the host from its mirror: what an agent has touched is never used again.
"""

import contextlib
import secrets
import shutil
from pathlib import Path

from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.checkout import checkout_clean
from agentvine.worker.folders import remove_folder
from agentvine.worker.git_errors import GitFailed
from agentvine.worker.host_lock import exclusive

_DRAFT = ".draft"


class Spares:
    """The spare checkouts of a host, in `folder`, which must be on the same file system as the workspaces.

    At most `each` per repository and `most` in all, the oldest go first; none is made while the file system has less
    than `reserve` bytes free.
    """

    def __init__(self, folder: Path, *, each: int = 1, most: int = 8, reserve: int = 2 * 1024**3) -> None:
        self._folder = folder
        self._each = each
        self._most = most
        self._reserve = reserve

    async def take(self, source: BareRepository, sha: str, where: Path) -> bool:
        """Move a spare checkout of `source` to the new folder `where` and bring it to `sha`. False if there is none."""
        where.parent.mkdir(parents=True, exist_ok=True)
        for spare in sorted(self._ready(source), key=lambda spare: spare.name.startswith(sha), reverse=True):
            try:
                spare.rename(where)
            except OSError:  # somebody else was faster, or it lies on another file system
                continue
            try:
                await _bring(source, where, spare.name.partition("-")[0], sha)
            except GitFailed:
                await remove_folder(where)
                continue
            return True
        return False

    async def refill(self, source: BareRepository, sha: str) -> None:
        """Make spares of `source` at `sha` until there are enough. For the background, after one was taken.

        Does nothing while another process of the host is at it. Raises GitFailed.
        """
        with contextlib.suppress(TimeoutError):
            async with exclusive(self._folder / "lock", 0):
                for draft in self._folder.glob(f"*/*{_DRAFT}"):  # of a process that was killed
                    await remove_folder(draft)
                while len(self._ready(source)) < self._each and self._has_room():
                    await self._make(source, sha)
                await self._thin_out()

    def _ready(self, source: BareRepository) -> list[Path]:
        return [spare for spare in self._home(source).glob("*-*") if not spare.name.endswith(_DRAFT)]

    def _home(self, source: BareRepository) -> Path:
        return self._folder / source.path.stem

    def _has_room(self) -> bool:
        return shutil.disk_usage(self._folder).free >= self._reserve

    async def _make(self, source: BareRepository, sha: str) -> None:
        final = self._home(source) / f"{sha}-{secrets.token_hex(4)}"
        draft = final.with_name(f"{final.name}{_DRAFT}")
        try:
            await checkout_clean(source, sha, draft)
            draft.rename(final)
        finally:
            await remove_folder(draft)

    async def _thin_out(self) -> None:
        ready = [spare for spare in self._folder.glob("*/*-*") if not spare.name.endswith(_DRAFT)]
        for spare in sorted(ready, key=_age)[: -self._most]:
            with contextlib.suppress(FileNotFoundError):
                gone = spare.with_name(f"{spare.name}{_DRAFT}")
                spare.rename(gone)  # so that nobody takes it half removed
                await remove_folder(gone)


def _age(spare: Path) -> float:
    try:
        return spare.stat().st_mtime
    except FileNotFoundError:
        return 0.0


async def _bring(source: BareRepository, where: Path, old: str, new: str) -> None:
    """Bring an untouched checkout from one commit to another, writing only the files that differ."""
    if old == new:
        return
    git_dir = where / ".git"
    await source.git.run(commands.move_files(git_dir, where, old, new))
    await source.git.run(commands.update_ref(git_dir, "HEAD", new))
