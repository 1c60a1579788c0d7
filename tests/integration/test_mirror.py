"""The host's mirror of a repository: fetched once for all who wait, looked into without a checkout."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import agentvine
from agentvine.domain.retry import FailureReason
from agentvine.kit.process import spawn
from agentvine.testing.git_repository import GitRepository
from agentvine.testing.git_server import Fault, GitServer
from agentvine.worker.bare_repository import ChangedFile
from agentvine.worker.git import Git
from agentvine.worker.git_errors import GitFailed, GitTrouble
from agentvine.worker.host_lock import exclusive
from agentvine.worker.mirror import BranchNotFound, Mirror, Mirrors, RepositoryEmpty

SOON = 60.0


class World:
    """A source repository, its bare remote behind a server, and a mirror of that."""

    def __init__(self, tmp_path: Path, server: GitServer, source: GitRepository) -> None:
        self.tmp_path = tmp_path
        self.server = server
        self.source = source
        self.remote = tmp_path / "remotes" / "app.git"
        self.git = Git(tmp_path / "home")
        self.mirrors = Mirrors(self.git, tmp_path / "mirrors")
        self.mirror = self.mirrors.of(server.url("app.git"))

    async def publish(self, *refspecs: str) -> None:
        await self.source.git("push", "--quiet", "--force", str(self.remote), *(refspecs or ("main",)))

    def fetches(self) -> int:
        """How many fetches reached the server."""
        return sum("info/refs" in request for request in self.server.requests)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    source = await GitRepository.create(tmp_path / "source", {"a.txt": "1\n"})
    await source.bare_copy(tmp_path / "remotes" / "app.git")
    async with GitServer(tmp_path / "remotes") as server:
        yield World(tmp_path, server, source)


async def test_it_follows_the_remote(world: World) -> None:
    await world.mirror.update()
    first = await world.source.head()
    assert await world.mirror.resolve("main") == first

    second = await world.source.commit({"b.txt": "2\n"})
    await world.publish("main", "main:topic/one")
    assert await world.mirror.resolve("main") == first
    await world.mirror.update()
    assert await world.mirror.resolve("main") == second
    assert await world.mirror.resolve("topic/one") == second

    await world.publish(f"+{first}:main", ":topic/one", "main:topic")  # moved back; and a name that was a folder
    await world.mirror.update()
    assert await world.mirror.resolve("main") == first
    assert await world.mirror.resolve("topic") == second
    with pytest.raises(BranchNotFound):
        await world.mirror.resolve("topic/one")


async def test_a_file_url_works_like_any_other(world: World) -> None:
    mirror = world.mirrors.of(f"file://{world.remote}")
    await mirror.update()
    assert await mirror.resolve("main") == await world.source.head()
    assert world.mirrors.of(f"file://{world.remote}") is mirror
    assert mirror.path != world.mirror.path


async def test_a_missing_branch_names_similar_ones(world: World) -> None:
    await world.publish("main", "main:develop", "main:release/1.2", "main:release/1.3")
    await world.mirror.update()
    with pytest.raises(BranchNotFound) as caught:
        await world.mirror.resolve("develp")
    assert caught.value.similar[0] == "develop"
    assert caught.value.reason is FailureReason.BRANCH_NOT_FOUND
    assert "did you mean develop" in str(caught.value)
    with pytest.raises(BranchNotFound) as caught:
        await world.mirror.resolve("zzz")
    assert set(caught.value.similar) == {"main", "develop", "release/1.2", "release/1.3"}
    with pytest.raises(BranchNotFound):  # a commit, a tag, or anything else that git might take for a name
        await world.mirror.resolve(await world.source.head())


async def test_an_empty_repository_is_said_to_be_empty(world: World) -> None:
    empty = await GitRepository.create(world.tmp_path / "empty")
    await empty.bare_copy(world.tmp_path / "remotes" / "empty.git")
    mirror = world.mirrors.of(world.server.url("empty.git"))
    await mirror.update()
    with pytest.raises(RepositoryEmpty, match="push a first commit"):
        await mirror.resolve("main")


async def test_a_failed_fetch_is_told_to_all_and_the_next_works(world: World) -> None:
    world.server.fault = Fault.BROKEN
    results = await all_of(3, world.mirror)
    assert all(isinstance(result, GitFailed) for result in results)
    world.server.fault = None
    await world.mirror.update()
    assert await world.mirror.resolve("main")


async def all_of(number: int, mirror: Mirror) -> list[Exception | None]:
    """Ask for an update `number` times at once; what each call raised."""

    async def one() -> Exception | None:
        try:
            await mirror.update()
        except GitFailed as failed:
            return failed
        return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(number)]
    return [task.result() for task in tasks]


async def test_callers_at_once_share_one_fetch(world: World) -> None:
    assert await all_of(8, world.mirror) == [None] * 8
    assert world.fetches() == 1


async def test_who_asks_during_a_fetch_gets_one_that_began_later(world: World) -> None:
    await world.mirror.update()
    before = world.fetches()
    world.server.fault, world.server.fault_on = Fault.SILENT, "info/refs"
    first = asyncio.create_task(world.mirror.update())
    async with asyncio.timeout(SOON):
        while world.fetches() == before:
            await world.server.next_request()
    newer = await world.source.commit({"b.txt": "2\n"})
    await world.publish()
    late = [asyncio.create_task(world.mirror.update()) for _ in range(5)]
    world.server.fault = None
    first.cancel()  # its request is never answered
    async with asyncio.timeout(SOON):
        await asyncio.wait(late)
    for task in late:
        task.result()
    assert await world.mirror.resolve("main") == newer
    assert world.fetches() == before + 2


async def test_a_fetch_that_nobody_waits_for_any_more_is_ended(world: World) -> None:
    world.server.fault = Fault.SILENT
    tasks = [asyncio.create_task(world.mirror.update()) for _ in range(3)]
    async with asyncio.timeout(SOON):
        while not world.fetches():
            await world.server.next_request()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    world.server.fault = None
    async with asyncio.timeout(SOON):  # the lock is free again
        await world.mirror.update()
    assert all(task.cancelled() for task in tasks)
    assert await world.mirror.resolve("main") is not None


async def test_one_who_gives_up_does_not_spoil_it_for_the_others(world: World) -> None:
    tasks = [asyncio.create_task(world.mirror.update()) for _ in range(3)]
    async with asyncio.timeout(SOON):
        while not world.fetches():
            await world.server.next_request()
        tasks[0].cancel()
        await asyncio.wait(tasks)
    assert tasks[0].cancelled()
    tasks[1].result()
    tasks[2].result()
    assert world.fetches() == 2


async def test_there_is_one_fetch_at_a_time_on_the_host(world: World) -> None:
    """Another process fetches, and is killed in the middle; what it leaves behind stops nobody."""
    await world.mirror.update()
    (world.mirror.path / "packed-refs.lock").touch()
    (world.mirror.path / "refs" / "remotes" / "origin" / "main.lock").touch()
    await world.source.commit({"b.txt": "2\n"})
    await world.publish()
    world.server.fault = Fault.SILENT
    script = f"""
