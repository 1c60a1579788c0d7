"""The folder of one execution, and the removal of those whose worker died."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agentvine.kit import failpoints
from agentvine.kit.logs import logger
from agentvine.kit.process import uninterrupted
from agentvine.worker.folders import remove_folder
from agentvine.worker.host_lock import exclusive

_LOCK_SECONDS = 30.0
_log = logger("place")

_NEVER_COMMITTED = (
    "__pycache__/",
    "*.py[cod]",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".tox/",
    ".nox/",
    ".coverage",
    ".coverage.*",
    "*.egg-info/",
    ".venv/",
    "node_modules/",
    ".DS_Store",
)
"""What tools leave behind and nobody means to commit, for repositories that do not ignore it themselves."""


@dataclass(frozen=True, slots=True)
class Place:
    """`workspace` is the agent's, `private` is the worker's, `checkouts` are for verification, `results` for commits
    on their way out."""

    root: Path

    @property
    def workspace(self) -> Path:
        """Where the agent works."""
        return self.root / "workspace"

    @property
    def private(self) -> Path:
        """The worker's own."""
        return self.root / "private"

    @property
    def checkouts(self) -> Path:
        """Clean checkouts in which base and result are tested."""
        return self.root / "checkouts"

    @property
    def results(self) -> Path:
        """Commits on their way out."""
        return self.root / "results"


@asynccontextmanager
async def place_of(folder: Path, execution_id: str, *, keep: bool = False) -> AsyncIterator[Place]:
    """An empty place for an execution, in `folder`; gone at the end unless it is to be kept. Raises OSError.

    If it cannot be removed, that does not undo what was done in it: the next worker's `sweep` tries again.
    """
    root = folder / execution_id
    lock = folder / f"{execution_id}.lock"
    async with exclusive(lock, _LOCK_SECONDS):
        try:  # also a worker that is told to leave while it makes the place leaves nothing
            await remove_folder(root)
            place = Place(root)
            for part in (place.private, place.checkouts, place.results):
                part.mkdir(mode=0o700, parents=True)
            yield place
        finally:
            await failpoints.reached("place.before_removal")
            await uninterrupted(_cleared(root, lock, keep=keep))  # it is cancelled again by a worker that leaves


async def _cleared(root: Path, lock: Path, *, keep: bool) -> None:
    if keep or await _removed(root):
        _unlock(lock)


def _unlock(lock: Path) -> None:
    lock.unlink(missing_ok=True)


async def sweep(folder: Path) -> None:
    """Remove the places whose worker is gone: nobody holds their lock. What resists is left, with a word in the log."""
    for lock in await asyncio.to_thread(lambda: list(folder.glob("*.lock"))):
        try:
            async with exclusive(lock, 0):
                if await _removed(lock.with_suffix("")):
                    lock.unlink(missing_ok=True)
        except TimeoutError:  # somebody works in it
            continue
        except OSError as error:
            _log.warning("cannot be swept", lock=str(lock), error=str(error))


async def _removed(root: Path) -> bool:
    try:
        await remove_folder(root)
    except OSError as error:
        _log.warning("cannot be removed", folder=str(root), error=str(error))
        return False
    return True


def never_commit_leftovers(workspace: Path) -> None:
    """Let git pass over what tools leave behind. Call it before anybody else has touched the workspace."""
    info = workspace / ".git" / "info"
    info.mkdir(exist_ok=True)
    with (info / "exclude").open("a") as file:
        file.write("\n".join(_NEVER_COMMITTED) + "\n")
