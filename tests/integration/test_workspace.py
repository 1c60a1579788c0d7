"""Workspaces: private, quickly made, and out of them comes nothing but a bundle."""

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agentvine.kit.process import Completed, run
from agentvine.testing.git_repository import ENV, GitRepository, git
from agentvine.worker.breaker import SUSPECT
from agentvine.worker.checkout import checkout_clean
from agentvine.worker.folders import remove_folder
from agentvine.worker.git import Git
from agentvine.worker.git_errors import GitFailed
from agentvine.worker.mirror import Mirror, Mirrors
from agentvine.worker.spares import Spares
from agentvine.worker.workspace import ExportFailed, Identity, Workspace, export_bundle

BRANCH = "agentvine/fix/1-it"


class World:
    """A source repository, a mirror of it that is up to date, and room for workspaces."""

    def __init__(self, tmp_path: Path, source: GitRepository, mirror: Mirror, base: str) -> None:
        self.tmp_path = tmp_path
        self.source = source
        self.mirror = mirror
        self.base = base
        self.spares = Spares(tmp_path / "spares", reserve=0)

    async def newer(self) -> str:
        """A new commit, fetched."""
        commit = await self.source.commit({"a.txt": "2\n", "new/b.txt": "b\n", "run.sh": None})
        await self.mirror.update()
        return commit

    async def workspace(self, name: str = "exe_1", spares: Spares | None = None) -> Workspace:
        where = self.tmp_path / "executions" / name / "repo"
        return await Workspace.prepare(self.mirror, self.base, BRANCH, where, spares=spares)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    source = await GitRepository.create(
        tmp_path / "source", {"a.txt": "1\n", "run.sh": "#!/bin/sh\n", ".gitignore": "*.log\n"}
    )
    (source.path / "run.sh").chmod(0o755)
    base = await source.commit({})
    mirror = Mirrors(Git(tmp_path / "home"), tmp_path / "mirrors").of(f"file://{source.path}")
    await mirror.update()
    yield World(tmp_path, source, mirror, base)


class Box:
    """Stands for the sandbox: runs what it is given in the workspace, and notes it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    async def __call__(self, argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
        self.seen.append(tuple(argv))
        env = {"PATH": ENV["PATH"], "HOME": "/nonexistent", "IN_THE_BOX": "1"}
        return await run(argv, cwd=cwd, env=env, timeout=timeout, guarded=True)


def files(folder: Path) -> dict[str, bytes]:
    """All files beneath a folder but git's own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


async def test_a_workspace_is_on_its_branch_with_the_history_and_no_remote(world: World) -> None:
    made = await world.workspace()
    here = made.path
    assert files(here) == files(world.source.path)
    assert (here / "run.sh").stat().st_mode & 0o111
    assert (await git("status", "--porcelain", "--branch", cwd=here)).strip() == f"## {BRANCH}"
    assert (await git("log", "--format=%s", cwd=here)).split("\n")[1] == "feat: begin"
    assert await git("remote", cwd=here) == ""
    assert not list((here / ".git").glob("hooks/*"))
    who = await run(["git", "config", "user.name"], cwd=here, env={"PATH": ENV["PATH"]}, timeout=10)
    assert who.stdout == "AgentVine\n"


async def test_it_borrows_and_nothing_it_writes_reaches_the_mirror(world: World) -> None:
    made = await world.workspace()
    assert made.borrowed == (world.mirror.path / "objects",)
    inodes = {path.stat().st_ino for path in (world.mirror.path / "objects").rglob("*") if path.is_file()}
    assert not inodes & {path.stat().st_ino for path in made.path.rglob("*") if path.is_file()}
    before = {path: path.read_bytes() for path in world.mirror.path.rglob("*") if path.is_file()}
    (made.path / "a.txt").write_text("mine\n")
    await git("commit", "--quiet", "--all", "--message", "mine", cwd=made.path)
    await git("repack", "-a", "-d", "-l", "--quiet", cwd=made.path)
    assert {path: path.read_bytes() for path in world.mirror.path.rglob("*") if path.is_file()} == before


