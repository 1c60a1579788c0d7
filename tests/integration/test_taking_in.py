"""The publisher takes in only what keeps to the rules."""

import hashlib
import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.worker.admission import ResultRefused
from agentvine.worker.publisher import (
    Publisher,
)
from tests.integration.publishing import EXECUTION, LIMITS, World, make_world


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await make_world(tmp_path, f"file://{tmp_path}/remotes/app.git")


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
    assert "leads out of the repository" in await world.refusal()


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
    assert "a merge from elsewhere" in await world.refusal()


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
    assert "submodule: 'sub'" in await world.refusal()
    await world.agent.git("reset", "--quiet", "--hard", world.base)
    await world.agent.commit({".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n'})
    assert "gitmodules" in await world.refusal()


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "b.txt/../../x"])
async def test_links_out_of_the_tree_are_refused(world: World, target: str) -> None:
    (world.agent.path / "link").symlink_to(target)
    await world.agent.commit({})
    assert "leads out of the repository" in await world.refusal()


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".."])
async def test_trees_that_reach_into_a_git_directory_are_refused(world: World, name: str) -> None:
    blob = await world.agent.git("hash-object", "-w", "--stdin", stdin=b"[core]\n")
    inner = await world.agent.git("mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    tree = await world.agent.git("mktree", stdin=f"040000 tree {inner}\t{name}\n".encode())
    commit = await world.agent.git("commit-tree", "-p", world.base, "-m", "feat: evil", tree)
    await world.agent.git("update-ref", "HEAD", commit)
    why = await world.refusal()
    assert re.search("git refuses the result|reaches into a git directory|not a path inside", why)


async def test_malformed_objects_are_refused(world: World) -> None:
    tree = await world.agent.git("rev-parse", "HEAD^{tree}")
    raw = f"tree {tree}\nparent {world.base}\nauthor nobody\ncommitter nobody\n\nfeat: malformed\n".encode()
    commit = await world.agent.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
    await world.agent.git("update-ref", "HEAD", commit)
    assert "git refuses the result" in await world.refusal()


async def test_a_large_file_is_refused_also_if_it_was_removed_again(world: World) -> None:
    await world.agent.commit({"large.bin": b"x" * 10_001})
    assert "'large.bin' has 10001 bytes" in await world.refusal()
    await world.agent.commit({"large.bin": None})
    assert "'large.bin' has 10001 bytes" in await world.refusal()


async def test_small_packs_that_unpack_to_much_are_refused(world: World) -> None:
    world.publisher = Publisher(
        world.git, world.tmp_path / "publisher", world.mirror, replace(LIMITS, total_bytes=50_000)
    )
    await world.agent.commit({f"zeros/{number}": b"0" * 9_000 for number in range(6)})
    assert "files hold 54000 bytes, more than the 50000" in await world.refusal()


async def test_trees_that_name_more_files_than_can_be_listed_are_refused(world: World) -> None:
    """Nine levels of ten entries, all the same: a few hundred bytes, a thousand million files."""
    inner = await world.agent.git("hash-object", "-w", "--stdin", stdin=b"x")
    kind = "100644 blob"
    for _ in range(9):
        listing = "".join(f"{kind} {inner}\t{name}\n" for name in "abcdefghij")
        inner, kind = await world.agent.git("mktree", stdin=listing.encode()), "040000 tree"
    commit = await world.agent.git("commit-tree", "-p", world.base, "-m", "feat: many", inner)
    await world.agent.git("update-ref", "HEAD", commit)
    assert re.search("git refuses the result: .*memory", await world.refusal(), re.DOTALL)


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
    assert "too many files" in await world.refusal()
    await world.agent.git("reset", "--quiet", "--hard", world.base)
    for number in range(6):
        await world.agent.commit({"b.txt": str(number)})
    assert "6 commits are more than the 5" in await world.refusal()
    await world.agent.git("reset", "--quiet", "--hard", world.base)
    await world.agent.git("commit", "--quiet", "--allow-empty", "--file=-", stdin=b"feat: long\n\n" + b"word " * 20_000)
    assert "message of commit" in await world.refusal()


async def test_an_id_cannot_name_another_ref(world: World) -> None:
    await world.agent.commit({"b.txt": "2\n"})
    with pytest.raises(ValueError, match="id"):
        await world.publisher.admit(await world.bundle(), world.base, "../../heads/main")
