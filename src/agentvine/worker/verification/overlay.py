"""Commits made only to be checked out and tested: one commit's code with another's tests. Git's index does it; no work
tree is touched, so no link can lead a write astray."""

import secrets
from collections.abc import Collection, Mapping

from agentvine.worker import git as commands
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.git import GitCommand

_NOBODY = b"AgentVine <agentvine@localhost> 0 +0000"


async def with_files_of(repository: BareRepository, onto: str, source: str, paths: Collection[str]) -> str:
    """A commit like `onto`, but with the files at `paths` as `source` has them; those that it lacks are removed."""
    listed = {file.path: file for file in await repository.list_tree(source)}
    zero = "0" * len(onto)
    lines = [
        f"{listed[path].mode} {listed[path].sha}\t{path}" if path in listed else f"0 {zero}\t{path}"
        for path in sorted(paths)
    ]
    return await _with_entries(repository, onto, lines)


async def with_texts(repository: BareRepository, onto: str, texts: Mapping[str, str]) -> str:
    """A commit like `onto`, but with other texts in files that it has. Raises GitFailed; KeyError for others."""
    listed = {file.path: file for file in await repository.list_tree(onto)}
    lines = []
    for path, text in sorted(texts.items()):
        args = ("hash-object", "-w", "--stdin")
        stored = GitCommand("write a file", args, repository=repository.path, stdin=text.encode())
        lines.append(f"{listed[path].mode} {await repository.git.text(stored)}\t{path}")
    return await _with_entries(repository, onto, lines)


async def _with_entries(repository: BareRepository, onto: str, lines: Collection[str]) -> str:
    """A commit like `onto`, but with these entries of the index."""
    index = repository.path / f"index-{secrets.token_hex(8)}"
    environment = {"GIT_INDEX_FILE": str(index)}
    stdin = "".join(f"{line}\0" for line in lines).encode("utf-8", "surrogateescape")
    try:
        for args, given in (
            (("read-tree", onto), None),
            (("update-index", "-z", "--index-info"), stdin),
        ):
            what = "lay tests over a commit"
            await repository.git.run(GitCommand(what, args, repository=repository.path, env=environment, stdin=given))
        tree = await repository.git.text(
            GitCommand("write a tree", ("write-tree",), repository=repository.path, env=environment)
        )
    finally:
        index.unlink(missing_ok=True)
    content = b"tree %b\nparent %b\nauthor %b\ncommitter %b\n\noverlay\n" % (
        tree.encode(),
        onto.encode(),
        _NOBODY,
        _NOBODY,
    )
    return await repository.git.text(commands.write_commit(repository.path, content))