async def test_workspaces_do_not_see_one_another(world: World) -> None:
    one, two = await world.workspace("exe_1"), await world.workspace("exe_2")
    (one.path / "a.txt").write_text("one\n")
    await git("commit", "--quiet", "--all", "--message", "one", cwd=one.path)
    assert (two.path / "a.txt").read_text() == "1\n"
    assert (await git("rev-parse", "HEAD", cwd=two.path)).strip() == world.base


async def test_what_cannot_be_made_is_not_there(world: World) -> None:
    where = world.tmp_path / "executions" / "exe_1" / "repo"
    with pytest.raises(GitFailed):
        await Workspace.prepare(world.mirror, "1" * 40, BRANCH, where)
    with pytest.raises(GitFailed):
        await checkout_clean(world.mirror, "1" * 40, where)
    assert not where.exists()


async def test_what_is_there_is_not_touched(world: World) -> None:
    made = await world.workspace()
    with pytest.raises(FileExistsError):
        await world.workspace()
    with pytest.raises(FileExistsError):
        await checkout_clean(world.mirror, world.base, made.path)
    assert files(made.path) == files(world.source.path)


async def test_a_clean_checkout_is_detached_and_clean(world: World) -> None:
    newer = await world.newer()
    made = await checkout_clean(world.mirror, newer, world.tmp_path / "result")
    assert files(made.path) == files(world.source.path)
    assert (await git("status", "--porcelain", "--branch", cwd=made.path)).strip() == "## HEAD (no branch)"
    assert (await git("rev-parse", "HEAD", cwd=made.path)).strip() == newer
    await made.remove()
    assert not made.path.exists()


async def test_a_spare_is_taken_and_brought_up_to_date(world: World) -> None:
    await world.spares.refill(world.mirror, world.base)
    (old,) = (world.tmp_path / "spares").glob("*/*-*")
    inode = old.stat().st_ino
    newer = world.base = await world.newer()
    made = await world.workspace(spares=world.spares)
    assert made.path.stat().st_ino == inode
    assert not old.exists()
    assert files(made.path) == files(world.source.path)
    assert (await git("status", "--porcelain", "--branch", cwd=made.path)).strip() == f"## {BRANCH}"
    assert (await git("rev-parse", "HEAD", cwd=made.path)).strip() == newer


async def test_without_a_spare_it_is_made_from_the_mirror(world: World) -> None:
    made = await world.workspace(spares=world.spares)
    assert files(made.path) == files(world.source.path)


async def test_a_spoilt_spare_is_not_used(world: World) -> None:
    await world.spares.refill(world.mirror, world.base)
    (spare,) = (world.tmp_path / "spares").glob("*/*-*")
    (spare / ".git" / "index").write_bytes(b"no index")
    world.base = await world.newer()
    made = await world.workspace(spares=world.spares)
    assert files(made.path) == files(world.source.path)
    assert not spare.exists()


async def test_there_are_never_too_many_spares(world: World) -> None:
    spares = Spares(world.tmp_path / "spares", each=2, most=3, reserve=0)
    await spares.refill(world.mirror, world.base)
    await spares.refill(world.mirror, world.base)
    assert len(list((world.tmp_path / "spares").glob("*/*-*"))) == 2
    (world.tmp_path / "spares" / world.mirror.key / "0-killed.draft").mkdir()
    other = Mirrors(world.mirror.git, world.tmp_path / "mirrors").of(f"file://{world.source.path}/.git")
    await other.update()
    await spares.refill(other, world.base)
    found = list((world.tmp_path / "spares").glob("*/*-*"))
    assert len(found) == 3
    assert sum(spare.parent.name == other.key for spare in found) == 2
    full = Spares(world.tmp_path / "more", reserve=2**62)
    await full.refill(world.mirror, world.base)
    assert not list((world.tmp_path / "more").glob("*/*"))


