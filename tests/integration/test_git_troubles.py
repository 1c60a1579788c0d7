"""What git really says when something is wrong, and what we take it to mean."""

import errno
import os
import socket
from pathlib import Path

import pytest

from agentvine.domain.retry import FailureReason
from agentvine.testing.git_repository import GitRepository
from agentvine.testing.git_server import Fault, GitServer
from agentvine.worker import git as commands
from agentvine.worker.git import Git
from agentvine.worker.git_errors import GitFailed, GitTrouble, classify

ALL = "+refs/heads/*:refs/remotes/origin/*"


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path / "home")


@pytest.fixture
async def source(tmp_path: Path) -> GitRepository:
    """A repository of one commit; `remotes/app.git` is a bare copy of it."""
    made = await GitRepository.create(tmp_path / "source", {"a.txt": "1\n"})
    await made.bare_copy(tmp_path / "remotes" / "app.git")
    return made


@pytest.fixture
async def here(git: Git, tmp_path: Path) -> Path:
    """An empty bare repository to fetch into."""
    path = tmp_path / "here.git"
    await git.run(commands.init_bare(path))
    return path


async def trouble(git: Git, command: commands.GitCommand) -> GitTrouble:
    with pytest.raises(GitFailed) as caught:
        await git.run(command)
    assert str(caught.value).startswith(f"could not {command.what}: ")
    return caught.value.trouble


async def test_a_repository_that_is_not_there(git: Git, here: Path, source: GitRepository, tmp_path: Path) -> None:
    for url in (str(tmp_path / "absent.git"), f"file://{tmp_path}/absent.git"):
        assert await trouble(git, commands.fetch(here, url, [ALL])) is GitTrouble.REPOSITORY_NOT_FOUND
        assert await trouble(git, commands.ls_remote(url, "refs/heads/main")) is GitTrouble.REPOSITORY_NOT_FOUND
    async with GitServer(tmp_path / "remotes") as server:
        missing = commands.fetch(here, server.url("absent.git"), [ALL])
        assert await trouble(git, missing) is GitTrouble.REPOSITORY_NOT_FOUND
        server.fault = Fault.MISSING
        assert await trouble(git, commands.fetch(here, server.url("app.git"), [ALL])) is GitTrouble.REPOSITORY_NOT_FOUND


async def test_a_branch_that_is_not_there(git: Git, here: Path, source: GitRepository, tmp_path: Path) -> None:
    async with GitServer(tmp_path / "remotes") as server:
        for url in (server.url("app.git"), f"file://{tmp_path}/remotes/app.git"):
            missing = commands.fetch(here, url, ["refs/heads/absent:refs/x/y"])
            assert await trouble(git, missing) is GitTrouble.BRANCH_NOT_FOUND


async def test_a_password_is_asked_for_or_access_forbidden(
    git: Git, here: Path, source: GitRepository, tmp_path: Path
) -> None:
    async with GitServer(tmp_path / "remotes", password="secret") as server:
        assert await trouble(git, commands.fetch(here, server.url("app.git"), [ALL])) is GitTrouble.AUTH_FAILED
    async with GitServer(tmp_path / "remotes") as server:
        server.fault = Fault.FORBIDDEN
        assert await trouble(git, commands.ls_remote(server.url("app.git"), "refs/heads/x")) is GitTrouble.AUTH_FAILED


async def test_nobody_answers(git: Git, here: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # taken, but nobody listens
        port = held.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}/app.git", f"git://127.0.0.1:{port}/app.git"):
            assert await trouble(git, commands.fetch(here, url, [ALL])) is GitTrouble.UNREACHABLE


