"""What a test run says, read from reports that the repository's own code wrote and that may hold anything."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from agentvine.domain.evidence import TestSummary
from agentvine.worker.verification.cases import Outcome, Tests, Told, UnreadableReport, below, collect
from agentvine.worker.verification.found import Reads
from agentvine.worker.verification.json_reports import read_go, read_jest
from agentvine.worker.verification.junit_reports import read_junit
from agentvine.worker.verification.text_reports import read_libtest, read_tap, read_unittest

__all__ = [
    "LARGEST_REPORT",
    "MOST_NAMED",
    "CaseOutcome",
    "Cases",
    "UnreadableReport",
    "coarse",
    "read_cases",
    "read_tests",
    "summary",
]

LARGEST_REPORT = 64 * 1024 * 1024
"""Bytes of a run's reports that are read at most."""
MOST_NAMED = 200
"""Tests that a summary names at most, of each sort."""


class CaseOutcome(StrEnum):
    """How a test went, as far as the definitions of done care."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


Cases = dict[str, CaseOutcome]
"""How each test went, by its id."""
_COARSE = {
    Outcome.PASSED: CaseOutcome.PASSED,
    Outcome.SKIPPED: CaseOutcome.SKIPPED,
    Outcome.XFAILED: CaseOutcome.SKIPPED,  # it shows nothing: who expects a failure has not been proven right
    Outcome.FAILED: CaseOutcome.FAILED,
    Outcome.ERRORED: CaseOutcome.FAILED,
}


def read_tests(
    reads: Reads, reports: Sequence[bytes], output: str, roots: Sequence[str] = (), directory: str = "."
) -> Tests | None:
    """The tests of one run, from the contents of its report files, or from what was printed where that is all there is.

    `roots` are the names that the checkout had for the run; `directory` is the folder of the checkout it was run in.
    None where the runner gives no names. Raises UnreadableReport.
    """
    if reads is Reads.EXIT_CODE:
        return None
    if reads.from_file and not reports:
        raise UnreadableReport("the test run left no report")
    return collect(below(_told(reads, reports, output), directory), roots)


def _told(reads: Reads, reports: Sequence[bytes], output: str) -> Iterable[Told]:
    text = b"\n".join(reports).decode("utf-8", "replace") if reports and not reads.from_file else output
    match reads:
        case Reads.JUNIT:
            return (one for report in reports for one in read_junit(report))
        case Reads.JEST_JSON:
            return (one for report in reports for one in read_jest(report))
        case Reads.TAP:
            return read_tap(text)
        case Reads.GO_JSON:
            return read_go(text)
        case Reads.LIBTEST:
            return read_libtest(text)
        case Reads.UNITTEST:
            return read_unittest(text)
        case Reads.EXIT_CODE:
            return ()


def read_cases(reads: Reads, report: bytes | None, output: str) -> Cases | None:
    """As `read_tests`, of one report, and of each test no more than how it went."""
    tests = read_tests(reads, () if report is None else (report,), output)
    return None if tests is None else coarse(tests)


def coarse(tests: Tests) -> Cases:
    """How each of `tests` went, as far as the definitions of done care."""
    return {name: _COARSE[case.outcome] for name, case in tests.items()}


def summary(cases: Mapping[str, CaseOutcome]) -> TestSummary:
    """The counts of `cases`, and the names of the first failing ones."""
    outcomes = list(cases.values())
    failing = sorted(name for name, outcome in cases.items() if outcome is CaseOutcome.FAILED)
    return TestSummary(
        total=len(outcomes),
        passed=outcomes.count(CaseOutcome.PASSED),
        failed=len(failing),
        skipped=outcomes.count(CaseOutcome.SKIPPED),
        failing=tuple(failing[:MOST_NAMED]),
    )
