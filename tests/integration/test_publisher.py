"""The publisher: takes in only what keeps to the rules, signs it, and pushes it exactly once."""

import hashlib
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.domain.retry import FailureReason
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.git_server import Fault, GitServer
from agentvine.worker.admission import Limits, ResultRefused
from agentvine.worker.git import Git, GitCommand
from agentvine.worker.git_errors import GitFailed
from agentvine.worker.mirror import Mirrors
from agentvine.worker.publisher import (
    BranchMoved,
    NotFastForward,
    Publisher,
    PushRejected,
    RemoteUnavailable,
)
from agentvine.worker.rewriting import RebaseConflict

LIMITS = Limits(bundle_bytes=1_000_000, file_bytes=10_000, commits=5, changes_bytes=100_000, memory_bytes=400_000_000)
EXECUTION = "exe_1"


class World:
    """A remote, an agent's clone of it that makes results, and a publisher."""

    def __init__(self, tmp_path: Path, agent: GitRepository, remote: Path, url: str, base: str) -> None:
        self.tmp_path = tmp_path
        self.agent = agent
        self.remote = remote
        self.base = base
        self.git = Git(tmp_path / "home")
        self.mirror = Mirrors(self.git, tmp_path / "mirrors").of(url)
        self.publisher = Publisher(self.git, tmp_path / "publisher", self.mirror, LIMITS)

    async def bundle(self, *revisions: str) -> bytes:
        """A bundle of the agent's commits after the base, or of what is asked for."""
        await self.agent.git("bundle", "create", "--quiet", "../b", *(revisions or (f"{self.base}..HEAD",)))
        return (self.tmp_path / "b").read_bytes()

    async def admit(self) -> str:
        return await self.publisher.admit(await self.bundle(), self.base, EXECUTION)

    async def signed(self) -> str:
        return await self.publisher.sign_off(
            await self.admit(), self.base, task_id="tsk_1", execution_id=EXECUTION, prefix="fix"
        )

    async def refused(self, why: str) -> None:
        """The agent's present result is refused for this reason, and leaves no ref behind."""
        with pytest.raises(ResultRefused, match=why) as caught:
            await self.admit()
        assert caught.value.reason is FailureReason.RESULT_REFUSED
        assert await git("for-each-ref", cwd=self.publisher.repository.path) == ""
        assert not list((self.publisher.repository.path / "objects" / "pack").iterdir())

    async def look(self, *args: str) -> str:
        """Run git in the publisher's repository."""
        return (await git(f"--git-dir={self.publisher.repository.path}", *args, cwd=self.tmp_path)).strip()

    async def at_remote(self, branch: str) -> str:
        return (await git("rev-parse", f"refs/heads/{branch}", cwd=self.remote)).strip()

    async def pushed_by_others(self, files: dict[str, str | bytes | None], branch: str = "main") -> str:
        """A person's commit on top of the base, pushed to `branch` and fetched by the mirror."""
        person = GitRepository(self.tmp_path / f"person-{branch.replace('/', '-')}")
        await git("clone", "--quiet", str(self.remote), str(person.path), cwd=self.tmp_path)
        commit = await person.commit(files, "feat: meanwhile")
        await person.git("push", "--quiet", "--force", "origin", f"HEAD:{branch}")
        await self.mirror.update()
        return commit

    async def refs_of_remote(self) -> dict[str, str]:
        lines = (await git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.remote)).splitlines()
        return dict(line.split(" ") for line in lines)

    def hook(self, name: str, script: str) -> None:
        hook = self.remote / "hooks" / name
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)


async def make_world(tmp_path: Path, url: str) -> World:
    agent = await GitRepository.create(tmp_path / "agent", {"a.txt": "1\n2\n3\n4\n5\n", "b.txt": "b\n"})
    base = await agent.commit({"a.txt": "one\n2\n3\n4\n5\n"}, "feat: second")
    (tmp_path / "remotes").mkdir()
    remote = await agent.bare_copy(tmp_path / "remotes" / "app.git")
    world = World(tmp_path, agent, remote, url, base)
    await world.mirror.update()
    return world


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[GitServer]:
    async with GitServer(tmp_path / "remotes") as running:
        yield running


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await make_world(tmp_path, f"file://{tmp_path}/remotes/app.git")


