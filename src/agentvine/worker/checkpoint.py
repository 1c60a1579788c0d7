"""The state of a workspace that has to wait: its commits and what is not committed yet, as one bundle."""

from pathlib import Path

from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.git import Git
from agentvine.worker.rewriting import commit_of
from agentvine.worker.workspace import BoxRunner, Workspace, export_bundle

CHECKPOINT = "checkpoint"
"""The name under which the server keeps it."""
_MARK = "agentvine: what was not committed yet"


async def checkpoint(workspace: Workspace, base_sha: str, box: BoxRunner) -> bytes | None:
    """Everything since `base_sha` but for ignored files; None if nothing was changed. Raises ExportFailed.

    What is not committed becomes a last commit, which `taken_up` takes back. No process may be left in the workspace.
    """
    return await export_bundle(workspace, base_sha, _MARK, box)


async def taken_up(git: Git, repository: BareRepository, workspace: Workspace) -> None:
    """In a new workspace at a checkpoint, take back the commit of what was not committed; the files stay.

    Only before anybody else has touched the workspace. Raises GitFailed.
    """
    last = await commit_of(repository, workspace.commit)
    if last.message.decode("utf-8", "replace").strip() == _MARK and len(last.parents) == 1:
        git_dir = Path(workspace.path, ".git")
        await git.run(commands.update_ref(git_dir, f"refs/heads/{workspace.branch}", last.parents[0]))
