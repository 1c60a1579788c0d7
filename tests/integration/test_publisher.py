"""The publisher signs what was taken in, moves it onto what others pushed, and pushes it exactly once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.domain.retry import FailureReason
from agentvine.testing.git_repository import git
from agentvine.testing.git_server import Fault, GitServer
from agentvine.worker.git import Git, GitCommand
from agentvine.worker.git_errors import GitFailed
from agentvine.worker.publisher import (
    BranchMoved,
    NotFastForward,
    Publisher,
    PushRejected,
    RemoteUnavailable,
)
from agentvine.worker.rewriting import RebaseConflict
from tests.integration.publishing import EXECUTION, World, make_world


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


# ── signing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── rebasing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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
