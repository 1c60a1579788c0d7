"""What linters and type checkers find, counted by rule and file: enough to say whether there is more of it than before.

Pure: what they wrote in, numbers out. Lines move with every change, so they are not told apart by line. The texts were
written over a stranger's code and may hold anything.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from agentvine.worker.analysis.reported import (
    LARGEST_OUTPUT,
    MOST,
    Reader,
    read_eslint,
    read_mypy,
    read_ruff,
    read_tsc,
)
from agentvine.worker.verification.found import Writes

Found = Counter[tuple[str, str]]
"""How often a rule is broken in a file: (rule, path from the root of the checkout) → times."""
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")
_LONGEST = 300
_LINE = re.compile(r"^(?P<file>[^\s:][^:\n]{0,300}):(?P<line>\d+)(?::\d+)?[:\s]\s*(?P<text>\S.{0,500})$", re.MULTILINE)
_RULE = re.compile(r"^(?:error|warning)?:?\s*\[?([A-Z]{1,6}\d{2,5})\b|\[([a-z][a-z0-9-]{2,60})\]\s*$")


class UnreadableFindings(Exception):
    """The tool did not write what it writes when it did its work."""


def count(writes: Writes, report: bytes | None, printed: str, roots: Sequence[str], directory: str = ".") -> Found:
    """What a tool found that wrote `report`, or `printed` where it leaves none. Raises UnreadableFindings.

    `roots` are the names that the checkout had for the tool; `directory` is the folder of it in which the tool was run.
    """
    text = printed if report is None else report.decode("utf-8", "replace")
    if len(text) > LARGEST_OUTPUT:
        raise UnreadableFindings("it wrote too much")
    found: Found = Counter()
    try:
        for number, (rule, file) in enumerate(_READERS[writes](text)):
            if number >= MOST:
                break
            found[_clean(rule), _clean(_from_root(file, roots, directory))] += 1
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UnreadableFindings(f"what it wrote was not understood ({type(error).__name__})") from error
    return found


def more(before: Found, after: Found) -> Found:
    """What there is more of than before, by rule and file. Code that moved to another file takes its faults along."""
    sums: Counter[str] = Counter()
    for rule, file in before.keys() | after.keys():
        sums[rule] += after[rule, file] - before[rule, file]
    grown = {place: after[place] - before[place] for place in after if after[place] > before[place]}
    new: Found = Counter()
    for (rule, file), times in sorted(grown.items()):
        counted = min(times, sums[rule])
        if counted > 0:
            new[rule, file] = counted
            sums[rule] -= counted
    return new


def _reported(reader: Reader) -> Callable[[str], Iterator[tuple[str, str]]]:
    def read(text: str) -> Iterator[tuple[str, str]]:
        return ((one.rule, one.file) for one in reader(text, ""))

    return read


def _pyright(text: str) -> Iterator[tuple[str, str]]:
    for one in json.loads(text)["generalDiagnostics"]:
        if one["severity"] in {"error", "warning"}:
            yield one.get("rule") or one["severity"], one["file"]


def _golangci(text: str) -> Iterator[tuple[str, str]]:
    for one in json.loads(text)["Issues"] or ():
        yield one["FromLinter"], one["Pos"]["Filename"]


def _cargo(text: str) -> Iterator[tuple[str, str]]:
    """An object for each line; a summary has no code and no place."""
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        one = json.loads(line)
        if one.get("reason") == "compiler-message" and (spans := one["message"]["spans"]):
            rule: Mapping[str, str] = one["message"].get("code") or {}
            yield rule.get("code") or one["message"]["level"], spans[0]["file_name"]


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """What begins with a place, `file:line:column`, as most tools for people write it; else as tsc does."""
    told = False
    for one in _LINE.finditer(text):
        rule = _RULE.search(one["text"])
        told = True
        yield (rule[1] or rule[2]) if rule else "finding", one["file"]
    if not told:
        yield from _reported(read_tsc)(text)


_READERS: Mapping[Writes, Callable[[str], Iterable[tuple[str, str]]]] = {
    Writes.RUFF_JSON: _reported(read_ruff),
    Writes.ESLINT_JSON: _reported(read_eslint),
    Writes.MYPY_JSON: _reported(read_mypy),
    Writes.PYRIGHT_JSON: _pyright,
    Writes.GOLANGCI_JSON: _golangci,
    Writes.CARGO_JSON: _cargo,
    Writes.TEXT: _lines,
}


def _from_root(file: str, roots: Sequence[str], directory: str) -> str:
    for root in roots:
        if root and file.startswith(f"{root.rstrip('/')}/"):
            return file[len(root.rstrip("/")) + 1 :]
    return str(PurePosixPath(directory, file))


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("?", text[:_LONGEST])
