"""The state of a workspace, so that the work can go on elsewhere: its commits and what is not committed, as one bundle.

It is made while the agent works, too, now and then: a worker that is lost takes with it only what came after the last.
So it is made from an index of its own, and neither the agent's index, branch nor files change.
"""

import asyncio
import secrets
import shlex
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from agentvine.domain.base import Model, Moment
from agentvine.domain.errors import AgentVineError
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.kit.process import ProcessError
from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.folders import remove_entry
from agentvine.worker.git import Git, GitCommand
from agentvine.worker.git_errors import RepositoryProblem
from agentvine.worker.hostile import Refused, read_beneath
from agentvine.worker.rewriting import commit_of
from agentvine.worker.storing import Shelf, artifact
from agentvine.worker.workspace import BUNDLE_LIMIT, BoxRunner, ExportFailed, Workspace

CHECKPOINT = "checkpoint"
"""The name under which the server keeps it; empty: everything is as it is at the base."""
NOTE = "checkpoint.json"
_MARK = "agentvine: what was not committed yet"
_SECONDS = 120.0
_UNCHANGED, _AT_BASE = 3, 4
_SCRIPT = f"""
set -e
own="$PWD/.git/agentvine-checkpoint"
trap 'rm -rf "$own"' EXIT
rm -rf "$own"
mkdir -p "$own/refs" "$own/objects"
cp .git/index "$own/index" 2> "$own/said" || rm -f "$own/index"
GIT_INDEX_FILE="$own/index"
export GIT_INDEX_FILE
eval "$ADD" 2> "$own/said" || {{ cat "$own/said" >&2; exit 1; }}
head=$(eval "$HEAD_IS HEAD")
tree=$(eval "$TREE")
echo "$tree $head"
test "$tree $head" != "$LAST" || exit {_UNCHANGED}
if test "$tree" != "$(eval "$HEAD_IS HEAD^{{tree}}")"; then head=$(eval "$COMMIT $tree -p $head"); fi
test "$head" != "$BASE" || exit {_AT_BASE}
echo "$head" > "$own/HEAD"
GIT_OBJECT_DIRECTORY="$PWD/.git/objects"
export GIT_OBJECT_DIRECTORY
eval "$BUNDLE"
"""
"""A copied index knows which files have not been touched, so that only the others are read. The bundle is made by a
second repository, of nothing but a HEAD, on the objects of the first."""

_log = logger("checkpoint")


class Taken(Model):
    """What is known of a checkpoint besides what is in it."""

    at: Moment
    final: bool = False
    """Nothing was changed after it: its agent had been stopped."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint as the server keeps it. `bundle` None: nothing is changed."""

    taken: Taken | None
    bundle: bytes | None


