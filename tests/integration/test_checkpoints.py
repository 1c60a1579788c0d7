"""Checkpoints of a workspace while somebody works in it: he does not notice, and what comes out is what was there."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from agentvine.kit.clock import SystemClock
from agentvine.testing.git_repository import GitRepository, git
from agentvine.wire.control_plane import ControlPlane
from agentvine.worker.checkpoint import CHECKPOINT, NOTE, Checkpoints, Taken, taken_up
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirrors
from agentvine.worker.publisher import Publisher
from agentvine.worker.storing import Shelf
from agentvine.worker.workspace import ExportFailed, Workspace
from tests.integration.test_workspace import Box, World

EXECUTION = "exe_" + "1" * 26


class Keeping:
    """What of the server a checkpoint needs."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, bytes]] = []

    async def store_artifact(self, _execution_id: str, _token: int, name: str, content: bytes) -> None:
        self.kept.append((name, content))

    def last(self, name: str) -> bytes:
        return next(content for kept, content in reversed(self.kept) if kept == name)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    source = await GitRepository.create(
        tmp_path / "source", {"a.txt": "1\n", "gone.txt": "x\n", ".gitignore": "*.log\n"}
    )
    mirror = Mirrors(Git(tmp_path / "home"), tmp_path / "mirrors").of(f"file://{source.path}")
    await mirror.update()
    yield World(tmp_path, source, mirror, await source.head())


def checkpoints(world: World, workspace: Workspace, keeping: Keeping) -> Checkpoints:
    shelf = Shelf(cast("ControlPlane", keeping), EXECUTION, 1)
    return Checkpoints(workspace, world.base, Box(), shelf, SystemClock())


async def at_work(workspace: Workspace) -> None:
    """Somebody has committed, staged, changed, added, removed and ignored something."""
    path = workspace.path
    (path / "b.txt").write_text("committed\n")
    await git("add", "b.txt", cwd=path)
    await git("commit", "--quiet", "-m", "feat: b", cwd=path)
    (path / "a.txt").write_text("staged\n")
    await git("add", "a.txt", cwd=path)
    (path / "a.txt").write_text("changed after that\n")
    (path / "new.txt").write_text("new\n")
    (path / "gone.txt").unlink()
    (path / "build.log").write_text("noise\n")


async def state(workspace: Workspace) -> tuple[str, ...]:
    """All that whoever works there can see of git."""
    commands = (
        ("status", "--porcelain=v2", "--branch", "--ignored"),
        ("diff", "--cached"),
        ("for-each-ref",),
        ("log", "--all", "--format=%H %s"),
    )
    seen = [await git(*command, cwd=workspace.path) for command in commands]
    return (*seen, *sorted(path.name for path in (workspace.path / ".git").iterdir() if path.name != "index"))


async def test_whoever_works_there_does_not_notice_and_all_of_it_is_there_elsewhere(world: World) -> None:
    workspace, keeping = await world.workspace(), Keeping()
    await at_work(workspace)
    before = await state(workspace)
    await checkpoints(world, workspace, keeping).take(final=True)
    assert await state(workspace) == before
    assert Taken.model_validate_json(keeping.last(NOTE)).final

    publisher = Publisher(world.mirror.git, world.tmp_path / "results", world.mirror)
    head = await publisher.admit(keeping.last(CHECKPOINT), world.base, EXECUTION)
    where = world.tmp_path / "executions" / "exe_2" / "repo"
    again = await Workspace.prepare(publisher.repository, head, "work", where)
    await taken_up(world.mirror.git, publisher.repository, again)
    assert (again.path / "a.txt").read_text() == "changed after that\n"
    assert (again.path / "new.txt").exists()
    assert not (again.path / "gone.txt").exists()
    assert not (again.path / "build.log").exists()
    assert (await git("log", "--format=%s", "-1", cwd=again.path)).strip() == "feat: b"


async def test_what_has_not_changed_is_not_stored_again(world: World) -> None:
    workspace, keeping = await world.workspace(), Keeping()
    taking = checkpoints(world, workspace, keeping)
    await taking.take()
    assert keeping.last(CHECKPOINT) == b"", "as it is at the base"
    await at_work(workspace)
    await taking.take()
    assert keeping.last(CHECKPOINT)
    count = len(keeping.kept)
    await taking.take()
    assert len(keeping.kept) == count
    await taking.take(final=True)
    assert [name for name, _ in keeping.kept[count:]] == [NOTE], "only that it is final"
    (workspace.path / "new.txt").write_text("newer\n")
    await taking.take()
    assert len(keeping.kept) == count + 3


async def test_what_cannot_be_made_is_said_and_while_somebody_works_passed_over(world: World) -> None:
    workspace, keeping = await world.workspace(), Keeping()
    taking = checkpoints(world, workspace, keeping)
    (workspace.path / ".git" / "HEAD").write_text("ref: refs/heads/nowhere\n")
    with pytest.raises(ExportFailed):
        await taking.take()
    await taking.try_to_take()
    assert keeping.kept == []
