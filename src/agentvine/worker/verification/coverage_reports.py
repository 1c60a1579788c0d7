"""How much of the code a run of the tests reached, as each measurement writes it. Pure: contents in, numbers out.

The formats: coverage.py's JSON report, lcov's tracefile (geninfo(1)), Go's cover profile, JaCoCo's XML; where a command
of the repository's own prints lines for people, the last percentage on the line of the total. A stranger's code ran
beside whoever wrote them, so they are bounded, and XML may declare no entities.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from xml.parsers import expat

from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification.found import Writes

_MOST_FILES = 50_000
_MOST_STATEMENTS = 10_000_000
_GO_LINE = re.compile(r"^(?P<file>[^:\n]{1,1000}):\d+\.\d+,\d+\.\d+ (?P<count>\d{1,7}) (?P<times>\d{1,18})$")
_TOTAL = re.compile(r"^.*\b(?:total|all files|coverage|lines)\b.*$", re.IGNORECASE | re.MULTILINE)
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,6})?)\s?%|\|\s*(\d{1,3}(?:\.\d{1,6})?)\s*(?=\|)")


class UnreadableCoverage(Exception):
    """The measurement did not leave what it leaves when it did its work."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured: for each file its statements and how many of them were run; or nothing but a percentage."""

    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    told: float | None = None

    @property
    def statements(self) -> int:
        """How many there are in all files."""
        return sum(statements for statements, _ in self.files.values())

    @property
    def covered(self) -> int:
        """How many of them were run."""
        return sum(covered for _, covered in self.files.values())

    @property
    def percent(self) -> float:
        """As it was told, or else computed; of nothing at all, 100."""
        if self.told is not None:
            return self.told
        return 100.0 * self.covered / self.statements if self.statements else 100.0


def read_coverage(writes: Writes, reports: Sequence[bytes], printed: str, roots: Sequence[str]) -> Measured:
    """What a measurement found, of code alone: what tests cover of themselves says nothing. Raises UnreadableCoverage.

    `roots` are the names that the checkout had for it.
    """
    if writes is Writes.TEXT:
        return Measured(told=_total(printed))
    if not reports:
        raise UnreadableCoverage("it left no report")
    text = reports[0].decode("utf-8", "replace")
    try:
        told = _READERS[writes](text if writes is not Writes.JACOCO_XML else "\0".join(_texts(reports)))
        files = {_from_root(path, roots): numbers for path, numbers in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, expat.ExpatError) as error:
        raise UnreadableCoverage(f"its report was not understood ({type(error).__name__})") from error
    if len(files) > _MOST_FILES or any(not 0 <= ran <= of <= _MOST_STATEMENTS for of, ran in files.values()):
        raise UnreadableCoverage("its report does not add up")
    return Measured({path: of for path, of in files.items() if kind_of(path) is not FileKind.TEST})


def alike(before: Measured, after: Measured) -> tuple[Measured, Measured]:
    """Both over the same files: one that only one of the runs has loaded was there for the other, too, and not run."""
    if before.told is not None or after.told is not None:
        return before, after
    paths = before.files.keys() | after.files.keys()

    def filled(one: Measured, other: Measured) -> Measured:
        return Measured({path: one.files.get(path) or (other.files[path][0], 0) for path in paths})

    return filled(before, after), filled(after, before)


def _texts(reports: Sequence[bytes]) -> Iterable[str]:
    return (report.decode("utf-8", "replace").replace("\0", "") for report in reports)


def _coverage_py(text: str) -> dict[str, tuple[int, int]]:
    found = {}
    for path, one in json.loads(text)["files"].items():
        summary = one["summary"]
        found[str(path)] = (int(summary["num_statements"]), int(summary["covered_lines"]))
    return found


def _lcov(text: str) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    path = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            path = value
            found[path] = (0, 0)
        elif key == "DA" and path:
            times = int(value.split(",")[1])
            found[path] = (found[path][0] + 1, found[path][1] + (times > 0))
    return found


def _go(text: str) -> dict[str, tuple[int, int]]:
    """A block is told once for each package whose tests saw it: it was run if any of them ran it."""
    blocks: dict[tuple[str, str], tuple[int, bool]] = {}
    lines = text.splitlines()
    if not lines or not lines[0].startswith("mode: "):
        raise ValueError("no cover profile")
    for line in lines[1:]:
        told = _GO_LINE.match(line)
        if told is not None:
            block = told["file"], line.split(" ")[0]
            ran = int(told["times"]) > 0 or blocks.get(block, (0, False))[1]
            blocks[block] = (int(told["count"]), ran)
    found: dict[str, tuple[int, int]] = {}
    for (path, _), (count, ran) in blocks.items():
        of, run = found.get(path, (0, 0))
        found[path] = (of + count, run + (count if ran else 0))
    return found


def _jacoco(text: str) -> dict[str, tuple[int, int]]:
    """The lines of each source file, of all modules (https://www.jacoco.org/jacoco/trunk/coverage/report.dtd)."""
    found: dict[str, tuple[int, int]] = {}
    for report in text.split("\0"):
        place: list[str] = ["", ""]

        def start(tag: str, attributes: dict[str, str], place: list[str] = place) -> None:
            if tag == "package":
                place[0] = attributes["name"]
            elif tag == "sourcefile":
                place[1] = attributes["name"]
            elif tag == "counter" and attributes.get("type") == "LINE" and place[1]:
                missed, covered = int(attributes["missed"]), int(attributes["covered"])
                of, run = found.get("/".join(place), (0, 0))
                found["/".join(place)] = (of + missed + covered, run + covered)

        def end(tag: str, place: list[str] = place) -> None:
            if tag == "sourcefile":
                place[1] = ""

        parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.EntityDeclHandler = _refuse
        parser.Parse(report, True)
    return found


def _refuse(*_: object) -> None:
    raise ValueError("it declares entities")


def _total(printed: str) -> float:
    for line in reversed(_TOTAL.findall(printed[-200_000:])):
        numbers = [first or second for first, second in _PERCENT.findall(line)]
        if numbers and float(numbers[-1]) <= 100:
            return float(numbers[-1])
    raise UnreadableCoverage("no percentage stands on a line of a total in what it printed")


_READERS: Mapping[Writes, Callable[[str], dict[str, tuple[int, int]]]] = {
    Writes.COVERAGE_JSON: _coverage_py,
    Writes.LCOV: _lcov,
    Writes.GO_COVER: _go,
    Writes.JACOCO_XML: _jacoco,
}


def _from_root(path: str, roots: Sequence[str]) -> str:
    for root in roots:
        if root and path.startswith(f"{root.rstrip('/')}/"):
            return path[len(root.rstrip("/")) + 1 :]
    return str(PurePosixPath(path))
