"""Looking into a bare repository of the host's own."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentvine.worker import git as commands
from agentvine.worker.folders import remove_folder
from agentvine.worker.git import Git

_TREE_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One entry of a commit's tree."""

    mode: str
    sha: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One file of a diff; for a renamed one the new path. A binary file has no lines."""

    path: str
    added: int
    removed: int
    old: str | None = None
    """Where it was before, if it was renamed."""


@dataclass(frozen=True, slots=True)
class Diff:
    """What lies between two commits. `text` may be cut in the middle, `files` is whole."""

    text: str
    truncated: bool
    files: tuple[ChangedFile, ...]

    @property
    def lines_added(self) -> int:
        return sum(file.added for file in self.files)

    @property
    def lines_removed(self) -> int:
        return sum(file.removed for file in self.files)


class BareRepository:
    """A bare repository at `path` that only the host writes to. Its methods raise GitFailed."""

    def __init__(self, git: Git, path: Path) -> None:
        self.git = git
        self.path = path

    @property
    def borrowed(self) -> tuple[Path, ...]:
        """The object folders that a checkout which borrows from here needs to read, this repository's own first."""
        found: list[Path] = []
        waiting = [self.path / "objects"]
        while waiting:
            folder = waiting.pop()
            found.append(folder)
            with contextlib.suppress(FileNotFoundError):
                lines = (folder / "info" / "alternates").read_text().splitlines()
                waiting.extend(Path(line) for line in lines if line and Path(line) not in found)
        return tuple(found)

    async def create(self, description: str, borrow_from: Path | None = None) -> None:
        """Make it, unless it is there; it appears whole or not at all. `borrow_from`: an object folder to read from."""
        if (self.path / "HEAD").exists():
            return
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.draft")
        try:
            await self.git.run(commands.init_bare(draft))
            with (draft / "config").open("a") as file:
                # Checkouts borrow objects from here: nothing may ever be thrown away behind their backs.
                file.write("[gc]\n\tauto = 0\n\tpruneExpire = never\n[maintenance]\n\tauto = false\n")
            (draft / "description").write_text(f"{description}\n")
            if borrow_from is not None:
                lend(draft, borrow_from)
            with contextlib.suppress(OSError):  # somebody else made it meanwhile
                draft.rename(self.path)
        finally:
            await remove_folder(draft)

    async def commit_at(self, ref: str) -> str | None:
        """The commit at a full ref name or sha; None if there is none."""
        return await self.git.text(commands.commit_of(self.path, ref)) or None

    async def descends(self, new: str, old: str) -> bool:
        """True if commit `new` is `old` or comes after it."""
        return (await self.git.run(commands.is_ancestor(self.path, old, new))).exit_code == 0

    async def commits(self, base: str, head: str, *options: str) -> list[str]:
        """The commits that `head` has and `base` has not, parents first. `options`: of git-rev-list(1)."""
        return (await self.git.text(commands.commits(self.path, base, head, *options))).split()

    async def read_file(self, commit: str, path: str, limit: int) -> bytes | None:
        """The first `limit` bytes of a file as committed; links inside the tree are followed, those out of it are not.

        None if there is no such file. Whoever cannot use a cut file asks for one byte more than is allowed.
        """
        if "\n" in path or {"", ".", ".."} & set(path.split("/")):  # to git, `./` means the directory where it runs
            return None
        words = (await self.git.text(commands.objects(self.path, [f"{commit}:{path}"]))).split("\n")[0].split(" ")
        if len(words) != 3 or words[1] != "blob":
            return None
        done = await self.git.run(commands.blob(self.path, words[0], 2 * limit))
        return done.raw[:limit]

    async def list_tree(self, commit: str) -> list[TreeFile]:
        """Every file of a commit, in git's order (by path, bytewise). Raises ValueError if there are absurdly many."""
        done = await self.git.run(commands.tree(self.path, commit, _TREE_LIMIT))
        if done.truncated:
            raise ValueError(f"the tree of {commit} is larger than anything that is worked on here")
        return [_tree_file(line) for line in done.stdout.split("\0") if line]

    async def diff(self, base: str, head: str, limit: int = 1_000_000, *, context: int = 3) -> Diff:
        """What changed from `base` to `head`: a text of at most `limit` bytes, and the count per file.

        `context`: how many unchanged lines the text shows around each change.
        """
        text = await self.git.run(commands.diff(self.path, base, head, f"--unified={context}", output_limit=limit))
        counts = await self.git.run(commands.diff(self.path, base, head, "--numstat", "-z", output_limit=_TREE_LIMIT))
        return Diff(text.stdout, text.truncated, tuple(_changed_files(counts.stdout)))

    async def diff_of(self, base: str, head: str, paths: Sequence[str], limit: int) -> str:
        """What changed in `paths` alone from `base` to `head`: at most `limit` bytes of it."""
        return (await self.git.run(commands.diff(self.path, base, head, paths=paths, output_limit=limit))).stdout


def lend(repository: Path, objects: Path) -> None:
    """Let `repository` (a git directory) read objects from another's object folder, see gitrepository-layout(5)."""
    (repository / "objects" / "info").mkdir(exist_ok=True)
    (repository / "objects" / "info" / "alternates").write_bytes(os.fsencode(objects) + b"\n")


def _tree_file(line: str) -> TreeFile:
    about, _, path = line.partition("\t")
    mode, _, sha, size = about.split()
    return TreeFile(mode, sha, 0 if size == "-" else int(size), path)


def _changed_files(counts: str) -> Iterator[ChangedFile]:
    """Read `--numstat -z`: `added TAB removed TAB path NUL`; where renamed, `path` is empty, old and new follow."""
    fields = iter(counts.split("\0"))
    for field in fields:
        if not field:
            continue
        added, removed, path = field.split("\t", 2)
        old = None
        if not path:
            old, path = next(fields), next(fields)
        lines = [0 if number == "-" else int(number) for number in (added, removed)]
        yield ChangedFile(path, lines[0], lines[1], old)
