"""What takes results in and sends them out: the only part of a worker that pushes.

It has a bare repository of its own, which borrows from the mirror, and works there alone: on bundles, never on a
workspace. Whatever it does may be done again after a crash and then has the same outcome.
"""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

from agentvine.domain.repository import check_branch
from agentvine.domain.retry import FailureReason
from agentvine.kit import failpoints
from agentvine.worker import git as commands
from agentvine.worker.admission import Limits, ResultRefused, inspect, open_bundle
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.git import Git, GitCommand
from agentvine.worker.git_errors import GitFailed, GitTrouble, RepositoryProblem
from agentvine.worker.host_lock import exclusive
from agentvine.worker.mirror import Mirror
from agentvine.worker.rewriting import sign, transplant

_ID = re.compile(r"^[A-Za-z0-9_-]{1,100}$")
_LOCK_SECONDS = 600.0
_LATER = frozenset({GitTrouble.UNREACHABLE, GitTrouble.TIMEOUT})


class BranchMoved(RepositoryProblem):
    """The branch is not where it was expected; nothing was pushed. None: it does not exist."""

    reason = FailureReason.BRANCH_MOVED

    def __init__(self, branch: str, expected: str | None, found: str | None) -> None:
        super().__init__(f"{branch} moved: expected {expected or 'no such branch'}, found {found or 'no such branch'}")
        self.branch = branch
        self.expected = expected
        self.found = found


class NotFastForward(BranchMoved):
    """The branch is where it was expected, but the new commit does not build on it."""


class PushRejected(RepositoryProblem):
    """The remote refuses, and will again: a hook, a protected branch, a missing right. The message is the remote's."""

    reason = FailureReason.PUSH_REJECTED


class RemoteUnavailable(RepositoryProblem):
    """The remote cannot be reached now; whether a push went through is not known until it is asked again."""

    reason = FailureReason.REPOSITORY_UNREACHABLE


