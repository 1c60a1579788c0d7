"""The diff so far: what people see of the work while something is asked of them.

It is made in the agent's box, from an index of its own, while the question is on its way: no answer waits for it, and
neither the agent's index nor its files change. It shows more than git would commit now: new files too, but for ignored
ones. It may be cut, and that it cannot be made is no reason not to ask.
"""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TypeVar

from agentvine.domain.errors import AgentVineError
from agentvine.kit.logs import logger
from agentvine.kit.process import ProcessError
from agentvine.worker.git import GitCommand
from agentvine.worker.sandbox.limits import LimitExceeded
from agentvine.worker.workspace import BoxRunner, Workspace

DRAFT = "draft.diff"
"""The name under which the server keeps it."""
LIMIT = 1_000_000
"""Bytes that are kept of it."""
_SECONDS = 60.0
_SCRIPT = """
index="$PWD/.git/agentvine-draft.index"
cp .git/index "$index" && GIT_INDEX_FILE="$index" && export GIT_INDEX_FILE || exit
trap 'rm -f "$index" "$index.lock"' EXIT
rm -f "$index.lock"
"""
"""A copied index knows which files have not been touched, so that only the others are read."""
Keep = Callable[[str, bytes], Awaitable[None]]
"""Stores an artifact of the execution under a name."""
_Answer = TypeVar("_Answer")

_log = logger("draft")


class DraftFailed(Exception):
    """It could not be made; the message says why."""


class Drafts:
    """Makes the diff of one execution since `base_sha` and keeps it on the server, the newest in place of the last."""

    def __init__(self, workspace: Workspace, base_sha: str, box: BoxRunner, keep: Keep) -> None:
        self._workspace = workspace
        self._base = base_sha
        self._box = box
        self._store = keep

    async def while_waiting(self, answer: Coroutine[object, object, _Answer | None]) -> _Answer | None:
        """What `answer` returns; meanwhile the draft is made. Without an answer the draft is finished first, for then
        the box is about to go."""
        drafting = asyncio.create_task(self._keep(), name="the diff so far")
        try:
            given = await answer
            if given is None:
                await asyncio.wait({drafting}, timeout=_SECONDS)
            return given
        finally:
            drafting.cancel()
            await asyncio.wait({drafting})
            if not drafting.cancelled() and (error := drafting.exception()) is not None:
                _log.warning("no diff so far", workspace=str(self._workspace.path), why=str(error))

    async def _keep(self) -> None:
        try:
            await self._store(DRAFT, await draft(self._workspace, self._base, self._box))
        except (AgentVineError, ProcessError, LimitExceeded, OSError) as error:
            raise DraftFailed(f"{type(error).__name__}: {error}") from error


async def draft(workspace: Workspace, base_sha: str, box: BoxRunner) -> bytes:
    """All changes since `base_sha`, committed or not, as a unified diff of at most about `LIMIT` bytes; a last line
    says if there is more. All git runs in the box. Raises DraftFailed, and what the box raises."""
    staged = _git("add", "--all", "--ignore-errors", "--", ".")
    shown = _git("diff", "--cached", "--no-ext-diff", "--no-textconv", "--no-color", base_sha, "--")
    script = _SCRIPT + '{ eval "$1" || test $? = 1; } && eval "$2"\n'
    done = await box(["sh", "-c", script, "sh", staged, shown], cwd=workspace.path, timeout=_SECONDS)
    if done.exit_code != 0:
        raise DraftFailed(f"git ended with {done.exit_code}: {done.stderr[-500:].strip()}")
    if len(done.raw) <= LIMIT:
        return done.raw
    whole_lines = done.raw[:LIMIT].rpartition(b"\n")[0]
    return whole_lines + f"\n[cut here: only the first {LIMIT} bytes are kept]\n".encode()


def _git(*args: str) -> str:
    """A command line for the shell in the box."""
    return shlex.join(GitCommand("", args, repository=Path(".git"), work_tree=Path()).argv())