async def head_of(bundle: bytes, world: World) -> GitRepository:
    """A clone of the source with the bundle's commits checked out."""
    (world.tmp_path / "out.bundle").write_bytes(bundle)
    await git("fetch", "--quiet", str(world.tmp_path / "out.bundle"), "HEAD", cwd=world.source.path)
    await git("checkout", "--quiet", "FETCH_HEAD", cwd=world.source.path)
    return world.source


async def test_commits_and_leftovers_come_out_as_a_bundle(world: World) -> None:
    made, box = await world.workspace(), Box()
    (made.path / "a.txt").write_text("committed\n")
    await git("commit", "--quiet", "--all", "--message", "fix: the first part", cwd=made.path)
    (made.path / "run.sh").write_text("staged\n")
    await git("add", "run.sh", cwd=made.path)
    (made.path / "a.txt").write_text("unstaged\n")
    (made.path / "untracked.txt").write_text("new\n")
    (made.path / "ignored.log").write_text("no\n")
    bundle = await export_bundle(made, world.base, "fix: what was left", box)
    assert bundle is not None
    result = await head_of(bundle, world)
    assert files(result.path) == {
        ".gitignore": b"*.log\n",
        "a.txt": b"unstaged\n",
        "run.sh": b"staged\n",
        "untracked.txt": b"new\n",
    }
    log = await result.git("log", "--format=%s|%an|%ae", f"{world.base}..")
    assert log.split("\n") == [
        "fix: what was left|AgentVine|agentvine@localhost",
        "fix: the first part|Ann|ann@example.org",
    ]
    assert not list(made.path.glob(".agentvine-*"))


async def test_without_commits_there_is_no_bundle(world: World) -> None:
    made, box = await world.workspace(), Box()
    (made.path / "ignored.log").write_text("no\n")
    assert await export_bundle(made, world.base, "fix: it", box) is None


async def test_commits_on_another_branch_or_none_come_out_too(world: World) -> None:
    made, box = await world.workspace(), Box()
    await git("checkout", "--quiet", "--detach", cwd=made.path)
    (made.path / "a.txt").write_text("detached\n")
    await git("commit", "--quiet", "--all", "--message", "fix: it", cwd=made.path)
    bundle = await export_bundle(made, world.base, "fix: it", box)
    assert bundle is not None
    assert (await head_of(bundle, world)).path.joinpath("a.txt").read_text() == "detached\n"


HOSTILE_CONFIG = """
[core]
	fsmonitor = "{program}"
	hooksPath = {hooks}
	sshCommand = "{program}"
	pager = "{program}"
	editor = "{program}"
	attributesFile = {attributes}
[filter "evil"]
	clean = "{program}"
	smudge = "{program}"
	required = true
[diff]
	external = "{program}"
[diff "evil"]
	textconv = "{program}"
	command = "{program}"
[uploadpack]
	packObjectsHook = "{program}"
[alias]
	add = "!{program}"
	bundle = "!{program}"
[credential]
	helper = "!{program}"
[gpg]
	program = "{program}"
[include]
	path = {included}
"""


