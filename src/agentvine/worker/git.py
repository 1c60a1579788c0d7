"""Git commands for the host: built here as plain values, run by `Git` and nowhere else.

Every command goes to a repository that no agent can write to; the host runs no git inside a workspace that an agent
has touched (docs: DESIGN 11). Nothing of the machine's or the user's git configuration has a say: each command names
its repository and the one transport that it may use, and is given an environment built from nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.domain.git_credential import GitCredential
from agentvine.kit.process import SYSTEM_PATH, Completed, ProcessTimeout, run
from agentvine.worker.credentials import PLAIN_SSH, Credentials, NoCredentials, handed, without_secret
from agentvine.worker.git_errors import GitFailed, GitTrouble, classify

LOCAL_SECONDS = 120.0
NETWORK_SECONDS = 1800.0
UNPACKING_SECONDS = 300.0
LOOKING_THROUGH_SECONDS = 60.0
_FRUGAL = ("core.packedGitWindowSize=32m", "core.packedGitLimit=256m")
"""For commands with a limit on memory: else the packs of a large repository alone might reach it."""
PROBE_SECONDS = 60.0
_LOW_SPEED_BYTES, _LOW_SPEED_SECONDS = 1000, 60

HARDENING = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "credential.helper=",
    "safe.bareRepository=explicit",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "commit.gpgSign=false",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
)
"""Set on every command. With `safe.bareRepository=explicit` a repository counts only where `--git-dir` names it."""

_TRANSPORTS: Mapping[str, tuple[str, ...]] = {
    "file": ("file",),
    "https": ("https",),
    "http": ("http", "https"),  # a server may send us from the one to the other, never back
    "ssh": ("ssh",),
    "git": ("git",),
}


@dataclass(frozen=True, slots=True)
class GitCommand:
    """One call of git, as a value."""

    what: str
    """What it is for, to end the sentence "could not …"."""
    args: tuple[str, ...]
    repository: Path | None = None
    work_tree: Path | None = None
    url: str | None = None
    """The only address that it may talk to, an absolute path included; None: it talks to nobody."""
    stdin: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    ok: frozenset[int] = frozenset({0})
    timeout: float = LOCAL_SECONDS
    output_limit: int = 1_000_000
    settings: tuple[str, ...] = ()
    memory_limit: int | None = None
    """The most bytes of address space; where what it reads decides how much it takes."""

    def argv(self, more: Iterable[str] = ()) -> list[str]:
        """The command line, with `more` settings."""
        settings = [*HARDENING, *(f"protocol.{name}.allow=always" for name in transports(self.url))]
        settings += [*self.settings, *more]
        places = []
        if self.repository is not None:
            places.append(f"--git-dir={self.repository}")
        if self.work_tree is not None:
            places.append(f"--work-tree={self.work_tree}")
        options = [word for setting in settings for word in ("-c", setting)]
        return ["git", *options, "--literal-pathspecs", *places, *self.args]


def transports(url: str | None) -> tuple[str, ...]:
    """The transports that a command for `url` may use. Raises ValueError for an address that git should never see."""
    if url is None:
        return ()
    scheme, separator, _ = url.partition("://")
    if not separator:
        scheme = "file" if url.startswith("/") else "ssh"
        if url.startswith("-") or "::" in url or (scheme == "ssh" and ":" not in url):
            raise ValueError(f"not an address for git: {url}")
    if scheme not in _TRANSPORTS:
        raise ValueError(f"no transport for {url}")
    return _TRANSPORTS[scheme]


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a git command. `home` is a private, empty folder; `extra` is the operator's to give."""
    return {
        "PATH": SYSTEM_PATH,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_SSH_COMMAND": PLAIN_SSH,
        "GIT_HTTP_LOW_SPEED_LIMIT": str(_LOW_SPEED_BYTES),
        "GIT_HTTP_LOW_SPEED_TIME": str(_LOW_SPEED_SECONDS),
        **(extra or {}),
    }


class Git:
    """Runs git commands. `home` is made if it is missing; `extra` adds to the environment (proxies).

    A command that talks to a remote gets that remote's credential for as long as it runs.
    """

    def __init__(
        self, home: Path, extra: Mapping[str, str] | None = None, credentials: Credentials | None = None
    ) -> None:
        self._home = home
        self._env = environment(home, extra)
        self._credentials = credentials or NoCredentials()

    async def run(self, command: GitCommand) -> Completed:
        """Run it. Raises GitFailed if it ends with none of its good exit codes, or not in time.

        What talks to others may hang, so it runs guarded: it ends when this process does.
        """
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        remote = transports(command.url) not in {(), ("file",)}
        credential = await self._credentials.of(command.url) if remote and command.url is not None else None
        try:
            with handed(credential, command.url or "") as given:
                done = await run(
                    _limited(command.argv(given.settings), command.memory_limit),
                    cwd=self._home,
                    env={**self._env, **command.env, **given.environment},
                    stdin=command.stdin,
                    timeout=command.timeout,
                    output_limit=command.output_limit,
                    guarded=remote,
                    pass_fds=given.descriptors,
                )
        except ProcessTimeout as late:
            said = f"{without_secret(late.completed.stderr, credential)}\nfatal: no end after {command.timeout:g} s"
            raise GitFailed(command.what, None, said, GitTrouble.TIMEOUT) from late
        if done.exit_code not in command.ok:
            raise _failed(command, done, credential)
        return done

    async def text(self, command: GitCommand) -> str:
        """Its output without white space around it."""
        return (await self.run(command)).stdout.strip()