import asyncio
from pathlib import Path
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirrors
git = Git(Path({str(world.tmp_path / "home")!r}))
asyncio.run(Mirrors(git, Path({str(world.tmp_path / "mirrors")!r})).of({world.mirror.url!r}).update())
"""
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(agentvine.__file__).parents[1])}
    before = world.fetches()
    async with await spawn([sys.executable, "-c", script], cwd=None, env=env):
        async with asyncio.timeout(SOON):
            while world.fetches() == before:
                await world.server.next_request()
        mine = asyncio.create_task(world.mirror.update())
        with pytest.raises(TimeoutError):
            async with exclusive(world.tmp_path / "mirrors" / f"{world.mirror.key}.lock", 0.1):
                pass
        assert world.fetches() == before + 1  # mine waits
        world.server.fault = None
    async with asyncio.timeout(SOON):
        await mine
    assert await world.mirror.resolve("main") == await world.source.head()


async def test_a_fetch_of_another_process_that_began_later_serves_too(world: World) -> None:
    twin = Mirrors(world.git, world.tmp_path / "mirrors").of(world.mirror.url)  # as another process has it
    async with exclusive(world.tmp_path / "mirrors" / f"{world.mirror.key}.lock", SOON):
        tasks = [asyncio.create_task(mirror.update()) for mirror in (world.mirror, twin)]
        await asyncio.wait(tasks, timeout=0.05)
    async with asyncio.timeout(SOON):
        await asyncio.wait(tasks)
    for task in tasks:
        task.result()
    assert world.fetches() == 1
    await twin.update()
    assert world.fetches() == 2


async def test_files_are_read_from_a_commit(world: World) -> None:
    await world.source.commit({"CLAUDE.md": "x" * 5000, "docs/real.md": b"\xff\x00raw", "sub/b.txt": "b"})
    (world.source.path / "link.md").symlink_to("docs/real.md")
    (world.source.path / "out").symlink_to("/etc/hostname")
    (world.source.path / "up").symlink_to("../../etc/hostname")
    (world.source.path / "loop").symlink_to("loop")
    commit = await world.source.commit({})
    await world.publish()
    await world.mirror.update()
    read = world.mirror.read_file
    assert await read(commit, "CLAUDE.md", 10_000) == b"x" * 5000
    assert await read(commit, "CLAUDE.md", 100) == b"x" * 100
    assert await read(commit, "docs/real.md", 100) == b"\xff\x00raw"
    assert await read(commit, "link.md", 100) == b"\xff\x00raw"
    for absent in ("absent", "docs", "out", "up", "loop", "a.txt/b", "/etc/hostname", "", "a\nb", ":a.txt", "*.md"):
        assert await read(commit, absent, 100) is None, absent


async def test_the_tree_is_listed(world: World) -> None:
    commit = await world.source.commit({"b c/ü.txt": "12345", "run.sh": "#!/bin/sh\n"})
    await world.publish()
    await world.mirror.update()
    listed = await world.mirror.list_tree(commit)
    assert [(file.mode, file.size, file.path) for file in listed] == [
        ("100644", 2, "a.txt"),
        ("100644", 5, "b c/ü.txt"),
        ("100644", 10, "run.sh"),
    ]


async def test_a_diff_is_capped_and_its_count_is_whole(world: World) -> None:
    await world.source.commit({"old.txt": "same\n" * 20, "bin": b"\0" * 100})
    base = await world.source.head()
    head = await world.source.commit(
        {"old.txt": None, "new.txt": "same\n" * 20 + "more\n", "big.txt": "line\n" * 5000, "bin": b"\0\1" * 100}
    )
    await world.publish()
    await world.mirror.update()
    diff = await world.mirror.diff(base, head, limit=2000)
    assert diff.truncated
    assert len(diff.text) < 2200
    assert diff.text.startswith("diff --git")
    assert diff.files == (
        ChangedFile("big.txt", 5000, 0),
        ChangedFile("bin", 0, 0),
        ChangedFile("new.txt", 1, 0, "old.txt"),
    )
    assert (diff.lines_added, diff.lines_removed) == (5001, 0)
    whole = await world.mirror.diff(base, head)
    assert not whole.truncated
    assert "rename from old.txt" in whole.text


async def test_what_the_repository_brings_along_is_not_run(world: World) -> None:
    """A diff driver named by the repository's own attributes, and the mirror's own configuration, have no say."""
    canary = world.tmp_path / "canary"
    base = await world.source.head()
    head = await world.source.commit({".gitattributes": "* diff=evil filter=evil\n", "a.txt": "2\n"})
    await world.publish()
    await world.mirror.update()
    with (world.mirror.path / "config").open("a") as config:
        config.write(f'[diff "evil"]\n\tcommand = touch {canary}\n\ttextconv = touch {canary}\n')
        config.write(f"[diff]\n\texternal = touch {canary}\n[core]\n\tfsmonitor = touch {canary}\n")
    assert "+2" in (await world.mirror.diff(base, head)).text
    assert not canary.exists()


async def test_a_repository_that_does_not_exist(world: World) -> None:
    with pytest.raises(GitFailed) as caught:
        await world.mirrors.of(world.server.url("absent.git")).update()
    assert caught.value.trouble is GitTrouble.REPOSITORY_NOT_FOUND
    assert caught.value.reason is FailureReason.REPOSITORY_NOT_FOUND
