"""Checkpoints of a workspace while somebody works in it: he does not notice, and what comes out is what was there."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
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


async def elsewhere(world: World, keeping: Keeping) -> Workspace:
    """A new workspace with what was kept last."""
    publisher = Publisher(world.mirror.git, world.tmp_path / "results", world.mirror)
    head = await publisher.admit(keeping.last(CHECKPOINT), world.base, EXECUTION, checkpoint=True)
    where = world.tmp_path / "executions" / "exe_2" / "repo"
    again = await Workspace.prepare(publisher.repository, head, "work", where)
    await taken_up(world.mirror.git, publisher.repository, again)
    return again


async def test_whoever_works_there_does_not_notice_and_all_of_it_is_there_elsewhere(world: World) -> None:
    workspace, keeping = await world.workspace(), Keeping()
    await at_work(workspace)
    before = await state(workspace)
    await checkpoints(world, workspace, keeping).take(final=True)
    assert await state(workspace) == before
    assert Taken.model_validate_json(keeping.last(NOTE)).final

    again = await elsewhere(world, keeping)
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
    (workspace.path / "new.txt").write_text("new\n")
    (workspace.path / ".git" / "objects").rename(workspace.path / ".git" / "nothing")
    with pytest.raises(ExportFailed):
        await taking.take()
    await taking.try_to_take()
    assert keeping.kept == []


async def untracked_things(path: Path) -> None:
    """Links that lead out, git directories of others, what is no file."""
    (path / "python").symlink_to("/usr/bin/python3")
    (path / "up").symlink_to("../..")
    await git("init", "--quiet", "fixture", cwd=path)
    clone = path / "vendor" / "clone \u00fc"
    clone.mkdir(parents=True)
    await git("init", "--quiet", cwd=clone)
    await git("commit", "--quiet", "--allow-empty", "-m", "theirs", cwd=clone)
    (clone / "theirs.txt").write_text("theirs\n")
    await git("worktree", "add", "--quiet", "wt", "-b", "other", cwd=path)
    (path / "stale").mkdir()
    (path / "stale" / ".git").write_text("gitdir: /nonexistent\n")
    (path / "stale" / "kept.txt").write_text("kept\n")
    (path / "line\nend").write_text("x\n")
    (path / ".gitmodules").write_text('[submodule "a"]\n\tpath = a\n')
    os.mkfifo(path / "pipe")


async def a_nested_repository_committed(path: Path) -> None:
    await git("init", "--quiet", "sub", cwd=path)
    await git("commit", "--quiet", "--allow-empty", "-m", "theirs", cwd=path / "sub")
    await git("add", "sub", cwd=path)
    await git("commit", "--quiet", "-m", "feat: sub", cwd=path)
    (path / "sub" / "theirs.txt").write_text("theirs\n")


async def encodings_that_do_not_fit(path: Path) -> None:
    await git("config", "core.safecrlf", "true", cwd=path)
    await git("config", "core.autocrlf", "true", cwd=path)
    (path / "mixed.txt").write_bytes(b"a\nb\r\n")
    (path / ".gitattributes").write_text("*.utf16 text working-tree-encoding=UTF-16\nmixed.txt text eol=crlf\n")
    (path / "no-mark.utf16").write_bytes("no mark\n".encode("utf-16-le"))


async def line_ends_that_would_change(path: Path) -> None:
    await git("config", "core.safecrlf", "true", cwd=path)
    await git("config", "core.autocrlf", "true", cwd=path)
    (path / "mixed.txt").write_bytes(b"a\nb\r\n")


async def a_broken_index(path: Path) -> None:
    (path / "kept.log").write_text("committed, though git ignores it\n")
    await git("add", "--force", "kept.log", cwd=path)
    await git("commit", "--quiet", "-m", "feat: log", cwd=path)
    (path / ".git" / "index").write_bytes(b"garbage")
    (path / ".git" / "index.lock").touch()


async def a_branch_without_a_commit(path: Path) -> None:
    await git("checkout", "--quiet", "--orphan", "fresh", cwd=path)


async def a_head_before_the_base(path: Path) -> None:
    await git("checkout", "--quiet", "--detach", "HEAD~1", cwd=path)
    for file in ("work.txt", "later.txt"):
        (path / file).unlink(missing_ok=True)


async def a_conflict(path: Path) -> None:
    for branch, content in (("other", "o\n"), ("third", "t\n")):
        await git("checkout", "--quiet", "-B", branch, "HEAD", cwd=path)
        (path / "a.txt").write_text(content)
        await git("commit", "--quiet", "--all", "-m", f"fix: {branch}", cwd=path)
        if branch == "other":
            await git("checkout", "--quiet", "--detach", "HEAD~1", cwd=path)
    with pytest.raises(AssertionError):
        await git("merge", "--quiet", "other", cwd=path)


@pytest.mark.parametrize(
    ("happens", "left_out"),
    [
        (untracked_things, {"fixture", "vendor/clone \u00fc", "wt"}),
        (a_nested_repository_committed, {"sub"}),
        (encodings_that_do_not_fit, set()),
        (line_ends_that_would_change, set()),
        (a_broken_index, set()),
        (a_branch_without_a_commit, set()),
        (a_head_before_the_base, set()),
        (a_conflict, set()),
    ],
)
async def test_whatever_state_a_workspace_is_in_its_files_come_back(
    world: World, happens: Callable[[Path], Awaitable[None]], left_out: set[str]
) -> None:
    world.base = await world.source.commit({"later.txt": "later\n"})
    await world.mirror.update()
    workspace, keeping = await world.workspace(), Keeping()
    (workspace.path / "work.txt").write_text("hours\n")
    await happens(workspace.path)
    await checkpoints(world, workspace, keeping).take(final=True)
    assert set(Taken.model_validate_json(keeping.last(NOTE)).left_out) == left_out

    again = await elsewhere(world, keeping)
    assert entries(again.path) == {
        name: content
        for name, content in entries(workspace.path).items()
        if not any(name.startswith(f"{left}/") for left in left_out)
    }
    assert " 160000 " not in await git("diff", "--cached", "--raw", cwd=again.path), "no link that Claude did not make"
    if happens is not a_branch_without_a_commit:
        last = ("log", "--format=%H", "-1")
        assert await git(*last, cwd=again.path) == await git(*last, cwd=workspace.path)
    assert await git("status", "--porcelain", cwd=again.path) or happens is a_head_before_the_base


def entries(folder: Path) -> dict[str, bytes | str]:
    """Files and links beneath a folder, but for git's own."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and ".git" not in path.relative_to(folder).parts
    }
