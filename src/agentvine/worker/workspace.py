"""The private workspace of an execution, and how its commits get out of it.

The host runs git in a workspace only until an agent has touched it: after that, hooks, filters, fsmonitor and more in
`.git/config` would run the agent's commands in the host's name. Whatever git has to do there from then on is done
inside the agent's own box. What comes out, one bundle file, is read as what it is: a stranger's.
"""

import asyncio
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from agentvine.domain.retry import FailureReason
from agentvine.kit.process import Completed
from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.checkout import Checkout, checkout_clean, must_be_new
from agentvine.worker.folders import remove_entry, remove_folder
from agentvine.worker.git import GitCommand
from agentvine.worker.git_errors import GitTrouble, RepositoryProblem, classify
from agentvine.worker.hostile import Refused, read_beneath
from agentvine.worker.spares import Spares

BUNDLE_LIMIT = 100 * 1024 * 1024
_BOX_SECONDS = 300.0


class BoxRunner(Protocol):
    """Runs a command inside the box of a workspace, where the workspace's own processes run too.

    `cwd` is the workspace's folder as the host names it. The box may know it by another name, so `argv` holds none.
    """

    async def __call__(self, argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed: ...


class ExportFailed(RepositoryProblem):
    """The commits could not be brought out of the workspace: what the agent left there is no sound repository.

    Where git said that the disk is full the reason is another, for which a worker looks at its own disk: words from
    the agent's box prove nothing, and a disk that is full is not the result's fault.
    """

    reason = FailureReason.RESULT_REFUSED

    def __init__(self, message: str, *, said: str = "") -> None:
        """`said` is what git wrote."""
        super().__init__(message)
        if classify(said) is GitTrouble.DISK_FULL:
            self.reason = FailureReason.WORKER_ERROR


@dataclass(frozen=True, slots=True)
class Identity:
    """In whose name commits are made."""

    name: str = "AgentVine"
    email: str = "agentvine@localhost"

    def __post_init__(self) -> None:
        if re.search(r'[\x00-\x1f"\\<>]', self.name + self.email):
            raise ValueError("no quotes, angle brackets or control characters in a name that signs commits")


@dataclass(frozen=True, slots=True)
class Workspace(Checkout):
    """The checkout that an agent works in, on a local branch; `commit` is its base. It knows no remote."""

    branch: str
    identity: Identity

    @classmethod
    async def prepare(
        cls,
        mirror: BareRepository,
        base_sha: str,
        branch_name: str,
        where: Path,
        *,
        identity: Identity | None = None,
        spares: Spares | None = None,
    ) -> Self:
        """Check `base_sha` out into the new folder `where`, on the new local branch `branch_name`.

        From `spares`, one that was made ahead is taken if there is one, which is many times faster. Raises GitFailed,
        and then `where` is not there; FileExistsError if it was before.
        """
        must_be_new(where)
        who = identity or Identity()
        try:
            if spares is None or not await spares.take(mirror, base_sha, where):
                await checkout_clean(mirror, base_sha, where)
            await _adopt(mirror, base_sha, branch_name, where, who)
        except BaseException:
            await remove_folder(where)
            raise
        return cls(where, base_sha, mirror.borrowed, branch_name, who)


async def _adopt(source: BareRepository, sha: str, branch: str, where: Path, who: Identity) -> None:
    git_dir = where / ".git"
    with (git_dir / "config").open("a") as file:
        file.write(f'[user]\n\tname = "{who.name}"\n\temail = "{who.email}"\n[commit]\n\tgpgSign = false\n')
    await source.git.run(commands.update_ref(git_dir, f"refs/heads/{branch}", sha))
    await source.git.run(commands.point_head(git_dir, branch))


async def export_bundle(
    workspace: Workspace, base_sha: str, message: str, box: BoxRunner, *, limit: int = BUNDLE_LIMIT
) -> bytes | None:
    """The commits after `base_sha`, as a git bundle with the single ref HEAD; None if there are none.

    What the agent left uncommitted (staged or not, new files too, but for ignored ones) is committed first, as one
    commit with `message`. All git runs in the box. What comes back is hostile input for `Publisher.admit`.
    Raises ExportFailed.
    """
    await _commit_leftovers(workspace, message, box)
    name = f".agentvine-{secrets.token_hex(8)}.bundle"
    try:
        made = await _in_box(workspace, box, "bundle", "create", "--quiet", name, f"{base_sha}..HEAD")
        if made.exit_code != 0:
            if "empty bundle" in made.stderr:
                return None
            raise _failed("make the bundle", made)
        return await asyncio.to_thread(read_beneath, workspace.path, name, limit)
    except (Refused, OSError) as error:
        raise ExportFailed(f"could not read the bundle: {error}") from error
    finally:
        remove_entry(workspace.path, name)


async def _commit_leftovers(workspace: Workspace, message: str, box: BoxRunner) -> None:
    added = await _in_box(workspace, box, "add", "--all", "--", ".")
    if added.exit_code != 0:
        raise _failed("stage what was left uncommitted", added)
    staged = await _in_box(workspace, box, "diff", "--cached", "--quiet", "--no-ext-diff", "HEAD", "--")
    if staged.exit_code == 0:
        return
    who = workspace.identity
    name = ("-c", f"user.name={who.name}", "-c", f"user.email={who.email}")
    done = await _in_box(workspace, box, *name, "commit", "--quiet", "--no-verify", "--no-status", "-m", message)
    if done.exit_code != 0:
        raise _failed("commit what was left uncommitted", done)


async def _in_box(workspace: Workspace, box: BoxRunner, *args: str) -> Completed:
    command = GitCommand("", args, repository=Path(".git"), work_tree=Path())
    return await box(command.argv(), cwd=workspace.path, timeout=_BOX_SECONDS)


def _failed(what: str, done: Completed) -> ExportFailed:
    why = f"could not {what}: git ended with {done.exit_code}: {done.stderr[-2000:].strip()}"
    return ExportFailed(why, said=done.stderr)
