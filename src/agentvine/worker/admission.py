"""What a result must look like before the host keeps it. Everything here judges hostile input."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agentvine.domain.retry import FailureReason
from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.git_errors import GitFailed, GitTrouble, RepositoryProblem

_FILE, _PROGRAM, _LINK, _SUBMODULE, _NOTHING = "100644", "100755", "120000", "160000", "000000"
_LONGEST_LINK = 4096
_LONGEST_PATH = 4000
_LONGEST_NAME = 255
_DEEPEST = 200
_MODULES = re.compile(r"^(\.gitmodules|gitmod~[1-4]|gi7eba~[1-9])$")
"""`.gitmodules` and the short names that NTFS may give it (git's own `is_ntfs_dotgitmodules`)."""
_HEADER = re.compile(rb"# v2 git bundle\n((?:[-0-9a-f][^\n]*\n)*)\n")
_HEAD = re.compile(rb"^([0-9a-f]{40}|[0-9a-f]{64}) HEAD$")


class ResultRefused(RepositoryProblem):
    """The agent's result breaks a rule and is not kept; the message says which and where."""

    reason = FailureReason.RESULT_REFUSED


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a result may hold."""

    bundle_bytes: int = 100 * 1024 * 1024
    file_bytes: int = 20 * 1024 * 1024
    total_bytes: int = 500 * 1024 * 1024
    """What all files of all commits hold together, unpacked."""
    memory_bytes: int = 2 * 1024 * 1024 * 1024
    """What may be used to unpack it, and to list its changes."""
    commits: int = 500
    commit_bytes: int = 65_536
    """One commit object, which is its message for the most part."""
    changes_bytes: int = 16 * 1024 * 1024
    """The list of all changes, at about 150 bytes each."""


@dataclass(frozen=True, slots=True)
class Change:
    """One path that one commit changes against one of its parents."""

    old_mode: str
    new_mode: str
    new_sha: str
    path: str


def open_bundle(bundle: bytes) -> tuple[str, bytes]:
    """The one commit that a bundle names, as HEAD, and its pack. Raises ResultRefused for all but a plain bundle."""
    header = _HEADER.match(bundle[:65_536])
    if header is None:
        raise ResultRefused("the result is no git bundle of version 2")
    refs = [line for line in header[1].split(b"\n") if line and not line.startswith(b"-")]
    found = _HEAD.match(refs[0]) if len(refs) == 1 else None
    if found is None:
        raise ResultRefused("the bundle must carry HEAD and nothing else")
    return found[1].decode(), bundle[header.end() :]


async def inspect(
    repository: BareRepository, base: str, head: str, limits: Limits, *, checkpoint: bool = False
) -> None:
    """Judge all commits from `base` to `head`. Raises ResultRefused, GitFailed.

    `checkpoint`: they only go back into a workspace of the same agent, so all that counts is that checking them out
    harms nobody: their size, their paths, and that there are no unknown kinds of files. Links may lead anywhere, for
    they are made and never followed; submodules become empty folders; history may have been rewritten.
    """
    try:
        await _inspect(repository, base, head, limits, checkpoint=checkpoint)
    except GitFailed as failed:
        if failed.trouble is GitTrouble.TIMEOUT:
            raise ResultRefused("the result takes too long to look through") from failed
        raise


async def _inspect(repository: BareRepository, base: str, head: str, limits: Limits, *, checkpoint: bool) -> None:
    if not checkpoint and not await repository.descends(head, base):
        raise ResultRefused(f"the result does not build on its base {base}: history was rewritten")
    commits = await repository.commits(base, head)
    if len(commits) > limits.commits:
        raise ResultRefused(f"{len(commits)} commits are more than the {limits.commits} that are taken")
    if not checkpoint and len(await repository.commits(base, head, "--ancestry-path")) != len(commits):
        raise ResultRefused("the result brings in commits that do not build on its base: a merge from elsewhere")
    for name, _, size in await _about(repository, commits, limits):
        if size > limits.commit_bytes:
            raise ResultRefused(f"the message of commit {name[:12]} has about {size} bytes")
    listed = await repository.git.run(
        commands.changes(repository.path, commits, limits.changes_bytes, memory=limits.memory_bytes)
    )
    if listed.truncated:
        raise ResultRefused("the result changes too many files")
    changes = list(read_changes(listed.stdout))
    for change in changes:
        check_path(change.path, checkpoint=checkpoint)
        check_mode(change, checkpoint=checkpoint)
    files = [change for change in changes if change.new_mode not in {_NOTHING, _SUBMODULE}]
    await _check_contents(repository, files, limits, checkpoint=checkpoint)


def read_changes(raw: str) -> Iterator[Change]:
    """Read the raw, NUL-separated lines of git-diff-tree(1)."""
    fields = iter(raw.split("\0"))
    for about in fields:
        if about:
            old_mode, new_mode, _, new_sha, _ = about.lstrip(":").split(" ")
            yield Change(old_mode, new_mode, new_sha, next(fields))


def check_path(path: str, *, checkpoint: bool = False) -> None:
    """Raise ResultRefused for a path that leaves the tree or reaches into a git directory, on any file system."""
    parts = re.split(r"[/\\]", path)
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise ResultRefused(f"{path!r} is not a path inside the repository")
    if any(_means_git(part) for part in parts):
        raise ResultRefused(f"{path!r} reaches into a git directory")
    if not checkpoint and _MODULES.match(_plain(parts[-1])):
        raise ResultRefused(f"the result changes submodules ({parts[-1]!r})")
    if max(map(_length, parts)) > _LONGEST_NAME or _length(path) > _LONGEST_PATH:
        raise ResultRefused(f"a path is longer than file systems take: {path[:200]!r}")
    if len(parts) - 1 > _DEEPEST:
        raise ResultRefused(f"a file lies more than {_DEEPEST} directories deep: {path[:200]!r}")


def _length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _means_git(part: str) -> bool:
    """True for `.git` and the other spellings under which Windows and macOS would find it."""
    return _plain(part) in {".git", "git~1"}


def _plain(part: str) -> str:
    """A name as the least exact file systems see it: HFS+ passes over some characters, NTFS over endings."""
    plain = re.sub("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]", "", part)
    return plain.partition(":")[0].rstrip(". ").casefold()


def check_mode(change: Change, *, checkpoint: bool = False) -> None:
    """Raise ResultRefused for submodules, unless in a checkpoint, and for kinds of files that do not exist."""
    if not checkpoint and _SUBMODULE in {change.old_mode, change.new_mode}:
        raise ResultRefused(f"the result changes a submodule: {change.path!r}")
    if change.new_mode != _SUBMODULE and change.new_mode not in {_FILE, _PROGRAM, _LINK, _NOTHING}:
        raise ResultRefused(f"{change.path!r} has the unknown mode {change.new_mode}")


def check_link(path: str, target: str) -> None:
    """Raise ResultRefused for a symbolic link that could lead out of the tree, or into a git directory.

    `..` may only stand in front: behind a name it would go up from wherever that name, itself a link perhaps, leads.
    """
    depth = path.count("/")
    parts = [part for part in target.split("/") if part not in {"", "."}]
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if target.startswith("/") or "\0" in target or ".." in parts[up:] or up > depth:
        raise ResultRefused(f"the link {path!r} leads out of the repository: {target!r}")
    if any(_means_git(part) for part in parts):
        raise ResultRefused(f"the link {path!r} leads into a git directory: {target!r}")


async def _check_contents(
    repository: BareRepository, changes: Sequence[Change], limits: Limits, *, checkpoint: bool
) -> None:
    paths = {change.new_sha: change.path for change in changes}
    sizes = {}
    for name, kind, size in await _about(repository, paths, limits):
        if kind != "blob":
            raise ResultRefused(f"{paths[name]!r} is no file but a {kind}")
        if size > limits.file_bytes:
            raise ResultRefused(f"{paths[name]!r} has {size} bytes, more than the {limits.file_bytes} that are taken")
        sizes[name] = size
    total = sum(sizes[sha] for _, sha in {(change.path, change.new_sha) for change in changes})
    if total > limits.total_bytes:
        raise ResultRefused(f"the result's files hold {total} bytes, more than the {limits.total_bytes} that are taken")
    for change in changes:
        if change.new_mode == _LINK:
            await _check_link_at(repository, change, sizes[change.new_sha], checkpoint=checkpoint)


async def _about(repository: BareRepository, names: Iterable[str], limits: Limits) -> list[tuple[str, str, int]]:
    """Name, type and size of each object."""
    listed = await repository.git.run(commands.objects(repository.path, names, output_limit=limits.changes_bytes))
    lines = (line.split(" ") for line in listed.stdout.splitlines())
    return [(name, kind, int(size)) for name, kind, size in lines]


async def _check_link_at(repository: BareRepository, change: Change, size: int, *, checkpoint: bool) -> None:
    if size > _LONGEST_LINK:
        raise ResultRefused(f"the link {change.path!r} has {size} bytes")
    if checkpoint:
        return
    target = await repository.git.run(commands.blob(repository.path, change.new_sha, 2 * _LONGEST_LINK))
    check_link(change.path, target.raw.decode("utf-8", "surrogateescape"))
