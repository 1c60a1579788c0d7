"""Git credentials: private repositories are reached with them, and nothing of them is to be found anywhere."""

import base64
import json
import shlex
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agentvine.domain.git_credential import CredentialBook, GitCredential
from agentvine.domain.retry import FailureReason
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.process import run
from agentvine.kit.sealed import key_beside, make_key, seal
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.git_server import Fault, GitServer
from agentvine.worker import git as commands
from agentvine.worker.credentials import CommandCredentials, Credentials, credentials_from, ssh_command
from agentvine.worker.git import Git
from agentvine.worker.git_errors import GitFailed, GitTrouble
from agentvine.worker.mirror import Mirror, Mirrors
from agentvine.worker.publisher import Publisher
from tests.integration.warm_cli import run_cli

SECRET = "a-token-that-must-not-be-found-7f3a"
ENCODED = base64.b64encode(f"git:{SECRET}".encode()).decode().rstrip("=")


@pytest.fixture
async def source(tmp_path: Path) -> GitRepository:
    made = await GitRepository.create(tmp_path / "source", {"a.txt": "1\n"})
    await made.bare_copy(tmp_path / "remotes" / "app.git")
    return made


@pytest.fixture
async def server(tmp_path: Path, source: GitRepository) -> AsyncIterator[GitServer]:
    async with GitServer(tmp_path / "remotes", password=SECRET) as running:
        yield running


def stored(tmp_path: Path, pattern: str, secret: str = SECRET) -> Credentials:
    """Credentials as a worker reads them, with one stored for `pattern`."""
    file = tmp_path / "safe" / "git"
    key = make_key(key_beside(file))
    seal(file, key, CredentialBook(credentials=(GitCredential(pattern=pattern, secret=secret),)).plain())
    return credentials_from(file, None, None, ())


def mirror(tmp_path: Path, url: str, credentials: Credentials | None) -> Mirror:
    return Mirrors(Git(tmp_path / "host" / "home", credentials=credentials), tmp_path / "host" / "mirrors").of(url)


def everywhere(folder: Path) -> list[Path]:
    """The files below a folder that hold the secret, in whatever form git sends it."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if SECRET.encode() in content or ENCODED.encode() in content:
                found.append(path)
    return found


def seen_in_proc() -> list[str]:
    """Argument lists and environments of running processes that hold the secret, and how many git processes ran."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        for name in ("cmdline", "environ"):
            try:
                content = (process / name).read_bytes()
            except OSError:
                continue
            if SECRET.encode() in content or ENCODED.encode() in content:
                found.append(f"{name}: {content!r}")
            if name == "cmdline" and b"git\x00-c\x00" in content:
                found.append("git")
    return found


async def test_a_private_repository_is_fetched_and_pushed_to_and_nothing_is_left_of_the_credential(
    tmp_path: Path, source: GitRepository, server: GitServer
) -> None:
    seen: list[str] = []

    async def look(_: str) -> None:
        seen.extend(seen_in_proc())

    server.before = look
    with capture_logs() as logged:
        here = mirror(tmp_path, server.url("app.git"), stored(tmp_path, server.url("app")))
        await here.update()
        base = await here.resolve("main")
        head = await source.commit({"a.txt": "2\n"})
        await source.git("bundle", "create", "--quiet", "../b", f"{base}..HEAD")
        publisher = Publisher(here.git, tmp_path / "host" / "results", here)
        assert await publisher.admit((tmp_path / "b").read_bytes(), base, "exe_1") == head
        await publisher.push("main", head, base)
    assert (await git("rev-parse", "main", cwd=tmp_path / "remotes" / "app.git")).strip() == head
    assert set(seen) == {"git"}  # somebody looked while git ran, and saw nothing else
    assert any(given.startswith("Basic ") for given in server.authorizations)
    assert everywhere(tmp_path / "host") == []
    assert everywhere(tmp_path / "safe") == []
    assert SECRET not in repr(logged)


