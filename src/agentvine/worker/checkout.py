"""Checkouts: folders with the files of one commit and a git directory of their own.

A checkout *borrows* its objects (git's alternates) from a repository of the host's, which it must be able to read and
nothing more. Not `git worktree`: that would share refs, configuration and index with the lender. Not a local clone with
hard links: an agent could write into the lender's files through them, as both belong to the same user. Not a full copy:
the history would be copied for each task.
"""

from dataclasses import dataclass
from pathlib import Path

from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository, lend
from agentvine.worker.folders import remove_folder


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder with the files of one commit. The host runs git in it only until somebody else has touched it."""

    path: Path
    commit: str
    borrowed: tuple[Path, ...]
    """Folders that git in it must be able to read, at these very paths; never to write."""

    async def remove(self) -> None:
        """Remove it. No process may be left in it."""
        await remove_folder(self.path)


def must_be_new(where: Path) -> None:
    """Raise FileExistsError if something is at `where`."""
    if where.exists() or where.is_symlink():
        raise FileExistsError(str(where))


async def checkout_clean(source: BareRepository, sha: str, where: Path) -> Checkout:
    """Check `sha` out into the new folder `where`, with a detached HEAD: files that no agent has touched.

    Raises GitFailed, and then `where` is not there; FileExistsError if it was before.
    """
    must_be_new(where)
    git_dir = where / ".git"
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        await source.git.run(commands.init_checkout(where, "main"))
        lend(git_dir, source.path / "objects")
        with (git_dir / "config").open("a") as file:
            file.write("[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n")
        await source.git.run(commands.check_out(git_dir, where, sha))
        await source.git.run(commands.update_ref(git_dir, "HEAD", sha))
    except BaseException:
        await remove_folder(where)
        raise
    return Checkout(where, sha, source.borrowed)
