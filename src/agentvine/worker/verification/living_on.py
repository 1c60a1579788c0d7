"""Tests that are gone by their name and live on: under another name, in another file, with parameters; and those that
the task itself wants gone. Pure, but for reading files of the two commits."""

import ast
import asyncio
import re
from collections.abc import Collection, Iterator, Mapping

from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification.cases import Outcome
from agentvine.worker.verification.compare import Change, compare
from agentvine.worker.verification.runs import TestRun

_LARGEST = 1024 * 1024
_MOST_FILES = 200
_REMOVES = re.compile(r"\b(?:remov|delet|drop|get(?:ting)? rid|retir|discontinu)", re.IGNORECASE)
_WORD = r"(?<![\w/.-]){}(?![\w/-]|\.\w)"


async def living_on(
    commits: BareRepository, base: str, head: str, changed: Collection[str], runs: tuple[TestRun, TestRun], asked: str
) -> frozenset[str]:
    """The ids of tests that only the run on the base has, and that are not missed. Raises GitFailed.

    `runs` are those on base and result, `asked` the words of the task.
    """
    before, after = runs
    gone = compare([before.outcomes], [after.outcomes]).named(Change.REMOVED)
    if not gone:
        return frozenset()
    paths = [path for path in changed if path.endswith(".py") and kind_of(path) is FileKind.TEST][:_MOST_FILES]
    old, new = [{path: await _text(commits, commit, path) for path in paths} for commit in (base, head)]
    named = {name for name in gone if wanted_gone(name, before.by_id[name].file, changed, asked)}
    return frozenset({*named, *await asyncio.to_thread(renamed, gone, old, new, runs), *parametrised(gone, after)})


async def _text(commits: BareRepository, commit: str, path: str) -> str:
    content = await commits.read_file(commit, path, _LARGEST)
    return "" if content is None else content.decode("utf-8", "replace")


def wanted_gone(name: str, file: str, changed: Collection[str], asked: str) -> bool:
    """Whether the task says that this test, or the file it is in, is to be removed."""
    if not _REMOVES.search(asked) or file not in changed:
        return False
    test = re.sub(r"\[.*", "", name.rpartition("::")[2], flags=re.DOTALL)
    words = (file, file.rpartition("/")[2], test)
    return any(word and re.search(_WORD.format(re.escape(word)), asked) for word in words)


def parametrised(gone: Collection[str], after: TestRun) -> Iterator[str]:
    """Those of which the result has the same test with several parameters, and all of them pass."""
    for name in gone:
        variants = [case for case in after.tests if case.id.startswith(f"{name}[")]
        if variants and all(case.outcome is Outcome.PASSED for case in variants):
            yield name


def renamed(
    gone: Collection[str], old: Mapping[str, str], new: Mapping[str, str], runs: tuple[TestRun, TestRun]
) -> Iterator[str]:
    """Those of which the result has one that the base has not, that says word for word the same, and that passes."""
    before, after = runs
    bodies = dict(_bodies(old))
    by_body: dict[str, list[str]] = {}
    for name, body in _bodies(new):
        by_body.setdefault(body, []).append(name)
    passing = {name for name, case in after.by_id.items() if case.outcome is Outcome.PASSED and not case.unsteady}
    free = passing - before.by_id.keys()
    for name in gone:
        plain, bracket, parameters = name.partition("[")
        for other in by_body.get(bodies.get(plain, ""), ()):
            if (heir := f"{other}{bracket}{parameters}") in free:
                free.discard(heir)
                yield name
                break


def _bodies(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The functions of files by their ids, each as what it says, without its name."""
    for path, text in texts.items():
        try:
            tree = ast.parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        for name, function in _functions(tree.body, path):
            yield name, ast.dump(ast.Module([*function.decorator_list, function.args, *function.body], []))  # type: ignore[list-item]


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}::{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}::{node.name}")