async def test_without_a_credential_it_is_said_what_is_missing(tmp_path: Path, server: GitServer) -> None:
    here = mirror(tmp_path, server.url("app.git"), None)
    with pytest.raises(GitFailed) as caught:
        await here.update()
    assert caught.value.trouble is GitTrouble.AUTH_FAILED
    assert caught.value.reason is FailureReason.REPOSITORY_AUTH_FAILED
    assert "without a credential; see `agentvine credentials --help`" in str(caught.value)


async def test_a_credential_that_the_server_does_not_take(tmp_path: Path, server: GitServer) -> None:
    credentials = stored(tmp_path, server.url("app"), "an-old-token")
    with pytest.raises(GitFailed) as caught:
        await mirror(tmp_path, server.url("app.git"), credentials).update()
    assert caught.value.reason is FailureReason.REPOSITORY_AUTH_FAILED
    assert f"with the credential for {server.url('app')}" in str(caught.value)
    assert "an-old-token" not in f"{caught.value} {caught.value.stderr}"


async def test_a_credential_is_for_its_own_repository(tmp_path: Path, source: GitRepository, server: GitServer) -> None:
    await source.bare_copy(tmp_path / "remotes" / "other.git")
    with pytest.raises(GitFailed):
        await mirror(tmp_path, server.url("other.git"), stored(tmp_path, server.url("app"))).update()
    assert set(server.authorizations) == {""}


async def test_a_redirect_leads_a_credential_nowhere(tmp_path: Path, server: GitServer) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with GitServer(tmp_path / "elsewhere", password="x") as thief:
        credentials = stored(tmp_path, server.url("*"))
        server.password, server.redirect = None, thief.url("").rstrip("/")
        with pytest.raises(GitFailed) as caught:
            await mirror(tmp_path, server.url("app.git"), credentials).update()
        assert thief.requests == []
    assert caught.value.reason is FailureReason.REPOSITORY_NOT_FOUND
    assert "301" in str(caught.value)


async def test_a_server_that_tells_the_secret_is_not_repeated(
    tmp_path: Path, source: GitRepository, server: GitServer
) -> None:
    hook = tmp_path / "remotes" / "app.git" / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\necho 'who is {SECRET}?' >&2; exit 1\n")
    hook.chmod(0o755)
    here = Git(tmp_path / "home", credentials=stored(tmp_path, server.url("app")))
    head = await source.commit({"a.txt": "2\n"})
    pushing = commands.push(source.path / ".git", server.url("app.git"), "new", head, None)
    with pytest.raises(GitFailed) as caught:
        await here.run(pushing)
    assert "who is [redacted]?" in caught.value.stderr
    assert SECRET not in str(caught.value) + caught.value.stderr


async def test_a_server_that_hangs_does_not_bring_the_secret_out(tmp_path: Path, server: GitServer) -> None:
    here = Git(tmp_path / "home", credentials=stored(tmp_path, server.url("app")))
    server.fault, server.fault_on = Fault.SILENT, "info/refs"
    url = server.url("app.git")
    with pytest.raises(GitFailed) as caught:
        await here.run(commands.GitCommand("look", ("ls-remote", "--", url), url=url, timeout=0.5))
    assert caught.value.trouble is GitTrouble.TIMEOUT


# From a command


def command(tmp_path: Path, body: str) -> list[str]:
    script = tmp_path / "give"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return [str(script), "get"]


@pytest.mark.parametrize("body", [f"echo {SECRET}", f"echo username=me; echo password={SECRET}"])
async def test_a_command_gives_the_credential(tmp_path: Path, server: GitServer, body: str) -> None:
    credentials = credentials_from(None, None, None, command(tmp_path, f"cat > {tmp_path}/asked; {body}; echo $* >&2"))
    await mirror(tmp_path, server.url("app.git"), credentials).update()
    host = server.url("").removeprefix("http://").rstrip("/")
    assert (tmp_path / "asked").read_text() == f"protocol=http\nhost={host}\npath=app\n\n"
    user = b"me" if "username" in body else b"git"
    assert base64.b64decode(server.authorizations[-1].removeprefix("Basic ")) == user + b":" + SECRET.encode()


