"""One bare mirror per repository and host, from which every workspace on that host is made.

The remote's branches lie under `refs/remotes/origin/`, so that nothing that is pruned with them can be ours. Objects
are never thrown away: workspaces borrow them.
"""

import asyncio
import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from agentvine.domain.retry import FailureReason
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.doorbell import pause
from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.git import NETWORK_SECONDS, PROBE_SECONDS, Git, GitCommand
from agentvine.worker.git_errors import GitFailed, GitTrouble, RepositoryProblem
from agentvine.worker.host_lock import exclusive

_ALL_BRANCHES = "+refs/heads/*:refs/remotes/origin/*"


class BranchNotFound(RepositoryProblem):
    """The remote has no such branch. `similar` are names that it has, the likeliest first."""

    reason = FailureReason.BRANCH_NOT_FOUND

    def __init__(self, branch: str, url: str, similar: list[str]) -> None:
        hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
        super().__init__(f"there is no branch {branch} in {url}{hint}")
        self.branch = branch
        self.similar = tuple(similar)


class RepositoryEmpty(RepositoryProblem):
    """The remote has no branch at all."""

    reason = FailureReason.REPOSITORY_EMPTY

    def __init__(self, url: str) -> None:
        super().__init__(f"{url} is empty: push a first commit, so that there is something to work on")


def repository_key(url: str) -> str:
    """The name under which a host keeps things of the repository at `url`."""
    return hashlib.sha256(url.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Fetch:
    """A fetch that is over, or one of another process that served as well."""

    started: float
    failure: GitFailed | None = None


class Mirror(BareRepository):
    """The host's mirror of the repository at `url`, kept in `folder`. A process has one per repository (`Mirrors`)."""

    def __init__(self, git: Git, folder: Path, url: str, clock: Clock | None = None) -> None:
        super().__init__(git, folder / f"{repository_key(url)}.git")
        self._clock = clock or SystemClock()
        self.url = url
        self.key = repository_key(url)
        self._lock = folder / f"{self.key}.lock"
        self._turn = asyncio.Lock()
        self._last = _Fetch(started=float("-inf"))

    async def update(self) -> None:
        """Return once a fetch is through that began after this was called.

        There is one fetch at a time on the host. Who asks while one runs shares the next one, and its failure, with all
        others that do; the success also with other processes. Raises GitFailed.
        """
        asked = self._clock.elapsed()
        async with self._turn:
            await pause(0)  # who asks at the same moment shares this fetch already
            if self._last.started < asked:
                self._last = await self._fetch(asked)
            if self._last.failure is not None:
                raise self._last.failure

    async def resolve(self, branch: str) -> str:
        """The commit at which `branch` was when last fetched. Raises BranchNotFound, RepositoryEmpty."""
        commit = await self.commit_at(f"refs/remotes/origin/{branch}")
        if commit is not None:
            return commit
        names = (await self.git.text(commands.branches(self.path))).split("\n")
        if names == [""]:
            raise RepositoryEmpty(self.url)
        raise BranchNotFound(branch, self.url, similar_names(branch, names))

    async def fork_of(self, branch: str, commit: str) -> str | None:
        """Where `commit` of `branch` parted from the remote's default branch, as last fetched.

        None for the default branch itself, and where there is none or nothing in common. Raises GitFailed.
        """
        told = await self.git.text(_default_branch(self.url))
        start = "ref: refs/heads/"
        names = [line.removeprefix(start).split("\t")[0] for line in told.splitlines() if line.startswith(start)]
        if not names or names[0] == branch:
            return None
        fork = await self.parting(names[0], commit)
        return fork if fork != commit else None

    async def parting(self, branch: str, commit: str) -> str | None:
        """The last commit that `commit` has in common with `branch`, as last fetched; None if there is none.

        Raises GitFailed.
        """
        onto = await self.commit_at(f"refs/remotes/origin/{branch}")
        if onto is None:
            return None
        return await self.git.text(_fork_point(self.path, onto, commit)) or None

    async def _fetch(self, asked: float) -> _Fetch:
        started = asked
        try:
            async with exclusive(self._lock, NETWORK_SECONDS) as stamp:
                started = self._clock.elapsed()
                if not _fetched_since(stamp, asked):
                    await self.create(self.url)
                    await self._fetch_now()
                    _write_stamp(stamp, started)
        except TimeoutError:
            late = GitFailed(f"fetch from {self.url}", None, "another fetch takes too long", GitTrouble.TIMEOUT)
            return _Fetch(started, late)
        except GitFailed as failed:
            return _Fetch(started, failed)
        return _Fetch(started)

    async def _fetch_now(self) -> None:
        """Fetch, and if that is held up by what a killed fetch left behind, tidy up and fetch again."""
        command = commands.fetch(self.path, self.url, [_ALL_BRANCHES], prune=True)
        try:
            await self.git.run(command)
        except GitFailed as failed:
            if ".lock': File exists" not in failed.stderr:
                raise
            await asyncio.to_thread(_remove_locks, self.path)
            await self.git.run(command)


class Mirrors:
    """The mirrors of a host, one object per repository."""

    def __init__(self, git: Git, folder: Path) -> None:
        self._git = git
        self._folder = folder
        self._known: dict[str, Mirror] = {}

    def of(self, url: str) -> Mirror:
        """The mirror of the repository at `url`, which need not exist yet."""
        return self._known.setdefault(url, Mirror(self._git, self._folder, url))


def similar_names(name: str, names: list[str], most: int = 5) -> list[str]:
    """At most `most` of `names`, those most like `name` first; where none is, the shortest few."""
    close = difflib.get_close_matches(name, names, n=most, cutoff=0.4)
    return close or sorted(names, key=lambda other: (len(other), other))[:most]


def _default_branch(url: str) -> GitCommand:
    """To which branch the remote's HEAD points: `ref: NAME TAB HEAD`; nothing if it says none."""
    args = ("ls-remote", "--quiet", "--symref", "--", url, "HEAD")
    return GitCommand(f"look at {url}", args, url=url, timeout=PROBE_SECONDS)


def _fork_point(repository: Path, one: str, other: str) -> GitCommand:
    """The last commit that two have in common; nothing, with exit code 1, if there is none."""
    args = ("merge-base", "--end-of-options", one, other)
    return GitCommand("compare two commits", args, repository=repository, ok=frozenset({0, 1}))


def _remove_locks(repository: Path) -> None:
    """Remove git's lock files. Only for the holder of the host-wide lock.

    A fetch over a network ends with its worker; a local one may outlive it for a moment, and then at worst fails.
    """
    for found in [*repository.glob("*.lock"), *(repository / "refs").rglob("*.lock")]:
        found.unlink(missing_ok=True)


def _boot() -> bytes:
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()


def _write_stamp(stamp: int, started: float) -> None:
    """Note in the lock file when the last good fetch began; the boot's name, as that clock starts anew with each."""
    os.ftruncate(stamp, 0)
    os.pwrite(stamp, b"%b %.6f" % (_boot(), started), 0)


def _fetched_since(stamp: int, asked: float) -> bool:
    boot, _, started = os.pread(stamp, 200, 0).partition(b" ")
    return boot == _boot() and float(started) >= asked