class Publisher:
    """The publisher for the repository that `mirror` mirrors; its bare repository lies in `folder`.

    That may be thrown away with the execution: whoever goes on with a result takes its bundle in again.
    """

    def __init__(self, git: Git, folder: Path, mirror: Mirror, limits: Limits | None = None) -> None:
        self.repository = BareRepository(git, folder / f"{mirror.key}.git")
        self._git = git
        self._folder = folder
        self._lock = folder / f"{mirror.key}.lock"
        self._mirror = mirror
        self._limits = limits or Limits()
        self._url = mirror.url

    async def admit(self, bundle: bytes, base_sha: str, execution_id: str, *, checkpoint: bool = False) -> str:
        """Take a workspace's bundle in, if it keeps the rules, as `refs/agentvine/executions/<id>`. Returns its head.

        Every object's form is checked, and every commit after `base_sha` (see admission.py). A checkpoint is held to
        fewer rules, and its head must never leave this host. Raises ResultRefused.
        """
        ref = _ref(execution_id)
        if len(bundle) > self._limits.bundle_bytes:
            raise ResultRefused(f"the result has {len(bundle)} bytes, more than {self._limits.bundle_bytes}")
        head, pack = open_bundle(bundle)
        await self._open()
        async with exclusive(self._lock, _LOCK_SECONDS), self._unpacked(pack):
            await inspect(self.repository, base_sha, head, self._limits, checkpoint=checkpoint)
        await self._git.run(commands.update_ref(self.repository.path, ref, head))
        return head

    async def sign_off(self, head_sha: str, base_sha: str, *, task_id: str, execution_id: str, prefix: str) -> str:
        """Make every commit after `base_sha` name its task and execution and begin as Conventional Commits do.

        `prefix` is the type for a subject that has none: feat, fix, test, docs, refactor. Author, dates and files stay;
        done again, also on its own result, the same head comes out. Returns the new head.
        """
        trailers = {"AgentVine-Task": task_id, "AgentVine-Execution": execution_id}
        return await sign(self.repository, head_sha, base_sha, prefix, trailers)

    async def rebase(self, head_sha: str, old_base: str, new_base: str) -> str:
        """Apply the commits after `old_base` onto `new_base`, which must have been fetched. Returns the new head.

        Authors and dates stay, committer dates become the author's: the same input gives the same head. It is
        `new_base` itself if all changes are there already. Raises RebaseConflict.
        """
        await self._open()
        return await transplant(self.repository, head_sha, old_base, new_base)

    async def remote_sha(self, branch: str) -> str | None:
        """Where the branch is now; None if it does not exist. Raises RemoteUnavailable, GitFailed."""
        ref = f"refs/heads/{check_branch(branch)}"
        try:
            listed = await self._git.text(commands.ls_remote(self._url, ref))
        except GitFailed as failed:
            raise _later(failed) from failed
        found = (line.split("\t") for line in listed.splitlines())
        return next((sha for sha, name in found if name == ref), None)

    async def push(
        self, branch: str, new_sha: str, expected_old_sha: str | None, *, fast_forward_only: bool = False
    ) -> None:
        """Set the remote's `branch` from `expected_old_sha` (None: it does not exist yet) to `new_sha`, and confirm it.

        A branch that is at `new_sha` already is a success. The remote compares and sets in one step, so nobody's work
        is ever overwritten. Raises BranchMoved, NotFastForward, PushRejected, RemoteUnavailable, GitFailed.
        """
        found = await self.remote_sha(branch)
        if found == new_sha:
            return
        if found != expected_old_sha:
            raise BranchMoved(branch, expected_old_sha, found)
        if fast_forward_only and found is not None and not await self._builds_on(new_sha, found):
            raise NotFastForward(branch, expected_old_sha, found)
        try:
            push = commands.push(self.repository.path, self._url, branch, new_sha, expected_old_sha)
            await self._git.run(push)
            await failpoints.reached("push.before_confirmation", lambda: _reply_lost(push))
        except GitFailed as failed:
            await self._explain(failed, branch, new_sha, expected_old_sha)
            return
        if (now := await self.remote_sha(branch)) != new_sha:
            raise BranchMoved(branch, new_sha, now)

    async def _explain(self, failed: GitFailed, branch: str, new: str, old: str | None) -> None:
        """Find out what a failed push did: return if it went through after all, else raise what it means."""
        found = await self.remote_sha(branch)
        if found == new:
            return
        if found != old:
            raise BranchMoved(branch, old, found) from failed
        if failed.trouble in {GitTrouble.REJECTED_BY_REMOTE, GitTrouble.AUTH_FAILED}:
            raise PushRejected(_words_of_the_remote(failed)) from failed
        raise _later(failed) from failed

    async def _builds_on(self, new: str, old: str) -> bool:
        if await self.repository.commit_at(old) is None:
            await self._mirror.update()
        return await self.repository.commit_at(old) is not None and await self.repository.descends(new, old)

    async def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self.repository.create(f"results for {self._url}", borrow_from=self._mirror.path / "objects")

    @contextlib.asynccontextmanager
    async def _unpacked(self, pack: bytes) -> AsyncIterator[None]:
        """Store a pack for good, unless the block raises. Only for the holder of the lock: what is new is its own."""
        packs = self.repository.path / "objects" / "pack"
        before = set(packs.iterdir())
        try:
            await self._git.run(self._unpack(pack))
            yield
        except BaseException as error:
            for file in set(packs.iterdir()) - before:
                file.unlink(missing_ok=True)
            if isinstance(error, GitFailed) and error.trouble in {GitTrouble.OTHER, GitTrouble.TIMEOUT}:
                raise ResultRefused(f"git refuses the result: {error.stderr}") from error
            raise

    def _unpack(self, pack: bytes) -> GitCommand:
        limits = self._limits
        return commands.unpack(self.repository.path, pack, largest=limits.file_bytes, memory=limits.memory_bytes)


def _ref(execution_id: str) -> str:
    if not _ID.match(execution_id):
        raise ValueError(f"not an execution's id: {execution_id!r}")
    return f"refs/agentvine/executions/{execution_id}"


def _later(failed: GitFailed) -> RepositoryProblem:
    """What can be tried again later, told apart from what cannot."""
    return RemoteUnavailable(str(failed)) if failed.trouble in _LATER else failed


def _reply_lost(push: GitCommand) -> GitFailed:
    """The error of a push that went through without an answer."""
    return GitFailed(push.what, 128, "fatal: the remote end hung up unexpectedly")


def _words_of_the_remote(failed: GitFailed) -> str:
    if "refusing to update checked out branch" in failed.stderr:
        return "the branch is checked out in that repository, which is not bare; check out another one there, and retry"
    said = [line for line in failed.stderr.splitlines() if line.startswith("remote:") or "[remote rejected]" in line]
    return "\n".join(line.removeprefix("remote:").strip() for line in said).strip() or failed.stderr