async def test_a_command_that_fails_is_not_repeated(tmp_path: Path) -> None:
    failing = command(tmp_path, f"echo {SECRET}; echo {SECRET} >&2; exit 3")
    with pytest.raises(GitFailed, match="ended with 3") as caught:
        await CommandCredentials(failing).of("https://example.org/a/b")
    assert caught.value.reason is FailureReason.REPOSITORY_AUTH_FAILED
    assert SECRET not in f"{caught.value} {caught.value.stderr}"
    with pytest.raises(GitFailed, match=r"within 0\.2 s") as late:
        await CommandCredentials(command(tmp_path, "read x; exec cat < /dev/zero > /dev/null"), timeout=0.2).of(
            "https://example.org/a"
        )
    assert late.value.trouble is GitTrouble.TIMEOUT
    with pytest.raises(GitFailed, match="GIT_CREDENTIAL_COMMAND"):
        await CommandCredentials([str(tmp_path / "absent")]).of("https://example.org/a")
    with pytest.raises(GitFailed, match="no user name and password") as strange:
        await CommandCredentials(command(tmp_path, f"printf '{SECRET}\\nx\\n'")).of("https://example.org/a")
    assert SECRET not in f"{strange.value} {strange.value.stderr}"


async def test_a_command_that_knows_nothing(tmp_path: Path) -> None:
    assert await CommandCredentials(command(tmp_path, "true")).of("https://example.org/a") is None
    assert await CommandCredentials(command(tmp_path, "exit 1")).of("ssh://git@example.org/a") is None


async def test_the_command_sees_nothing_of_the_worker_s_environment(tmp_path: Path) -> None:
    await CommandCredentials(command(tmp_path, f"env > {tmp_path}/env")).of("https://example.org/a")
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "PWD", "SHLVL", "_", "OLDPWD"}


async def test_what_is_stored_goes_before_the_command(tmp_path: Path) -> None:
    stored(tmp_path, "https://example.org/a/*")
    credentials = credentials_from(tmp_path / "safe" / "git", None, None, command(tmp_path, "echo other"))
    for url, secret in (("https://example.org/a/b", SECRET), ("https://example.org/b", "other")):
        found = await credentials.of(url)
        assert found is not None
        assert found.secret is not None
        assert found.secret.get_secret_value() == secret


# The file and its key


async def test_files_that_others_can_read_are_refused(tmp_path: Path) -> None:
    stored(tmp_path, "https://example.org/a")
    file = tmp_path / "safe" / "git"
    for path in (file, key_beside(file)):
        path.chmod(0o640)
        with pytest.raises(
            ConfigurationError, match=rf"GIT_CREDENTIALS: {path} is open to others \(mode 0640\): chmod"
        ):
            credentials_from(file, None, None, ())
        path.chmod(0o600)
    (tmp_path / "key").symlink_to("/dev/zero")
    with pytest.raises(ConfigurationError, match="no regular file"):
        credentials_from(file, None, tmp_path / "key", ())


async def test_a_damaged_file_or_another_key_is_told_and_nothing_else(tmp_path: Path) -> None:
    credentials = stored(tmp_path, "https://example.org/a")
    file = tmp_path / "safe" / "git"
    other = make_key(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="another one, or the file was changed"):
        credentials_from(file, None, tmp_path / "other", ())
    file.write_bytes(file.read_bytes()[:-5] + b"AAAA\n")
    with pytest.raises(GitFailed, match="the file was changed") as caught:
        await credentials.of("https://example.org/a")
    assert caught.value.reason is FailureReason.REPOSITORY_AUTH_FAILED
    seal(file, other, b'{"credentials": [{"pattern": "https://example.org/a", "secret": "s3cr\\net"}]}')
    with pytest.raises(ConfigurationError, match="holds no credentials that this version understands") as unread:
        credentials_from(file, None, tmp_path / "other", ())
    assert "s3cr" not in str(unread.value)


# The command line


async def cli(*words: str, stdin: str | None = None, **environment: str) -> tuple[int, str, str]:
    given = None if stdin is None else stdin.encode()
    environment = {"PATH": "/usr/bin:/bin", **environment}
    done = await run_cli(["credentials", *words], cwd=Path.cwd(), env=environment, stdin=given, timeout=240)
    return done.exit_code, done.stdout, done.stderr


