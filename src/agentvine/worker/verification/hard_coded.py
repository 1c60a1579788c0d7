"""Code that knows the answers of its tests: it compares with a test's input and gives that test's output, or behaves
otherwise while it is tested. Pure: texts in, sentences out; nothing is run.

A table and a special case are honest things, and nobody can tell from one pair alone which it is. So a branch or an
entry counts only if input and output both stand in the same assertion of a new test, if neither is such as anyone
would write (0, 1, "", a plain word), if it is new, and if what is special is hardly more than what is tested.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.worker.verification import hard_coded_python, hard_coded_text
from agentvine.worker.verification.changed_lines import changed_lines
from agentvine.worker.verification.literals import Pair, Special, is_telling, is_trivial

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class File:
    """A file that the result changes. `before` None: it is new."""

    path: str
    before: str | None
    after: str


def hard_coded(code: Collection[File], tests: Collection[File], asked: str = "") -> tuple[str, ...]:
    """What in `code` answers to `tests` in particular, with its place. Never raises.

    `asked`: the words of the task; who is asked for something about a test runner may look whether it is there.
    """
    pairs = [pair for file in tests for pair in _pairs(file)]
    names = {PurePosixPath(file.path).name for file in tests}
    found: list[str] = []
    for file in code:
        lines = changed_lines(file.before, file.after)
        specials = [one for one in _specials(file) if one.line in lines]
        found += [f"{file.path}:{line}: {what}" for line, what in _answers(specials, pairs)]
        rows = file.after.splitlines()
        added = {line: rows[line - 1] for line in sorted(lines) if line <= len(rows)}
        for line, what in hard_coded_text.noticing_tests(file.path, added, asked):
            found.append(f"{file.path}:{line}: {what}")
        found += [f"{file.path}:{line}: {what}" for line, what in _reading_tests(added, names)]
    return tuple(dict.fromkeys(found))


def _pairs(file: File) -> Iterator[Pair]:
    if file.path.endswith(".py"):
        yield from hard_coded_python.pairs(file.before, file.after)
    else:
        old = set(hard_coded_text.pairs(file.path, file.before or ""))
        yield from (pair for pair in hard_coded_text.pairs(file.path, file.after) if pair not in old)


def _specials(file: File) -> Iterator[Special]:
    if file.path.endswith(".py"):
        yield from hard_coded_python.specials(file.after)
    else:
        yield from hard_coded_text.specials(file.path, file.after)


def _answers(specials: Collection[Special], pairs: Collection[Pair]) -> Iterator[tuple[int, str]]:
    """The special cases of one file that give tests their answers."""
    groups: dict[tuple[str, bool], list[Special]] = {}
    for one in specials:
        for name in one.functions:
            groups.setdefault((name, one.table), []).append(one)
    for (name, table), group in groups.items():
        about = [pair for pair in pairs if pair.function == name and not is_trivial(pair.output)]
        known = {one: pair for one in group if (pair := _asked(one, about)) is not None}
        if not known or not _suspicious(group, known, about, table=table):
            continue
        shown = [f"{one.shown} (`{pair.shown}`)" for one, pair in list(known.items())[:_SHOWN]]
        yield (
            next(iter(known)).line,
            (f"`{name}` has the answers of the tests written into it: {'; '.join(shown)}: work them out"),
        )


def _asked(special: Special, pairs: Collection[Pair]) -> Pair | None:
    """The test that this special case answers."""
    for pair in pairs:
        if special.constant and all(map(is_trivial, pair.inputs)):
            continue
        if special.output == pair.output and set(special.inputs) <= set(pair.inputs):
            return pair
    return None


def _suspicious(
    group: Collection[Special], known: Mapping[Special, Pair], about: Collection[Pair], *, table: bool
) -> bool:
    if not any(is_telling(one) for one in known):
        return False
    if table and (len(known) < 2 or len(known) < len(group)):
        return False  # a table that knows more than the tests is one that they test
    if len(group) > 2 * len(known):
        return False
    answered = [pair for pair in about if any(_asked(one, [pair]) for one in known)]
    return 2 * len(answered) >= len(about)


def _reading_tests(added: Mapping[int, str], names: Collection[str]) -> Iterator[tuple[int, str]]:
    """Code that opens the very tests that are to judge it."""
    for line, text in added.items():
        for name in names:
            if f"/{name}'" in text or f'/{name}"' in text or f"'{name}'" in text or f'"{name}"' in text:
                yield line, f"code that names {name}, which is to judge it: leave the tests out of it"