@pytest.fixture(params=["file", "http"])
async def anywhere(tmp_path: Path, server: GitServer, request: pytest.FixtureRequest) -> World:
    """The same world, with its remote as a file and over HTTP."""
    file = f"file://{tmp_path}/remotes/app.git"
    return await make_world(tmp_path, file if request.param == "file" else server.url("app.git"))


# Taking in


async def test_a_good_result_is_taken_in(world: World) -> None:
    (world.agent.path / "link").symlink_to("a.txt")
    (world.agent.path / "tool.sh").write_text("#!/bin/sh\n")
    (world.agent.path / "tool.sh").chmod(0o755)
    head = await world.agent.commit({"new/c.txt": "c\n", "b.txt": None})
    assert await world.admit() == head
    assert await world.look("for-each-ref", "--format=%(refname) %(objectname)") == (
        f"refs/agentvine/executions/{EXECUTION} {head}"
    )
    assert (await world.publisher.repository.diff(world.base, head)).lines_added == 3

    better = await world.agent.commit({"new/c.txt": "better\n"})
    assert await world.admit() == better
    assert await world.admit() == better


async def test_branches_that_the_agent_merged_itself_are_fine(world: World) -> None:
    await world.agent.git("checkout", "--quiet", "-b", "side")
    await world.agent.commit({"side.txt": "s\n"})
    await world.agent.git("checkout", "--quiet", "main")
    await world.agent.commit({"b.txt": "bb\n"})
    await world.agent.git("merge", "--quiet", "--no-edit", "side")
    assert await world.admit() == await world.agent.head()


async def test_what_only_a_merge_brings_in_is_judged_too(world: World) -> None:
    await world.agent.git("checkout", "--quiet", "-b", "side")
    await world.agent.commit({"side.txt": "s\n"})
    await world.agent.git("checkout", "--quiet", "main")
    await world.agent.commit({"b.txt": "bb\n"})
    await world.agent.git("merge", "--quiet", "--no-commit", "side")
    (world.agent.path / "link").symlink_to("/etc/passwd")
    await world.agent.commit({}, "feat: merge")
    await world.refused("leads out of the repository")


async def test_other_refs_are_refused(world: World) -> None:
    await world.agent.commit({"b.txt": "2\n"})
    bundle = await world.bundle(f"{world.base}..main")
    with pytest.raises(ResultRefused, match="HEAD and nothing else"):
        await world.publisher.admit(bundle, world.base, EXECUTION)
    bundle = await world.bundle(f"{world.base}..HEAD", "main")
    with pytest.raises(ResultRefused, match="HEAD and nothing else"):
        await world.publisher.admit(bundle, world.base, EXECUTION)


async def test_rewritten_history_is_refused(world: World) -> None:
    first = await world.agent.git("rev-parse", "HEAD~1")
    await world.agent.git("reset", "--quiet", "--hard", first)
    await world.agent.commit({"a.txt": "other\n"}, "feat: second, rewritten")
    bundle = await world.bundle(f"{first}..HEAD")
    with pytest.raises(ResultRefused, match="history was rewritten"):
        await world.publisher.admit(bundle, world.base, EXECUTION)


async def test_a_merge_from_elsewhere_is_refused(world: World) -> None:
    await world.agent.git("checkout", "--quiet", "--orphan", "elsewhere")
    await world.agent.commit({"x.txt": "x\n"})
    await world.agent.git("checkout", "--quiet", "main")
    await world.agent.git("merge", "--quiet", "--no-edit", "--allow-unrelated-histories", "elsewhere")
    await world.refused("a merge from elsewhere")