def make_hostile(workspace: Path, canary: Path) -> None:
    """Fill a workspace's git directory with everything that makes git run a program.

    The program notes in `canary` whether it ran in the box or outside.
    """
    program = workspace / ".git" / "evil.sh"
    program.write_text(f'#!/bin/sh\necho "${{IN_THE_BOX:-host}}" >> {canary}\nexec cat\n')
    program.chmod(0o755)
    hooks = workspace / ".git" / "evil-hooks"
    hooks.mkdir()
    for name in (
        "pre-commit",
        "commit-msg",
        "post-commit",
        "post-checkout",
        "reference-transaction",
        "post-index-change",
    ):
        (hooks / name).symlink_to(program)
        (workspace / ".git" / "hooks").mkdir(exist_ok=True)
        (workspace / ".git" / "hooks" / name).symlink_to(program)
    attributes = workspace / ".git" / "evil-attributes"
    attributes.write_text("* filter=evil diff=evil merge=evil\n")
    (workspace / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    included = workspace / ".git" / "evil-config"
    included.write_text(f'[core]\n\tfsmonitor = "{program}"\n')
    places = {"program": program, "hooks": hooks, "attributes": attributes, "included": included}
    with (workspace / ".git" / "config").open("a") as config:
        config.write(HOSTILE_CONFIG.format(**places))


async def test_a_hostile_workspace_runs_nothing_on_the_host(world: World) -> None:
    canary = world.tmp_path / "canary"
    made, box = await world.workspace(), Box()
    make_hostile(made.path, canary)
    (made.path / "a.txt").write_text("changed\n")
    await git("status", cwd=made.path)  # what a careless host would do
    assert "host" in canary.read_text()
    canary.unlink()

    bundle = await export_bundle(made, world.base, "fix: it", box)
    assert bundle is not None
    said = set(canary.read_text().split()) if canary.exists() else set()
    assert said <= {"1"}  # inside the box it may do what it likes
    assert [argv[0] for argv in box.seen] == ["git"] * 4
    assert not any(str(world.tmp_path) in word for argv in box.seen for word in argv)

    if canary.exists():
        canary.unlink()
    await checkout_clean(world.mirror, world.base, world.tmp_path / "clean")
    await world.workspace("exe_2")
    await world.mirror.update()
    await made.remove()
    assert not canary.exists()
    assert not made.path.exists()


@pytest.mark.parametrize("command", ["add", "commit", "bundle"])
async def test_a_full_disk_is_not_held_against_the_result(world: World, command: str) -> None:
    made = await world.workspace()
    (made.path / "a.txt").write_text("mine\n")

    async def box(argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
        if command not in argv:
            return await Box()(argv, cwd=cwd, timeout=timeout)
        said = "echo 'error: unable to write file: No space left on device' >&2; exit 128"
        return await Box()(["sh", "-c", said], cwd=cwd, timeout=timeout)

    with pytest.raises(ExportFailed, match="No space left") as caught:
        await export_bundle(made, world.base, "fix: it", box)
    assert caught.value.reason in SUSPECT


@pytest.mark.parametrize("trick", ["link", "pipe", "folder", "large", "nothing"])
async def test_only_a_plain_file_of_bearable_size_is_read(world: World, trick: str) -> None:
    secret = world.tmp_path / "secret"
    secret.write_text("the host's")
    made = await world.workspace()

    async def box(argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
        if "bundle" not in argv:
            return await Box()(argv, cwd=cwd, timeout=timeout)
        name = next(word for word in argv if word.startswith(".agentvine-"))
        if trick == "link":
            (cwd / name).symlink_to(secret)
        elif trick == "pipe":
            os.mkfifo(cwd / name)
        elif trick == "folder":
            (cwd / name).mkdir()
        elif trick == "large":
            (cwd / name).write_bytes(b"x" * 2000)
        return Completed(tuple(argv), 0, "", "", 0.0, False)

    with pytest.raises(ExportFailed):
        await export_bundle(made, world.base, "fix: it", box, limit=1000)
    assert secret.read_text() == "the host's"


async def test_a_broken_repository_is_said_to_be_one(world: World) -> None:
    made = await world.workspace()
    await remove_folder(made.path / ".git")
    with pytest.raises(ExportFailed, match="git ended with"):
        await export_bundle(made, world.base, "fix: it", Box())


async def test_what_was_made_unwritable_is_removed_and_links_are_not_followed(world: World) -> None:
    outside = world.tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    made = await world.workspace()
    locked = made.path / "locked" / "deep"
    locked.mkdir(parents=True)
    (locked / "file").touch()
    (made.path / "link").symlink_to(outside)
    locked.chmod(0o500)
    locked.parent.chmod(0o500)
    await made.remove()
    assert not made.path.exists()
    assert (outside / "kept").exists()
    await made.remove()


async def test_an_identity_cannot_write_configuration() -> None:
    for name in ('x"\n[core]', "a\nb", "<x>"):
        with pytest.raises(ValueError, match="quotes"):
            Identity(name)
