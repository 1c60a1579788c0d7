"""What a test run says, read from reports that the repository's own code wrote and that may hold anything."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from xml.parsers import expat

from agentvine.domain.evidence import TestSummary
from agentvine.worker.verification.commands import Reads

LARGEST_REPORT = 64 * 1024 * 1024
"""Bytes of a report that are read at most."""
_MOST_CASES = 200_000
_DEEPEST = 100
_LONGEST_NAME = 500


class CaseOutcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


Cases = dict[str, CaseOutcome]
"""The name of each test, as its runner gives it, and how it went. Of several runs of one test the worst counts."""
_SEVERITY = {CaseOutcome.SKIPPED: 0, CaseOutcome.PASSED: 1, CaseOutcome.FAILED: 2}


class UnreadableReport(Exception):
    """The report is not what it should be; the message says in which way."""


def read_cases(reads: Reads, report: bytes | None, output: str) -> Cases | None:
    """The tests that ran, from `report` (the file's content, None if there is none) or from what was printed.

    None where the runner gives no names. Raises UnreadableReport.
    """
    match reads:
        case Reads.EXIT_CODE:
            return None
        case Reads.GO_JSON:
            return _collect(_go(output))
        case Reads.UNITTEST:
            return _collect(_unittest(output))
        case Reads.JUNIT | Reads.JEST_JSON:
            if report is None:
                raise UnreadableReport("the test run left no report")
            return _collect(_junit(report) if reads is Reads.JUNIT else _jest(report))


def summary(cases: Mapping[str, CaseOutcome]) -> TestSummary:
    """The counts of `cases`, and the names of the first failing ones."""
    outcomes = list(cases.values())
    failing = sorted(name for name, outcome in cases.items() if outcome is CaseOutcome.FAILED)
    return TestSummary(
        total=len(outcomes),
        passed=outcomes.count(CaseOutcome.PASSED),
        failed=len(failing),
        skipped=outcomes.count(CaseOutcome.SKIPPED),
        failing=tuple(failing[:200]),
    )


def _collect(found: Iterable[tuple[str, CaseOutcome]]) -> Cases:
    cases: Cases = {}
    for name, outcome in found:
        known = cases.get(name := _clean(name))
        if known is None and len(cases) >= _MOST_CASES:
            raise UnreadableReport(f"the report names more than {_MOST_CASES} tests")
        if known is None or _SEVERITY[outcome] > _SEVERITY[known]:
            cases[name] = outcome
    return cases


def _clean(name: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", name)[:_LONGEST_NAME]


class _JUnit:
    """Collects the test cases of a JUnit document while expat reads it. Document types and entities are refused."""

    def __init__(self) -> None:
        self.cases: list[tuple[str, CaseOutcome]] = []
        self.suites = 0
        self._depth = 0
        self._name = ""
        self._outcome: CaseOutcome | None = None

    def parse(self, document: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(document, True)
        except expat.ExpatError as error:
            raise UnreadableReport(f"the report is no XML: {error}") from error
        if not self.suites:
            raise UnreadableReport("the report is XML, but not JUnit's")

    def _refuse(self, *_: object) -> None:
        raise UnreadableReport("the report declares a document type or entities")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableReport(f"the report is nested more than {_DEEPEST} deep")
        if tag in {"testsuite", "testsuites"}:
            self.suites += 1
        elif tag == "testcase":
            group, name = attributes.get("classname", ""), attributes.get("name", "")
            self._name = f"{group}::{name}" if group else name
            self._outcome = CaseOutcome.PASSED
        elif self._outcome is not None and tag in {"failure", "error"}:
            self._outcome = CaseOutcome.FAILED
        elif self._outcome is CaseOutcome.PASSED and tag == "skipped":
            self._outcome = CaseOutcome.SKIPPED

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if tag == "testcase" and self._outcome is not None:
            self.cases.append((self._name, self._outcome))
            self._outcome = None


def _junit(report: bytes) -> Iterable[tuple[str, CaseOutcome]]:
    document = _JUnit()
    document.parse(report)
    return document.cases


_JEST = {
    "passed": CaseOutcome.PASSED,
    "failed": CaseOutcome.FAILED,
    "pending": CaseOutcome.SKIPPED,
    "skipped": CaseOutcome.SKIPPED,
    "todo": CaseOutcome.SKIPPED,
    "disabled": CaseOutcome.SKIPPED,
}


def _jest(report: bytes) -> Iterator[tuple[str, CaseOutcome]]:
    try:
        files = json.loads(report)["testResults"]
        for file in files:
            path = str(file.get("name", ""))
            assertions = file.get("assertionResults", [])
            if not assertions and file.get("status") == "failed":
                yield path, CaseOutcome.FAILED
            for one in assertions:
                yield str(one["fullName"]), _JEST.get(one.get("status"), CaseOutcome.FAILED)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableReport(f"the report is not what jest writes: {error!r}") from error


_GO = {"pass": CaseOutcome.PASSED, "fail": CaseOutcome.FAILED, "skip": CaseOutcome.SKIPPED}


def _go(output: str) -> Iterator[tuple[str, CaseOutcome]]:
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        outcome = _GO.get(str(event.get("Action")))
        package, test = event.get("Package"), event.get("Test")
        if outcome is CaseOutcome.FAILED and not test:
            yield f"{package}", outcome  # it did not build, or a test ended the whole process
        elif outcome is not None and test:
            yield f"{package}::{test}", outcome


_UNITTEST_NAME = re.compile(r"^(\w+ \([\w.]+\))")
_UNITTEST_VERDICT = re.compile(
    r"(?:^|\.\.\. )(ok|FAIL|ERROR|skipped|expected failure|unexpected success)(?: '.*| \".*)?$"
)
_UNITTEST_BLOCK = re.compile(r"^(?:FAIL|ERROR): (\w+ \([\w.]+\))")
_UNITTEST = {
    "ok": CaseOutcome.PASSED,
    "expected failure": CaseOutcome.PASSED,
    "skipped": CaseOutcome.SKIPPED,
}


def _unittest(output: str) -> Iterator[tuple[str, CaseOutcome]]:
    """A line names a test; that line, or a later one if the test has a description or prints, ends with its verdict."""
    name, counted = None, False
    for line in output.splitlines():
        if named := _UNITTEST_NAME.match(line):
            name = named[1]
        elif block := _UNITTEST_BLOCK.match(line):
            yield block[1], CaseOutcome.FAILED
        counted = counted or line.startswith("Ran ")
        verdict = _UNITTEST_VERDICT.search(line[-_LONGEST_NAME:]) if name else None
        if name and verdict:
            yield name, _UNITTEST.get(verdict[1], CaseOutcome.FAILED)
            name = None
    if not counted:
        raise UnreadableReport("unittest did not say how many tests it ran")