async def test_credentials_are_added_listed_and_removed(tmp_path: Path, server: GitServer) -> None:
    file = str(tmp_path / "etc" / "git")
    around = {"GIT_CREDENTIALS": file}
    pattern = server.url("*")
    assert (await cli("add", pattern, "--username", "me", stdin=f"{SECRET}\n", **around))[0] == 0
    assert (await cli("add", "https://github.com/acme/shop.git", "--file", file, stdin="other"))[0] == 0
    for name in ("id", "known"):
        (tmp_path / name).touch()
    key = ("--ssh-key", f"{tmp_path}/id", "--known-hosts", f"{tmp_path}/known")
    assert (await cli("add", "git@example.org:acme/shop.git", *key, **around))[0] == 0
    _, listed, _ = await cli("list", **around)
    shown = [
        f"{pattern}  user me",
        "https://github.com/acme/shop  user git",
        f"ssh://example.org/acme/shop  key {tmp_path}/id",
    ]
    assert listed.splitlines() == shown
    _, listed, _ = await cli("list", "--json", **around)
    assert [one["pattern"] for one in json.loads(listed)] == [line.split()[0] for line in shown]
    assert "secret" not in listed
    for path in (Path(file), key_beside(Path(file))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert everywhere(tmp_path / "etc") == []
    await mirror(tmp_path, server.url("app.git"), credentials_from(Path(file), None, None, ())).update()
    assert (await cli("remove", pattern, **around))[0] == 0
    assert SECRET not in (await cli("list", **around))[1]
    code, _, said = await cli("remove", pattern, **around)
    assert (code, said.strip()) == (
        1,
        f"error: nothing is stored for {pattern}; `agentvine credentials list` shows what is",
    )
    with pytest.raises(GitFailed):
        await mirror(tmp_path, server.url("app.git"), credentials_from(Path(file), None, None, ())).update()


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (("add", "ftp://example.org/x"), "s", "starts with https://"),
        (("add", "https://me:pw@example.org/x"), "s", "no password"),
        (("add", "https://*.example.org/x"), "s", "only stand at the end"),
        (("add", "https://example.org/x"), "", "give a token or password"),
        (("add", "https://example.org/x"), "two\nlines", "without line breaks"),
        (("add", "git@example.org:x"), "", "name a key file"),
        (("add", "git@example.org:x", "--ssh-key", "/a b", "--known-hosts", "/k"), "", "match pattern"),
    ],
)
async def test_what_cannot_be_stored(tmp_path: Path, words: tuple[str, ...], stdin: str, said: str) -> None:
    code, _, told = await cli(*words, "--file", str(tmp_path / "git"), stdin=stdin)
    assert code == 1
    assert said in told
    assert not (tmp_path / "git").exists()


async def test_the_command_line_asks_where(tmp_path: Path) -> None:
    code, _, told = await cli("list")
    assert (code, "GIT_CREDENTIALS" in told) == (1, True)


# ssh


async def test_ssh_takes_the_stored_key_and_known_hosts_alone(tmp_path: Path) -> None:
    """As ssh itself understands the options (ssh -G prints its configuration)."""
    key, known = tmp_path / "id", tmp_path / "known"
    credential = GitCredential(pattern="ssh://example.org/*", ssh_key=str(key), known_hosts=str(known))
    words = shlex.split(ssh_command(credential))
    done = await run([*words, "-G", "git@example.org"], cwd=None, env={"PATH": "/usr/bin:/bin"}, timeout=240)
    told = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert done.exit_code == 0, done.stderr
    assert told["userknownhostsfile"] == str(known)
    assert told["globalknownhostsfile"] == "/dev/null"
    assert told["identityfile"] == str(key)
    assert (told["identitiesonly"], told["batchmode"], told["stricthostkeychecking"]) == ("yes", "yes", "true")
    assert told["identityagent"] == "none"
    assert told["forwardagent"] == "no"