class Checkpoints:
    """Takes the checkpoints of one execution, whose workspace builds on `base_sha`; the server keeps the last."""

    def __init__(self, workspace: Workspace, base_sha: str, box: BoxRunner, shelf: Shelf, clock: Clock) -> None:
        self._workspace = workspace
        self._base = base_sha
        self._box = box
        self._shelf = shelf
        self._clock = clock
        self._last = ""
        self._one_at_a_time = asyncio.Lock()

    async def now_and_then(self, seconds: float) -> None:
        """Take one every so many seconds, without end; 0: none at all. That one fails is no reason to stop."""
        while seconds > 0:
            await pause(seconds)
            await self.try_to_take()

    async def try_to_take(self, *, final: bool = False) -> None:
        """As `take`, where work that cannot be kept is no reason to fail."""
        try:
            await self.take(final=final)
        except (AgentVineError, RepositoryProblem, ProcessError, OSError) as error:
            _log.warning("no checkpoint", execution_id=self._shelf.execution_id, why=f"{type(error).__name__}: {error}")

    async def take(self, *, final: bool = False) -> None:
        """Keep everything since the base but for ignored files, if it is not what was kept last.

        `final`: nothing changes it any more. What is not committed becomes a last commit, which `taken_up` takes back.
        Raises ExportFailed, LeaseLost.
        """
        async with self._one_at_a_time:
            at = self._clock.now()
            state, bundle = await self._made()
            if bundle is not None:
                await self._shelf.keep(CHECKPOINT, bundle)
                self._last = state
            if bundle is not None or final:
                await self._note(Taken(at=at, final=final))

    async def hand_in(self, bundle: bytes | None) -> None:
        """Keep a bundle that was made of the workspace for another purpose, after its agent had stopped."""
        async with self._one_at_a_time:
            at = self._clock.now()
            await self._shelf.keep(CHECKPOINT, bundle or b"")
            await self._note(Taken(at=at, final=True))

    async def _note(self, taken: Taken) -> None:
        await self._shelf.keep(NOTE, taken.model_dump_json().encode())

    async def _made(self) -> tuple[str, bytes | None]:
        """What the workspace is at, and the bundle; empty if there is nothing in it, None if it is as it was."""
        name = f".git/agentvine-{secrets.token_hex(8)}.bundle"
        who = self._workspace.identity
        identity = ("-c", f"user.name={who.name}", "-c", f"user.email={who.email}")
        words = {
            "ADD": _git("add", "--all", "--", "."),
            "HEAD_IS": _git("rev-parse", "--verify"),
            "TREE": _git("write-tree"),
            "COMMIT": _git(*identity, "commit-tree", "--no-gpg-sign", "-m", _MARK),
            "BUNDLE": shlex.join(
                GitCommand(
                    "",
                    ("bundle", "create", "--quiet", name, f"{self._base}..HEAD"),
                    repository=Path(".git/agentvine-checkpoint"),
                ).argv()
            ),
            "BASE": self._base,
            "LAST": self._last,
        }
        argv = ["env", *(f"{key}={value}" for key, value in words.items()), "sh", "-c", _SCRIPT]
        try:
            done = await self._box(argv, cwd=self._workspace.path, timeout=_SECONDS)
            if done.exit_code == _UNCHANGED:
                return self._last, None
            state = done.stdout.partition("\n")[0]
            if done.exit_code == _AT_BASE:
                return state, b""
            if done.exit_code != 0:
                raise ExportFailed(f"git ended with {done.exit_code}: {done.stderr[-2000:].strip()}")
            return state, await asyncio.to_thread(read_beneath, self._workspace.path, name, BUNDLE_LIMIT)
        except (Refused, OSError) as error:
            raise ExportFailed(f"could not read the bundle: {error}") from error
        finally:
            remove_entry(self._workspace.path, name)


async def kept_by(shelf: Shelf, execution_id: str) -> Kept | None:
    """The last checkpoint of an earlier execution; None if there is none."""
    bundle = await artifact(shelf.plane, execution_id, CHECKPOINT)
    if bundle is None:
        return None
    note = await artifact(shelf.plane, execution_id, NOTE)
    taken = None
    with suppress(ValidationError):
        taken = Taken.model_validate_json(note) if note is not None else None
    return Kept(taken, bundle or None)


async def taken_up(git: Git, repository: BareRepository, workspace: Workspace) -> None:
    """In a new workspace at a checkpoint, take back the commit of what was not committed; the files stay.

    Only before anybody else has touched the workspace. Raises GitFailed.
    """
    last = await commit_of(repository, workspace.commit)
    if last.message.decode("utf-8", "replace").strip() == _MARK and len(last.parents) == 1:
        git_dir = Path(workspace.path, ".git")
        await git.run(commands.update_ref(git_dir, f"refs/heads/{workspace.branch}", last.parents[0]))


def shown(moment: datetime) -> str:
    """A moment as the agent is told it."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _git(*args: str) -> str:
    """A command line for the shell in the box."""
    return shlex.join(GitCommand("", args, repository=Path(".git"), work_tree=Path()).argv())