def _limited(argv: list[str], memory: int | None) -> list[str]:
    if memory is None:
        return argv
    return ["sh", "-c", 'ulimit -v "$1" && shift && exec "$@"', "sh", str(memory // 1024), *argv]


def _failed(command: GitCommand, done: Completed, credential: GitCredential | None) -> GitFailed:
    """What went wrong; a command that talks to nobody can only lack room, whatever else its words may recall."""
    if command.url is not None:
        said = without_secret(f"{done.stderr}\n{done.stdout}", credential)
        hint = f"with the credential for {credential.pattern}" if credential else "without a credential"
        return GitFailed(command.what, done.exit_code, said, hint=hint)
    full = classify(done.stderr) is GitTrouble.DISK_FULL
    return GitFailed(command.what, done.exit_code, done.stderr, GitTrouble.DISK_FULL if full else GitTrouble.OTHER)


# Making repositories


def init_bare(path: Path) -> GitCommand:
    """An empty bare repository without templates, so without hooks. Harmless where one is."""
    return GitCommand(f"make {path}", ("init", "--quiet", "--bare", "--template=", "--", str(path)))


def init_checkout(path: Path, branch: str) -> GitCommand:
    """An empty repository with a work tree, on the unborn `branch`."""
    head = f"--initial-branch={branch}"
    return GitCommand(f"make {path}", ("init", "--quiet", "--template=", head, "--", str(path)))


# Talking to others


def fetch(repository: Path, url: str, refspecs: Iterable[str], *, prune: bool = False) -> GitCommand:
    """Fetch exactly `refspecs` from `url`."""
    options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"]
    return GitCommand(
        f"fetch from {url}",
        ("fetch", *options, *(["--prune"] if prune else []), "--", url, *refspecs),
        repository=repository,
        url=url,
        timeout=NETWORK_SECONDS,
    )


def ls_remote(url: str, ref: str) -> GitCommand:
    """What `url` has at the full name `ref`."""
    return GitCommand(f"look at {url}", ("ls-remote", "--quiet", "--", url, ref), url=url, timeout=PROBE_SECONDS)


def push(repository: Path, url: str, branch: str, new: str, old: str | None) -> GitCommand:
    """Set one branch to `new`, only if it is at `old` (None: only if it does not exist), in one step at the remote."""
    ref = f"refs/heads/{branch}"
    lease = f"--force-with-lease={ref}:{old or ''}"
    options = ("--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--no-recurse-submodules", lease)
    return GitCommand(
        f"push {branch} to {url}",
        ("push", *options, "--", url, f"{new}:{ref}"),
        repository=repository,
        url=url,
        timeout=NETWORK_SECONDS,
    )


# Looking


def commit_of(repository: Path, ref: str) -> GitCommand:
    """The commit at the full name `ref`; nothing, with exit code 1, if there is none."""
    args = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return GitCommand(f"look up {ref}", args, repository=repository, ok=frozenset({0, 1}))


def tree_of(repository: Path, commit: str) -> GitCommand:
    """The tree of a commit."""
    args = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{tree}}")
    return GitCommand(f"look up {commit}", args, repository=repository)


def branches(repository: Path) -> GitCommand:
    """The names of the remote's branches, as last fetched."""
    args = ("for-each-ref", "--format=%(refname:lstrip=3)", "--", "refs/remotes/origin/")
    return GitCommand("list the branches", args, repository=repository)


def is_ancestor(repository: Path, old: str, new: str) -> GitCommand:
    """Exit code 0 if `new` descends from, or is, `old`; 1 if not."""
    args = ("merge-base", "--is-ancestor", "--end-of-options", old, new)
    return GitCommand("compare two commits", args, repository=repository, ok=frozenset({0, 1}))


def commits(repository: Path, base: str, head: str, *options: str) -> GitCommand:
    """The commits that `head` has and `base` has not, parents first."""
    args = ("rev-list", "--reverse", "--topo-order", *options, "--end-of-options", f"{base}..{head}", "--")
    return GitCommand("list the commits", args, repository=repository)


def tree(repository: Path, commit: str, output_limit: int) -> GitCommand:
    """Every file of a commit: mode, type, object, size, path."""
    args = ("ls-tree", "-r", "-z", "-l", "--full-tree", "--end-of-options", commit)
    return GitCommand("list the files", args, repository=repository, output_limit=output_limit)


def objects(
    repository: Path, names: Iterable[str], *, what: str = "check", output_limit: int = 1_000_000
) -> GitCommand:
    """`name type size` of each object (`what="check"`), or also its content; links in trees are followed."""
    mode = "--batch-check" if what == "check" else "--batch"
    stdin = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
    args = ("cat-file", mode, "--buffer", "--follow-symlinks")
    return GitCommand("read objects", args, repository=repository, stdin=stdin, output_limit=output_limit)


def blob(repository: Path, name: str, output_limit: int) -> GitCommand:
    """The content of one file."""
    return GitCommand("read a file", ("cat-file", "blob", name), repository=repository, output_limit=output_limit)


def diff(
    repository: Path, base: str, head: str, *options: str, paths: Iterable[str] = (), output_limit: int = 1_000_000
) -> GitCommand:
    """What changed between two commits, by git's own diff and nobody else's; of `paths` alone, if there are any."""
    plain = ("--no-ext-diff", "--no-textconv", "--no-color", "--find-renames", "--submodule=short")
    args = ("diff", *plain, *options, "--end-of-options", base, head, "--", *paths)
    return GitCommand("compare two commits", args, repository=repository, output_limit=output_limit)


def changes(repository: Path, commit_names: Iterable[str], output_limit: int, *, memory: int) -> GitCommand:
    """What each commit changes against each of its parents, as raw lines.

    It collects all of a commit's changes before it says the first: a few hundred bytes of nested trees that name the
    same one again and again would take all the memory there is.
    """
    args = (
        "diff-tree",
        "--stdin",
        "-r",
        "-m",
        "-z",
        "--root",
        "--no-renames",
        "--no-commit-id",
        "--raw",
        "--abbrev=64",
    )
    stdin = "".join(f"{name}\n" for name in commit_names).encode()
    return GitCommand(
        "list the changes",
        args,
        repository=repository,
        stdin=stdin,
        output_limit=output_limit,
        timeout=LOOKING_THROUGH_SECONDS,
        settings=_FRUGAL,
        memory_limit=memory,
    )


# Writing


def unpack(repository: Path, pack: bytes, *, largest: int, memory: int) -> GitCommand:
    """Store the objects of a pack from outside, after a check of each one's form and of all that it points to.

    Not `git fetch` from the bundle around it: before git 2.44 that checks no objects, whatever `fetch.fsckObjects` is.
    A small pack may hold objects of any size: files above `largest` bytes are never held in memory whole, and beyond
    `memory` bytes it fails.
    """
    args = ("index-pack", "--stdin", "--fix-thin", "--strict", "--threads=1", f"--max-input-size={len(pack)}")
    return GitCommand(
        "take the objects in",
        args,
        repository=repository,
        stdin=pack,
        timeout=UNPACKING_SECONDS,
        settings=(*_FRUGAL, f"core.bigFileThreshold={largest}"),
        memory_limit=memory,
    )


def update_ref(repository: Path, ref: str, new: str) -> GitCommand:
    """Set a ref, whatever it was."""
    return GitCommand(f"set {ref}", ("update-ref", "--no-deref", "--end-of-options", ref, new), repository=repository)


def write_commit(repository: Path, content: bytes) -> GitCommand:
    """Store a commit object given in git's own form, checked for that form; says its name."""
    args = ("hash-object", "-t", "commit", "-w", "--stdin")
    return GitCommand("write a commit", args, repository=repository, stdin=content)


def merge_trees(repository: Path, ours: str, theirs: str) -> GitCommand:
    """Merge two commits without a work tree: says the tree, and with exit code 1 the paths that clash (git ≥ 2.38)."""
    args = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", ours, theirs)
    return GitCommand("merge", args, repository=repository, ok=frozenset({0, 1}))


# Checking out


def check_out(repository: Path, work_tree: Path, commit: str) -> GitCommand:
    """Fill an empty work tree and the index with the files of a commit. HEAD stays as it is."""
    args = ("read-tree", "--reset", "-u", "--no-recurse-submodules", commit)
    return GitCommand("check the files out", args, repository=repository, work_tree=work_tree)


def move_files(repository: Path, work_tree: Path, old: str, new: str) -> GitCommand:
    """Bring an untouched work tree from one commit to another, writing only what differs."""
    args = ("read-tree", "-m", "-u", "--no-recurse-submodules", old, new)
    return GitCommand("check the files out", args, repository=repository, work_tree=work_tree)


def files_changed(repository: Path, old: str, new: str, output_limit: int) -> GitCommand:
    """The paths that are there in commit `new` and differ from `old`, NUL after each."""
    args = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=AMT", old, new)
    return GitCommand("list the changes", args, repository=repository, output_limit=output_limit)


def write_files(repository: Path, work_tree: Path, paths: Iterable[bytes]) -> GitCommand:
    """Write files that are missing in an untouched work tree, as the index has them."""
    args = ("checkout-index", "--index", "-z", "--stdin")
    stdin = b"".join(path + b"\0" for path in paths)
    return GitCommand("check the files out", args, repository=repository, work_tree=work_tree, stdin=stdin)


def point_head(repository: Path, branch: str) -> GitCommand:
    """Make `branch` the current one."""
    return GitCommand(f"switch to {branch}", ("symbolic-ref", "HEAD", f"refs/heads/{branch}"), repository=repository)
