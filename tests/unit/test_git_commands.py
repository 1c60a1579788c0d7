"""Git's command lines as text: what may never be missing, and what can never become an option or another transport."""

from pathlib import Path

import pytest

from agentvine.worker import git as commands
from agentvine.worker.git import HARDENING, GitCommand, environment, transports

HERE = Path("/host/mirror.git")
SHA, OTHER = "a" * 40, "b" * 40
URL = "https://example.org/team/app.git"

EVERY = [
    commands.init_bare(HERE),
    commands.init_checkout(HERE, "main"),
    commands.fetch(HERE, URL, ["+refs/heads/*:refs/remotes/origin/*"], prune=True),
    commands.fetch(HERE, "/host/other.git", ["+refs/heads/main:refs/x/y"]),
    commands.unpack(HERE, b"PACK", largest=1000, memory=2**30),
    commands.ls_remote(URL, "refs/heads/main"),
    commands.push(HERE, URL, "main", SHA, OTHER),
    commands.commit_of(HERE, "refs/heads/main"),
    commands.tree_of(HERE, SHA),
    commands.branches(HERE),
    commands.is_ancestor(HERE, SHA, OTHER),
    commands.commits(HERE, SHA, OTHER),
    commands.tree(HERE, SHA, 1000),
    commands.objects(HERE, [SHA]),
    commands.blob(HERE, SHA, 1000),
    commands.diff(HERE, SHA, OTHER),
    commands.changes(HERE, [SHA], 1000, memory=2**30),
    commands.update_ref(HERE, "refs/x/y", SHA),
    commands.write_commit(HERE, b"tree ..."),
    commands.merge_trees(HERE, SHA, OTHER),
    commands.check_out(HERE, Path("/host/files"), SHA),
    commands.move_files(HERE, Path("/host/files"), SHA, OTHER),
    commands.point_head(HERE, "work"),
]


def after_hardening(command: GitCommand) -> list[str]:
    """The command line without `git` and without its settings."""
    words = command.argv()[1:]
    while words[0] == "-c":
        words = words[2:]
    return words


@pytest.mark.parametrize("command", EVERY, ids=lambda command: command.args[0])
def test_every_command_is_hardened_bounded_and_names_its_repository(command: GitCommand) -> None:
    argv = command.argv()
    assert argv[0] == "git"
    settings = {argv[number + 1] for number, word in enumerate(argv) if word == "-c"}
    assert set(HARDENING) <= settings
    assert {"protocol.ext.allow=never", "protocol.allow=never", "core.hooksPath=/dev/null"} <= settings
    assert {"core.fsmonitor=false", "credential.helper=", "safe.bareRepository=explicit"} <= settings
    assert {"core.attributesFile=/dev/null", "gc.auto=0"} <= settings
    assert 0 < command.timeout <= 1800
    assert command.what
    names_it = f"--git-dir={HERE}" in argv
    assert names_it or command.args[0] in {"init", "ls-remote"}


@pytest.mark.parametrize("command", EVERY, ids=lambda command: command.args[0])
def test_a_transport_is_open_only_to_the_address_in_question(command: GitCommand) -> None:
    opened = {word for word in command.argv() if word.startswith("protocol.") and word.endswith("=always")}
    assert opened == {f"protocol.{name}.allow=always" for name in transports(command.url)}
    if command.url is not None:
        assert command.args[command.args.index("--") + 1] == command.url


def test_fetch_as_text() -> None:
    command = commands.fetch(HERE, URL, ["+refs/heads/*:refs/remotes/origin/*"], prune=True)
    assert " ".join(after_hardening(command)) == (
        "--literal-pathspecs --git-dir=/host/mirror.git fetch --quiet --no-tags --no-write-fetch-head"
        " --no-recurse-submodules --no-auto-maintenance --prune"
        " -- https://example.org/team/app.git +refs/heads/*:refs/remotes/origin/*"
    )


def test_push_as_text_one_refspec_and_always_a_lease() -> None:
    words = after_hardening(commands.push(HERE, URL, "fix/it", SHA, OTHER))
    assert words[2:] == [
        "push",
        "--porcelain",
        "--no-verify",
        "--no-signed",
        "--no-follow-tags",
        "--no-recurse-submodules",
        f"--force-with-lease=refs/heads/fix/it:{OTHER}",
        "--",
        URL,
        f"{SHA}:refs/heads/fix/it",
    ]
    assert "--force-with-lease=refs/heads/new:" in commands.push(HERE, URL, "new", SHA, None).args


def test_a_pack_from_outside_is_checked_object_by_object() -> None:
    command = commands.unpack(HERE, b"PACK", largest=1000, memory=2**30)
    assert " ".join(command.args) == "index-pack --stdin --fix-thin --strict --threads=1 --max-input-size=4"
    assert "core.bigFileThreshold=1000" in command.argv()
    assert command.memory_limit == 2**30
    assert command.stdin == b"PACK"


def test_revisions_never_become_options() -> None:
    for command in EVERY:
        for word in (SHA, f"{SHA}..{OTHER}", "refs/heads/main^{commit}"):
            if word in command.args and command.args[0] not in {"cat-file", "read-tree", "merge-tree"}:
                assert "--end-of-options" in command.args[: command.args.index(word)]


@pytest.mark.parametrize(
    ("url", "names"),
    [
        (None, ()),
        ("/srv/app.git", ("file",)),
        ("file:///srv/app.git", ("file",)),
        (URL, ("https",)),
        ("http://example.org/app.git", ("http", "https")),
        ("ssh://git@example.org/app.git", ("ssh",)),
        ("git@example.org:app.git", ("ssh",)),
        ("git://example.org/app.git", ("git",)),
    ],
)
def test_git_may_use_the_transport_of_its_address_alone(url: str | None, names: tuple[str, ...]) -> None:
    assert transports(url) == names


@pytest.mark.parametrize("url", ["--upload-pack=x", "ext::sh -c id", "ftp://example.org/x", "app.git", "fd::17"])
def test_addresses_that_git_never_sees(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|transport"):
        GitCommand("try", ("ls-remote", "--", url), url=url).argv()


def test_the_environment_is_built_from_nothing() -> None:
    made = environment(Path("/private"), {"HTTPS_PROXY": "http://proxy:3128"})
    assert made["HOME"] == "/private"
    assert made["GIT_CONFIG_NOSYSTEM"] == "1"
    assert made["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert made["GIT_TERMINAL_PROMPT"] == "0"
    assert made["GIT_ASKPASS"] == "/bin/false"
    assert made["LANG"] == "C.UTF-8"
    assert "BatchMode=yes" in made["GIT_SSH_COMMAND"]
    assert "ConnectTimeout=10" in made["GIT_SSH_COMMAND"]
    assert int(made["GIT_HTTP_LOW_SPEED_TIME"]) > 0
    assert made["HTTPS_PROXY"] == "http://proxy:3128"