async def test_ssh_cannot_connect(git: Git, here: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"ssh://git@127.0.0.1:{held.getsockname()[1]}/app.git"
        assert await trouble(git, commands.fetch(here, url, [ALL])) is GitTrouble.UNREACHABLE


async def test_the_server_breaks_or_hangs_up(git: Git, here: Path, source: GitRepository, tmp_path: Path) -> None:
    async with GitServer(tmp_path / "remotes") as server:
        for server.fault in (Fault.BROKEN, Fault.CUT):
            for server.fault_on in ("info/refs", "git-upload-pack"):
                assert await trouble(git, commands.fetch(here, server.url("app.git"), [ALL])) is GitTrouble.UNREACHABLE


async def test_the_server_never_answers(here: Path, source: GitRepository, tmp_path: Path) -> None:
    impatient = Git(tmp_path / "home", {"GIT_HTTP_LOW_SPEED_TIME": "1"})
    async with GitServer(tmp_path / "remotes") as server:
        server.fault = Fault.SILENT
        assert await trouble(impatient, commands.fetch(here, server.url("app.git"), [ALL])) is GitTrouble.TIMEOUT


async def test_a_command_that_takes_too_long_is_ended(git: Git, source: GitRepository, tmp_path: Path) -> None:
    async with GitServer(tmp_path / "remotes") as server:
        server.fault = Fault.SILENT
        url = server.url("app.git")
        late = commands.GitCommand("look", ("ls-remote", "--", url), url=url, timeout=0.5)
        with pytest.raises(GitFailed) as caught:
            await git.run(late)
    assert (caught.value.trouble, caught.value.exit_code) == (GitTrouble.TIMEOUT, None)
    assert caught.value.reason is FailureReason.REPOSITORY_UNREACHABLE


async def test_pushes_that_are_refused(git: Git, source: GitRepository, tmp_path: Path) -> None:
    bare = tmp_path / "remotes" / "app.git"
    first = await source.head()
    mine = await source.commit({"a.txt": "2\n"})
    await source.git("reset", "--quiet", "--hard", first)
    theirs = await source.commit({"a.txt": "3\n"})
    await source.git("push", "--quiet", str(bare), f"{theirs}:main")
    here = source.path / ".git"
    async with GitServer(tmp_path / "remotes") as server:
        for url in (server.url("app.git"), f"file://{bare}"):
            stale = commands.push(here, url, "main", mine, first)
            assert await trouble(git, stale) is GitTrouble.REJECTED_NON_FAST_FORWARD
            plain = commands.GitCommand(
                "push", ("push", "--", url, f"{mine}:refs/heads/main"), repository=here, url=url
            )
            assert await trouble(git, plain) is GitTrouble.REJECTED_NON_FAST_FORWARD
            exists = commands.push(here, url, "main", mine, None)
            assert await trouble(git, exists) is GitTrouble.REJECTED_NON_FAST_FORWARD

        hook = bare / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\necho 'no space left on device, and: only on Fridays' >&2\nexit 1\n")
        hook.chmod(0o755)
        for url in (server.url("app.git"), f"file://{bare}"):
            refused = commands.push(here, url, "new", mine, None)
            assert await trouble(git, refused) is GitTrouble.REJECTED_BY_REMOTE

        server.fault, server.fault_on = Fault.FORBIDDEN, "git-receive-pack"
        assert (
            await trouble(git, commands.push(here, server.url("app.git"), "new", mine, None)) is GitTrouble.AUTH_FAILED
        )


async def test_what_cannot_be_produced_here_is_known_by_its_words() -> None:
    assert classify(f"fatal: write error: {os.strerror(errno.ENOSPC)}") is GitTrouble.DISK_FULL
    assert classify("ERROR: Repository not found.\nfatal: Could not read from remote repository.") is (
        GitTrouble.REPOSITORY_NOT_FOUND
    )
    assert classify(
        "git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository."
    ) is (GitTrouble.AUTH_FAILED)
    assert classify("fatal: unable to access 'https://x/': Could not resolve host: x") is GitTrouble.UNREACHABLE
    assert classify("! [remote rejected] main -> main (cannot lock ref 'refs/heads/main': is at a but expected b)") is (
        GitTrouble.REJECTED_NON_FAST_FORWARD
    )
    assert classify("fatal: something new") is GitTrouble.OTHER


async def test_other_transports_are_closed(git: Git, here: Path, tmp_path: Path) -> None:
    """Also where a repository's own configuration sends an address elsewhere."""
    canary = tmp_path / "canary"
    with (here / "config").open("a") as config:
        config.write(f'[url "ext::touch {canary} #"]\n\tinsteadOf = https://example.org/\n')
    with pytest.raises(GitFailed) as caught:
        await git.run(commands.fetch(here, "https://example.org/app.git", [ALL]))
    assert "not allowed" in caught.value.stderr
    assert not canary.exists()
