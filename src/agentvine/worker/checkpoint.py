"""The state of a workspace, so that the work can go on elsewhere: its commits and what is not committed, as one bundle.

It is made while the agent works, too, now and then: a worker that is lost takes with it only what came after the last.
So it is made from an index of its own, and neither the agent's index, branch nor files change.
"""

import asyncio
import os
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
_MARK_RAW = f"{_MARK}, byte for byte"
"""As `_MARK`, but git's attributes had no say in it, and must have none when it is checked out."""
_SECONDS = 120.0
_UNCHANGED, _AT_BASE = 3, 4
_LEFT_OUT = 50
"""How many names of what is not in a checkpoint are noted, and how many characters of each."""
_LONGEST_NAME = 200
_CHANGES_LIMIT = 64 * 1024 * 1024
_SCRIPT = f"""
set -e
own="$PWD/.git/agentvine-checkpoint"
trap 'rm -rf "$own"' EXIT
rm -rf "$own"
mkdir -p "$own/refs" "$own/objects" "$own/info"
echo "$BASE" > "$own/HEAD"
cp .git/info/exclude "$own/info/exclude" 2> "$own/said" || rm -f "$own/info/exclude"
echo "$RAW" > "$own/info/attributes"
GIT_INDEX_FILE="$own/index"
GIT_OBJECT_DIRECTORY="$PWD/.git/objects"
export GIT_INDEX_FILE GIT_OBJECT_DIRECTORY

head=$(eval "$THERE rev-parse --verify --quiet 'HEAD^{{commit}}'" 2> "$own/said") || head="$BASE"
cp .git/index "$own/index" 2> "$own/said" || rm -f "$own/index"
if ! test -s "$own/index" || ! eval "$OWN ls-files" > "$own/said" 2>&1; then
  rm -f "$own/index"
  eval "$OWN read-tree $head"
fi

mark="$MARK" repository="$THERE" added=0
eval "$THERE $ADD" 2> "$own/said" || added=$?
if test $added -gt 1; then
  rm -f "$own/index.lock"
  mark="$MARK_RAW" repository="$OWN" added=0
  eval "$OWN $ADD" 2> "$own/said" || added=$?
fi
test $added -le 1 || {{ cat "$own/said" >&2; exit 1; }}
links() {{ sed -n 's/^:[0-7]* 160000 .*\t//p'; }}
eval "$OWN diff-index --cached --no-renames --diff-filter=AT $head" | links > "$own/links"
test ! -s "$own/links" || eval "$OWN update-index --force-remove --stdin" < "$own/links"
eval "$OWN diff-index --cached --no-renames $BASE" | links >> "$own/links"

tree=$(eval "$OWN write-tree")
echo "$tree $head"
cat "$own/links"
test $added = 0 || eval "$repository ls-files --others --modified --exclude-standard" 2> "$own/said" || true
test "$tree $head" != "$LAST" || exit {_UNCHANGED}
committed=$(eval "$OWN rev-parse --verify '$head^{{tree}}'")
test "$tree $head" != "$committed $BASE" || exit {_AT_BASE}
if test "$tree" != "$committed" || test -z "$(eval "$OWN rev-list --max-count=1 $BASE..$head")"; then
  head=$(eval "$OWN $COMMIT $tree -p $head" -m '"$mark"')
fi
echo "$head" > "$own/HEAD"
eval "$OWN $BUNDLE"
"""
"""All but HEAD and the first attempt to add is done by a second repository on the objects of the first, in which the
agent's git configuration and attributes do not count. A copied index knows which files have not been touched, so that
only the others are read; one that cannot be read is made from the last commit. To add ends with 1 where some files
could not be added, and with more where git gave up (an encoding that does not fit its file). A repository inside this
one would only be a link to its commit: it is left out. A bundle cannot be empty, so a HEAD before the base gets a
commit in any case."""
_RAW = "* -text !eol !crlf !ident !filter !working-tree-encoding"
"""For gitattributes(5): what is in the file counts, and nothing else."""

_log = logger("checkpoint")


class Taken(Model):
    """What is known of a checkpoint besides what is in it."""

    at: Moment
    final: bool = False
    """Nothing was changed after it: its agent had been stopped."""
    left_out: tuple[str, ...] = ()
    """What is not in it, as git names it: repositories inside this one, and files that cannot be read. May be cut."""


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
        self._left_out: tuple[str, ...] = ()
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
                await self._note(Taken(at=at, final=final, left_out=self._left_out))

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
        words = {
            "THERE": _git(Path(".git"), "core.safecrlf=false", "core.autocrlf=false", "core.quotePath=no"),
            "OWN": _git(
                Path(".git/agentvine-checkpoint"),
                f"user.name={who.name}",
                f"user.email={who.email}",
                "core.quotePath=no",
            ),
            "ADD": "add --all --sparse --ignore-errors -- .",
            "COMMIT": "commit-tree --no-gpg-sign",
            "BUNDLE": shlex.join(("bundle", "create", "--quiet", name, f"{self._base}..HEAD")),
            "RAW": _RAW,
            "MARK": _MARK,
            "MARK_RAW": _MARK_RAW,
            "BASE": self._base,
            "LAST": self._last,
        }
        argv = ["env", *(f"{key}={value}" for key, value in words.items()), "sh", "-c", _SCRIPT]
        try:
            done = await self._box(argv, cwd=self._workspace.path, timeout=_SECONDS)
            state, *left_out = done.stdout.split("\n")
            self._left_out = _plain(left_out)
            if done.exit_code == _UNCHANGED:
                return self._last, None
            if done.exit_code == _AT_BASE:
                return state, b""
            if done.exit_code != 0:
                why = f"git ended with {done.exit_code}: {done.stderr[-2000:].strip()}"
                raise ExportFailed(why, said=done.stderr)
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
    mark = last.message.decode("utf-8", "replace").strip()
    if mark not in {_MARK, _MARK_RAW} or len(last.parents) != 1:
        return
    git_dir = Path(workspace.path, ".git")
    if mark == _MARK_RAW:
        await _written_raw(git, workspace, last.parents[0])
    await git.run(commands.update_ref(git_dir, f"refs/heads/{workspace.branch}", last.parents[0]))


async def _written_raw(git: Git, workspace: Workspace, before: str) -> None:
    """Write what the checkpoint changed once more, byte for byte."""
    git_dir = Path(workspace.path, ".git")
    listed = await git.run(commands.files_changed(git_dir, before, workspace.commit, _CHANGES_LIMIT))
    paths = [path for path in listed.raw.split(b"\0") if path]
    attributes = git_dir / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_text(f"{_RAW}\n")
    try:
        for path in paths:
            remove_entry(workspace.path, os.fsdecode(path))
        await git.run(commands.write_files(git_dir, workspace.path, paths))
    finally:
        attributes.unlink()


def shown(moment: datetime) -> str:
    """A moment as the agent is told it."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _plain(names: list[str]) -> tuple[str, ...]:
    """Names that the box told, once each and fit to be read."""
    short = (name.rstrip("/")[:_LONGEST_NAME] for name in names if name)
    fit = ("".join(sign if sign.isprintable() else "?" for sign in name) for name in short)
    return tuple(dict.fromkeys(fit))[:_LEFT_OUT]


def _git(repository: Path, *settings: str) -> str:
    """The beginning of a command line for the shell in the box."""
    return shlex.join(GitCommand("", (), repository=repository, work_tree=Path(), settings=settings).argv())
