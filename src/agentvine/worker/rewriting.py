"""Making new commits out of old ones in a bare repository: no work tree, so no hook, filter or merge driver has a say.

Nothing depends on when or where it runs: done again after a crash, the same commits come out.
"""

import dataclasses
from collections.abc import AsyncIterator, Iterator, Mapping

from agentvine.domain.retry import FailureReason
from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.commits import Commit, dated, signed
from agentvine.worker.git_errors import RepositoryProblem

_MESSAGES_LIMIT = 64 * 1024 * 1024


class RebaseConflict(RepositoryProblem):
    """The result and what others pushed meanwhile touch the same lines of `paths`."""

    reason = FailureReason.BRANCH_MOVED

    def __init__(self, commit: str, paths: tuple[str, ...]) -> None:
        super().__init__(f"{commit[:12]} clashes with what was pushed meanwhile, in {', '.join(paths) or 'its files'}")
        self.commit = commit
        self.paths = paths


async def sign(repository: BareRepository, head: str, base: str, prefix: str, trailers: Mapping[str, str]) -> str:
    """Give every commit after `base` these trailers and a conventional subject. Returns the new head.

    Tree, author, committer and dates stay. A commit that is as it should be stays the same commit.
    """
    renamed: dict[str, str] = {}
    async for name, commit in _read(repository, await repository.commits(base, head)):
        wanted = dataclasses.replace(
            commit,
            parents=tuple(renamed.get(parent, parent) for parent in commit.parents),
            message=signed(commit.message, prefix, trailers),
        )
        same = wanted.parents == commit.parents and wanted.message == commit.message
        renamed[name] = name if same else await _write(repository, wanted)
    return renamed.get(head, head)


async def transplant(repository: BareRepository, head: str, old_base: str, new_base: str) -> str:
    """Apply the commits after `old_base`, merges left out, onto `new_base`. Returns the new head.

    Author and author date stay; the committer's date becomes the author's. A commit whose change is there already is
    dropped, so the result may be `new_base` itself. Raises RebaseConflict.
    """
    tip = new_base
    names = await repository.commits(old_base, head, "--no-merges")
    async for name, commit in _read(repository, names):
        tree = await _apply(repository, name, commit, tip)
        if tree == await _tree_of(repository, tip):
            continue
        committer = dated(commit.committer, commit.author)
        moved = dataclasses.replace(commit, tree=tree, parents=(tip,), committer=committer)
        tip = await _write(repository, moved)
    return tip


async def _apply(repository: BareRepository, name: str, commit: Commit, tip: str) -> str:
    """The tree that is `tip` with the change of `commit`.

    The merge is told its base by two commits made for it, which have the old parent's tree as their only ancestor:
    git-merge-tree(1) takes no other before git 2.40.
    """
    before = dataclasses.replace(commit, tree=await _tree_of(repository, commit.parents[0]), parents=(), message=b"")
    base = await _write(repository, before)
    ours = await _write(repository, dataclasses.replace(before, tree=await _tree_of(repository, tip), parents=(base,)))
    theirs = await _write(repository, dataclasses.replace(before, tree=commit.tree, parents=(base,)))
    done = await repository.git.run(commands.merge_trees(repository.path, ours, theirs))
    tree, *paths = done.stdout.split("\0")
    if done.exit_code != 0:
        raise RebaseConflict(name, tuple(path for path in paths if path))
    return tree.strip()


async def commit_of(repository: BareRepository, sha: str) -> Commit:
    """One commit. Raises GitFailed if there is none of that name."""
    async for _, commit in _read(repository, [sha]):
        return commit
    raise AssertionError("git names every object that it was asked for")


async def _tree_of(repository: BareRepository, name: str) -> str:
    return await repository.git.text(commands.tree_of(repository.path, name))


async def _write(repository: BareRepository, commit: Commit) -> str:
    return await repository.git.text(commands.write_commit(repository.path, commit.render()))


async def _read(repository: BareRepository, names: list[str]) -> AsyncIterator[tuple[str, Commit]]:
    command = commands.objects(repository.path, names, what="content", output_limit=_MESSAGES_LIMIT)
    for name, content in _objects((await repository.git.run(command)).raw):
        yield name, Commit.parse(content)


def _objects(batch: bytes) -> Iterator[tuple[str, bytes]]:
    """Read `git cat-file --batch`: `name type size LF content LF`, again and again."""
    while batch:
        about, _, rest = batch.partition(b"\n")
        name, _, size = about.split(b" ")
        yield name.decode(), rest[: int(size)]
        batch = rest[int(size) + 1 :]
