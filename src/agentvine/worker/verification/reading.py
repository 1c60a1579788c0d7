"""What a result's files say, read beside what the base's said: tests that state less, an API that lost something,
documents that do not hold together."""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from agentvine.domain.tool_policy import FileKind
from agentvine.domain.worker_types import TaskType
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.files import kind_of
from agentvine.worker.verification.documents import Problem, Tree, is_document, is_readable, problems
from agentvine.worker.verification.public_api import is_public, taken_away
from agentvine.worker.verification.weakening import is_looked_at, weakenings

_LARGEST = 1024 * 1024
_MOST_FILES = 1000
_MOST_BESIDE = 200
"""Documents that were not changed and are looked at all the same."""
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Read:
    """What was found, a sentence for each thing. `unread`: what was not looked at."""

    weakened: tuple[str, ...] = ()
    taken_away: tuple[str, ...] = ()
    dangling: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    before: str | None
    after: str | None


async def read_change(
    commits: BareRepository,
    base: str,
    head: str,
    changed: Collection[str],
    kind: TaskType,
    *,
    judged_by_base: bool,
    asked: str = "",
) -> Read:
    """Read the files that differ between base and head, as far as it matters for this type. Raises GitFailed.

    `judged_by_base` False: the base has no tests, so a result may say how they are run. `asked`: the words of the task;
    a name that stands in them may go.
    """
    wanted = [path for path in changed if _matters(path, kind, judged_by_base=judged_by_base)]
    unread = [f"{len(wanted) - _MOST_FILES} more files were not compared"] if len(wanted) > _MOST_FILES else []
    files = []
    for path in wanted[:_MOST_FILES]:
        texts = [await commits.read_file(commit, path, _LARGEST + 1) for commit in (base, head)]
        if any(text is not None and len(text) > _LARGEST for text in texts):
            unread.append(f"{path} is too large to be compared")
            continue
        before, after = (None if text is None else text.decode("utf-8", "replace") for text in texts)
        if any(not is_readable(text) for text in (before, after) if text is not None and is_document(path)):
            unread.append(f"{path} is written so that no links can be told from it")
            continue
        files.append(_File(path, before, after))
    if kind is not TaskType.DOCS:
        return await asyncio.to_thread(_of_code, files, kind, asked, unread)
    paths = [[file.path for file in await commits.list_tree(commit)] for commit in (base, head)]
    beside = await _beside(commits, head, [path for path in paths[1] if is_document(path) and path not in changed])
    return await asyncio.to_thread(_of_documents, files, beside, paths, unread)


async def _beside(commits: BareRepository, head: str, paths: list[str]) -> dict[str, str]:
    """The documents that were not changed, as far as they can be read; what they link to may have gone."""
    found = {}
    for path in paths[:_MOST_BESIDE]:
        content = await commits.read_file(head, path, _LARGEST + 1)
        if content is not None and len(content) <= _LARGEST:
            text = content.decode("utf-8", "replace")
            if is_readable(text):
                found[path] = text
    return found


def _matters(path: str, kind: TaskType, *, judged_by_base: bool) -> bool:
    if kind is TaskType.DOCS:
        return is_document(path)
    if kind_of(path) is FileKind.TEST or (judged_by_base and is_looked_at(path)):
        return True
    return kind is TaskType.REFACTOR and is_public(path)


def _of_code(files: list[_File], kind: TaskType, asked: str, unread: list[str]) -> Read:
    weakened = [str(one) for file in files for one in weakenings(file.path, file.before, file.after)]
    gone = list(_gone(files, asked)) if kind is TaskType.REFACTOR else []
    return Read(weakened=_some(weakened), taken_away=_some(gone), unread=_some(unread))


def _gone(files: Iterable[_File], asked: str) -> Iterator[str]:
    for file in files:
        if file.before is not None and is_public(file.path):
            for sentence in taken_away(file.path, file.before, file.after):
                name = sentence.removeprefix(f"{file.path}: ").partition(" ")[0].rpartition(".")[2]
                if file.after is None:  # the sentence is about the module itself
                    name = file.path.removesuffix("/__init__.py").removesuffix(".py").rpartition("/")[2]
                if name not in asked:
                    yield sentence


def _of_documents(files: list[_File], beside: dict[str, str], paths: list[list[str]], unread: list[str]) -> Read:
    old = Tree(paths[0], {**beside, **{file.path: file.before for file in files if file.before is not None}})
    new = Tree(paths[1], {**beside, **{file.path: file.after for file in files if file.after is not None}})
    found: list[tuple[str, Problem]] = []
    for file in files:
        if file.after is not None:
            found += [(file.path, one) for one in problems(file.path, file.before, file.after, new)]
    for path, text in beside.items():
        known = {(one.kind, one.what) for one in problems(path, None, text, old)}
        found += [(path, one) for one in problems(path, None, text, new) if (one.kind, one.what) not in known]
    sentences = {
        kind: [f"{path}:{one.line}: {one.what}" for path, one in found if one.kind == kind] for kind in ("link", "code")
    }
    return Read(dangling=_some(sentences["link"]), unreadable=_some(sentences["code"]), unread=_some(unread))


def _some(sentences: list[str]) -> tuple[str, ...]:
    more = [f"and {len(sentences) - _SHOWN} more"] if len(sentences) > _SHOWN else []
    return (*sentences[:_SHOWN], *more)