async def test_a_bundle_that_builds_on_unknown_commits_is_refused(world: World) -> None:
    unknown = await world.agent.commit({"b.txt": "2\n"})
    await world.agent.commit({"b.txt": "3\n"})
    bundle = await world.bundle(f"{unknown}..HEAD")
    with pytest.raises(ResultRefused, match="git refuses the result"):
        await world.publisher.admit(bundle, world.base, EXECUTION)


async def test_damaged_bundles_are_refused(world: World) -> None:
    await world.agent.commit({"b.txt": "2\n"})
    bundle = await world.bundle()
    for damaged in (bundle[:-30], bundle[:-30] + b"x" * 30, bundle[: bundle.index(b"PACK")], b"x" * 1_000_001):
        with pytest.raises(ResultRefused):
            await world.publisher.admit(damaged, world.base, EXECUTION)


async def test_submodules_are_refused(world: World) -> None:
    await world.agent.git("update-index", "--add", "--cacheinfo", f"160000,{world.base},sub")
    await world.agent.git("commit", "--quiet", "--message", "feat: sub")
    await world.refused("submodule: 'sub'")
    await world.agent.git("reset", "--quiet", "--hard", world.base)
    await world.agent.commit({".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n'})
    await world.refused("gitmodules")


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "b.txt/../../x"])
async def test_links_out_of_the_tree_are_refused(world: World, target: str) -> None:
    (world.agent.path / "link").symlink_to(target)
    await world.agent.commit({})
    await world.refused("leads out of the repository")


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".."])
async def test_trees_that_reach_into_a_git_directory_are_refused(world: World, name: str) -> None:
    blob = await world.agent.git("hash-object", "-w", "--stdin", stdin=b"[core]\n")
    inner = await world.agent.git("mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    tree = await world.agent.git("mktree", stdin=f"040000 tree {inner}\t{name}\n".encode())
    commit = await world.agent.git("commit-tree", "-p", world.base, "-m", "feat: evil", tree)
    await world.agent.git("update-ref", "HEAD", commit)
    await world.refused("git refuses the result|reaches into a git directory|not a path inside")


async def test_malformed_objects_are_refused(world: World) -> None:
    tree = await world.agent.git("rev-parse", "HEAD^{tree}")
    raw = f"tree {tree}\nparent {world.base}\nauthor nobody\ncommitter nobody\n\nfeat: malformed\n".encode()
    commit = await world.agent.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
    await world.agent.git("update-ref", "HEAD", commit)
    await world.refused("git refuses the result")


async def test_a_large_file_is_refused_also_if_it_was_removed_again(world: World) -> None:
    await world.agent.commit({"large.bin": b"x" * 10_001})
    await world.refused("'large.bin' has 10001 bytes")
    await world.agent.commit({"large.bin": None})
    await world.refused("'large.bin' has 10001 bytes")


async def test_small_packs_that_unpack_to_much_are_refused(world: World) -> None:
    world.publisher = Publisher(
        world.git, world.tmp_path / "publisher", world.mirror, replace(LIMITS, total_bytes=50_000)
    )
    await world.agent.commit({f"zeros/{number}": b"0" * 9_000 for number in range(6)})
    await world.refused("files hold 54000 bytes, more than the 50000")


async def test_trees_that_name_more_files_than_can_be_listed_are_refused(world: World) -> None:
    """Nine levels of ten entries, all the same: a few hundred bytes, a thousand million files."""
    inner = await world.agent.git("hash-object", "-w", "--stdin", stdin=b"x")
    kind = "100644 blob"
    for _ in range(9):
        listing = "".join(f"{kind} {inner}\t{name}\n" for name in "abcdefghij")
        inner, kind = await world.agent.git("mktree", stdin=listing.encode()), "040000 tree"
    commit = await world.agent.git("commit-tree", "-p", world.base, "-m", "feat: many", inner)
    await world.agent.git("update-ref", "HEAD", commit)
    await world.refused("git refuses the result: .*memory")


async def test_a_delta_that_grows_without_bound_is_refused(world: World) -> None:
    """A base of 16 MB of zeros, and a delta that copies it 40 times: 20 KB that ask for 640 MB of memory."""
    bundle = b"# v2 git bundle\n" + b"a" * 40 + b" HEAD\n\n" + pack_with_growing_delta(size=0xFFFFFF, copies=40)
    assert len(bundle) < 100_000
    with pytest.raises(ResultRefused, match="memory"):
        await world.publisher.admit(bundle, world.base, EXECUTION)


def pack_with_growing_delta(size: int, copies: int) -> bytes:
    """A pack (gitformat-pack(5)) of a blob of `size` zeros and of another that is `copies` times the first."""
    base = b"\0" * size
    name = hashlib.sha1(b"blob %d\0" % size + base).digest()
    delta = varint(size) + varint(size * copies) + (b"\xf0" + size.to_bytes(3, "little")) * copies
    body = b"PACK" + (2).to_bytes(4, "big") + (2).to_bytes(4, "big")
    body += entry(3, size) + zlib.compress(base) + entry(7, len(delta)) + name + zlib.compress(delta)
    return body + hashlib.sha1(body).digest()


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def entry(kind: int, size: int) -> bytes:
    """The head of an object in a pack: its kind and four bits of its size, then the rest."""
    rest = size >> 4
    return bytes([kind << 4 | size & 15 | (0x80 if rest else 0)]) + (varint(rest) if rest else b"")


async def test_too_many_commits_or_changes_are_refused(world: World) -> None:
    await world.agent.commit({f"many/{number}": "x" for number in range(1500)})
    await world.refused("too many files")
    await world.agent.git("reset", "--quiet", "--hard", world.base)
    for number in range(6):
        await world.agent.commit({"b.txt": str(number)})
    await world.refused("6 commits are more than the 5")
    await world.agent.git("reset", "--quiet", "--hard", world.base)
    await world.agent.git("commit", "--quiet", "--allow-empty", "--file=-", stdin=b"feat: long\n\n" + b"word " * 20_000)
    await world.refused("message of commit")


async def test_an_id_cannot_name_another_ref(world: World) -> None:
    await world.agent.commit({"b.txt": "2\n"})
    with pytest.raises(ValueError, match="id"):
        await world.publisher.admit(await world.bundle(), world.base, "../../heads/main")


# Signing


async def test_every_commit_names_its_task_and_execution(world: World) -> None:
    await world.agent.commit({"b.txt": "2\n"}, "correct it\n\nBecause.\n\nCo-Authored-By: X <x@y>")
    await world.agent.commit({"b.txt": "3\n"}, "test: prove it\n\nAgentVine-Task: tsk_forged")
    head = await world.admit()
    signed = await world.signed()
    assert (
        await world.look(
            "log",
            "--reverse",
            "--format=%s|%(trailers:key=AgentVine-Task,valueonly,separator=+)",
            f"{world.base}..{signed}",
        )
        == "fix: correct it|tsk_1\ntest: prove it|tsk_1"
    )
    assert await world.look("log", "-1", "--format=%(trailers)", f"{signed}~1") == (
        f"Co-Authored-By: X <x@y>\nAgentVine-Task: tsk_1\nAgentVine-Execution: {EXECUTION}"
    )
    for what in ("%T", "%an %ae %ad", "%cn %ce %cd"):
        mine, theirs = [await world.look("log", f"--format={what}", f"{world.base}..{at}") for at in (signed, head)]
        assert mine == theirs
    assert await world.look("rev-parse", f"{signed}~2") == world.base


async def test_signing_again_gives_the_same_head(world: World) -> None:
    await world.agent.commit({"b.txt": "2\n"}, "correct it")
    await world.agent.git("checkout", "--quiet", "-b", "side", world.base)
    await world.agent.commit({"side.txt": "s\n"}, "and the side")
    await world.agent.git("checkout", "--quiet", "main")
    await world.agent.git("merge", "--quiet", "--no-edit", "side")
    first = await world.signed()
    assert await world.signed() == first
    again = await world.publisher.sign_off(first, world.base, task_id="tsk_1", execution_id=EXECUTION, prefix="fix")
    assert again == first
    assert await world.look("rev-list", "--count", "--min-parents=2", f"{world.base}..{first}") == "1"


# Rebasing


async def test_a_result_is_moved_onto_what_others_pushed(world: World) -> None:
    await world.agent.commit({"a.txt": "one\n2\n3\n4\nfive\n"}, "fix: five")
    await world.agent.commit({"c.txt": "c\n"}, "test: c")
    head = await world.signed()
    new_base = await world.pushed_by_others({"a.txt": "ONE\n2\n3\n4\n5\n"})
    moved = await world.publisher.rebase(head, world.base, new_base)
    assert await world.look("show", f"{moved}:a.txt") == "ONE\n2\n3\n4\nfive"
    assert await world.look("rev-parse", f"{moved}~2") == new_base
    assert await world.look("log", "--format=%B", f"{new_base}..{moved}") == (
        await world.look("log", "--format=%B", f"{world.base}..{head}")
    )
    assert await world.look("log", "--format=%an %ad|%cn %cd", f"{new_base}..{moved}") == "\n".join(
        ["Ann Tue Nov 14 23:13:20 2023 +0100|Carl Tue Nov 14 23:13:20 2023 +0100"] * 2
    )
    assert await world.publisher.rebase(head, world.base, new_base) == moved
    await world.publisher.push("main", moved, new_base, fast_forward_only=True)
    assert await world.at_remote("main") == moved


async def test_a_clash_is_told_with_its_files(world: World) -> None:
    await world.agent.commit({"a.txt": "mine\n2\n3\n4\n5\n", "d.txt": "d\n"}, "fix: mine")
    head = await world.admit()
    new_base = await world.pushed_by_others({"a.txt": "theirs\n2\n3\n4\n5\n"})
    with pytest.raises(RebaseConflict) as caught:
        await world.publisher.rebase(head, world.base, new_base)
    assert caught.value.paths == ("a.txt",)
    assert caught.value.commit == head
    assert caught.value.reason is FailureReason.BRANCH_MOVED


async def test_a_change_that_is_there_already_is_dropped(world: World) -> None:
    await world.agent.commit({"a.txt": "same\n2\n3\n4\n5\n"}, "fix: same")
    head = await world.admit()
    new_base = await world.pushed_by_others({"a.txt": "same\n2\n3\n4\n5\n"})
    assert await world.publisher.rebase(head, world.base, new_base) == new_base


async def test_the_repository_has_no_say_in_a_merge(world: World) -> None:
    """Attributes in a result name a merge driver; even one that the publisher's configuration knew would not run."""
    canary = world.tmp_path / "canary"
    await world.agent.commit({".gitattributes": "* merge=evil filter=evil\n", "a.txt": "one\n2\n3\n4\nfive\n"})
    head = await world.admit()
    with (world.publisher.repository.path / "config").open("a") as config:
        config.write(f'[merge "evil"]\n\tdriver = touch {canary}\n[filter "evil"]\n\tsmudge = touch {canary}\n')
    new_base = await world.pushed_by_others({"a.txt": "ONE\n2\n3\n4\n5\n"})
    moved = await world.publisher.rebase(head, world.base, new_base)
    assert await world.look("show", f"{moved}:a.txt") == "ONE\n2\n3\n4\nfive"
    assert not canary.exists()


# Pushing


async def test_a_new_branch_is_pushed_once_and_found_there(anywhere: World) -> None:
    await anywhere.agent.commit({"b.txt": "2\n"})
    head = await anywhere.signed()
    branch = "agentvine/fix/00000001-it"
    assert await anywhere.publisher.remote_sha(branch) is None
    await anywhere.publisher.push(branch, head, None)
    assert await anywhere.publisher.remote_sha(branch) == head == await anywhere.at_remote(branch)
    await anywhere.publisher.push(branch, head, None)  # as after a crash
    await anywhere.publisher.push(branch, head, anywhere.base)
    assert await anywhere.publisher.remote_sha("fix/00000001-it") is None  # a name that only ends like it


async def test_a_branch_moves_on(anywhere: World) -> None:
    await anywhere.agent.commit({"b.txt": "2\n"})
    head = await anywhere.signed()
    await anywhere.publisher.push("main", head, anywhere.base, fast_forward_only=True)
    assert await anywhere.at_remote("main") == head


async def test_what_others_pushed_is_never_overwritten(anywhere: World) -> None:
    await anywhere.agent.commit({"b.txt": "2\n"})
    head = await anywhere.signed()
    theirs = await anywhere.pushed_by_others({"b.txt": "theirs\n"})
    with pytest.raises(BranchMoved) as caught:
        await anywhere.publisher.push("main", head, anywhere.base)
    assert (caught.value.branch, caught.value.expected, caught.value.found) == ("main", anywhere.base, theirs)
    with pytest.raises(BranchMoved) as caught:
        await anywhere.publisher.push("main", head, None)
    with pytest.raises(NotFastForward):
        await anywhere.publisher.push("main", head, theirs, fast_forward_only=True)
    with pytest.raises(BranchMoved) as caught:
        await anywhere.publisher.push("absent", head, theirs)
    assert caught.value.found is None
    assert await anywhere.at_remote("main") == theirs


async def test_our_own_branch_is_replaced_by_compare_and_set(anywhere: World) -> None:
    await anywhere.agent.commit({"b.txt": "2\n"})
    first = await anywhere.signed()
    await anywhere.publisher.push("agentvine/x", first, None)
    await anywhere.agent.git("reset", "--quiet", "--hard", anywhere.base)
    await anywhere.agent.commit({"b.txt": "another attempt\n"})
    second = await anywhere.signed()
    await anywhere.publisher.push("agentvine/x", second, first)
    assert await anywhere.at_remote("agentvine/x") == second


async def test_a_branch_that_moves_in_the_last_moment_is_not_overwritten(anywhere: World) -> None:
    await anywhere.agent.commit({"b.txt": "2\n"})
    head = await anywhere.signed()
    theirs = await anywhere.pushed_by_others({"b.txt": "theirs\n"}, branch="parked")
    anywhere.hook("update", f"git update-ref refs/heads/main {theirs}")
    with pytest.raises(BranchMoved) as caught:
        await anywhere.publisher.push("main", head, anywhere.base)
    assert caught.value.found == theirs
    assert await anywhere.at_remote("main") == theirs


async def test_a_branch_that_moves_just_before_the_push_is_not_overwritten(server: GitServer, tmp_path: Path) -> None:
    world = await make_world(tmp_path, server.url("app.git"))
    await world.agent.commit({"b.txt": "2\n"})
    head = await world.signed()
    theirs = await world.pushed_by_others({"b.txt": "theirs\n"}, branch="parked")

    async def move(target: str) -> None:
        if "git-receive-pack" in target:
            await git("update-ref", "refs/heads/main", theirs, cwd=world.remote)

    server.before = move
    with pytest.raises(BranchMoved):
        await world.publisher.push("main", head, world.base)
    assert await world.at_remote("main") == theirs


async def test_a_hook_that_refuses_is_quoted(anywhere: World) -> None:
    await anywhere.agent.commit({"b.txt": "2\n"})
    head = await anywhere.signed()
    anywhere.hook("pre-receive", "echo 'only on Fridays' >&2; exit 1")
    with pytest.raises(PushRejected, match="only on Fridays") as caught:
        await anywhere.publisher.push("main", head, anywhere.base)
    assert caught.value.reason is FailureReason.PUSH_REJECTED
    assert await anywhere.at_remote("main") == anywhere.base


async def test_a_large_result_is_pushed_over_http(server: GitServer, tmp_path: Path) -> None:
    world = await make_world(tmp_path, server.url("app.git"))
    world.publisher = Publisher(world.git, tmp_path / "publisher", world.mirror)
    noise = b"".join(number.to_bytes(4, "big") * 3 + bytes([number % 251]) for number in range(400_000))
    await world.agent.commit({"noise.bin": noise})
    await world.publisher.push("main", await world.signed(), world.base)
    assert await world.at_remote("main") == await world.publisher.remote_sha("main")


async def test_an_answer_that_is_lost_is_looked_up(server: GitServer, tmp_path: Path) -> None:
    world = await make_world(tmp_path, server.url("app.git"))
    await world.agent.commit({"b.txt": "2\n"})
    head = await world.signed()
    server.fault, server.fault_on = Fault.CUT, "/git-receive-pack"
    await world.publisher.push("main", head, world.base)
    assert await world.at_remote("main") == head


async def test_a_remote_that_is_away_is_not_a_remote_that_refuses(server: GitServer, tmp_path: Path) -> None:
    world = await make_world(tmp_path, server.url("app.git"))
    await world.agent.commit({"b.txt": "2\n"})
    head = await world.signed()
    server.fault = Fault.BROKEN
    with pytest.raises(RemoteUnavailable):
        await world.publisher.remote_sha("main")
    server.fault_on = "receive-pack"
    with pytest.raises(RemoteUnavailable) as caught:
        await world.publisher.push("main", head, world.base)
    assert caught.value.reason is FailureReason.REPOSITORY_UNREACHABLE
    server.fault = Fault.FORBIDDEN
    with pytest.raises(PushRejected, match="403"):
        await world.publisher.push("main", head, world.base)
    server.fault, server.fault_on = Fault.MISSING, ""
    with pytest.raises(GitFailed) as gone:
        await world.publisher.push("main", head, world.base)
    assert gone.value.reason is FailureReason.REPOSITORY_NOT_FOUND
    server.fault = None
    await world.publisher.push("main", head, world.base)


async def test_a_branch_is_nothing_but_a_branch(world: World) -> None:
    for name in ("--mirror", "refs/heads/main", "a:b", "a..b"):
        with pytest.raises(ValueError):
            await world.publisher.remote_sha(name)


async def test_one_branch_is_pushed_and_nothing_else_runs_or_travels(world: World) -> None:
    """Whatever stands in the publisher's own repository: tags, hooks, settings that would push more."""
    await world.agent.commit({"b.txt": "2\n"})
    head = await world.signed()
    repository, canary = world.publisher.repository.path, world.tmp_path / "canary"
    await world.look("-c", "user.name=x", "-c", "user.email=x@x", "tag", "-a", "-m", "x", "v1", head)
    await world.look("update-ref", "refs/heads/other", head)
    (repository / "hooks").mkdir(exist_ok=True)
    for name in ("pre-push", "reference-transaction", "post-update"):
        (repository / "hooks" / name).write_text(f"#!/bin/sh\ntouch {canary}\n")
        (repository / "hooks" / name).chmod(0o755)
    with (repository / "config").open("a") as config:
        config.write(f"[push]\n\tfollowTags = true\n\tdefault = matching\n[core]\n\thooksPath = {repository}/hooks\n")
    assert await world.admit()  # this sets a ref, which the hook reference-transaction would hear of
    before = await world.refs_of_remote()
    await world.publisher.push("main", head, world.base)
    after = await world.refs_of_remote()
    assert before.keys() == after.keys()
    assert {name for name in after if before[name] != after[name]} == {"refs/heads/main"}
    assert not canary.exists()


async def test_a_repository_that_nobody_named_is_none(world: World) -> None:
    """git finds no bare repository by itself, so that one laid out inside another folder configures nothing."""
    looking = GitCommand("look", ("rev-parse", "--git-dir"))
    await world.agent.commit({"b.txt": "2\n"})
    await world.admit()
    with pytest.raises(GitFailed, match=r"safe\.bareRepository"):
        await Git(world.publisher.repository.path).run(looking)
