"""Running a repository's commands in a checkout that nobody has touched, and reading what came of it."""

import asyncio
import hashlib
import re
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Model
from agentvine.domain.evidence import CommandRecord, TestSummary
from agentvine.kit.logs import redact
from agentvine.kit.process import Completed
from agentvine.worker.box import NOT_FOUND, TIMED_OUT, attempt
from agentvine.worker.folders import remove_entry
from agentvine.worker.hostile import Refused, read_beneath
from agentvine.worker.verification.commands import REPORT, Reads, SetupCommand, TestCommand
from agentvine.worker.verification.results import (
    LARGEST_REPORT,
    CaseOutcome,
    Cases,
    UnreadableReport,
    read_cases,
    summary,
)
from agentvine.worker.workspace import BoxRunner

_LONGEST_TAIL = 8_000
_PYTEST_NO_TESTS = 5
"""ExitCode.NO_TESTS_COLLECTED; unittest has the same from Python 3.12 on."""


class RunVerdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NO_TESTS = "no_tests"
    """The runner ran and found nothing to run."""
    BROKEN = "broken"
    """It could not be run, or did not end in time: nothing is known."""


class TestRun(Model):
    """One run of a repository's tests."""

    __test__ = False  # keeps pytest from collecting it

    verdict: RunVerdict
    why: str = ""
    """Empty if they passed."""
    cases: dict[str, CaseOutcome] | None = None
    """None where the runner names no tests."""
    record: CommandRecord
    remark: str = ""
    """What a reader should know of how the result was read."""
    seconds: Annotated[float, Field(ge=0)] = 0.0

    @property
    def counts(self) -> TestSummary:
        """For the evidence."""
        if self.cases is not None:
            return summary(self.cases)
        return TestSummary(counted=False)

    def named(self, outcome: CaseOutcome) -> frozenset[str]:
        """The tests that ended so."""
        return frozenset(name for name, ended in (self.cases or {}).items() if ended is outcome)


async def run_setup(setup: SetupCommand, checkout: Path, where: str, box: BoxRunner) -> CommandRecord:
    """Run the set-up command."""
    done = await attempt(box, setup.argv, cwd=checkout, timeout=setup.timeout_seconds)
    return _record(done, where)


async def run_tests(command: TestCommand, checkout: Path, where: str, box: BoxRunner, longest: float) -> TestRun:
    """Run the tests in `checkout`, for at most `longest` seconds. `where` says in the record which commit that is.

    The report is written under a name that the tests do not know, and read as what it is: a stranger's file.
    """
    report = command.report_in_checkout or f".agentvine-{secrets.token_hex(8)}.report"
    argv = [argument.replace(REPORT, report) for argument in command.argv]
    if command.report_in_checkout is not None:
        remove_entry(checkout, report)
    done = await attempt(box, argv, cwd=checkout, timeout=min(command.timeout_seconds, longest))
    shown = tuple(argument for argument in command.argv if REPORT not in argument)
    record = _record(done, where).model_copy(update={"argv": shown})
    cases, remark = await asyncio.to_thread(_read, command, checkout, report, done)
    return _judged(command, cases, done, record, remark)


def _read(command: TestCommand, checkout: Path, report: str, done: Completed) -> tuple[Cases | None, str]:
    """The tests by name, or None with the reason why they are not known."""
    content: bytes | None = None
    try:
        content = read_beneath(checkout, report, LARGEST_REPORT)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except Refused as error:
        return None, f"the test report was not read: {error}"
    finally:
        remove_entry(checkout, report)
    if done.truncated and command.reads in {Reads.GO_JSON, Reads.UNITTEST}:
        return None, "the tests printed too much to be counted"
    try:
        return read_cases(command.reads, content, f"{done.stdout}\n{done.stderr}"), ""
    except UnreadableReport as error:
        return None, f"the tests were not counted: {error}"


def _judged(command: TestCommand, cases: Cases | None, done: Completed, record: CommandRecord, remark: str) -> TestRun:
    code = done.exit_code
    failed = sorted(name for name, outcome in (cases or {}).items() if outcome is CaseOutcome.FAILED)
    if code == TIMED_OUT or (code == NOT_FOUND and not cases):
        verdict, why = RunVerdict.BROKEN, _last_line(done)
    elif _nothing_ran(command, cases, done):
        verdict, why = RunVerdict.NO_TESTS, "no tests were found"
    elif failed:
        verdict, why = RunVerdict.FAILED, f"{len(failed)} of {len(cases or {})} failed: {', '.join(failed[:10])}"
    elif code != 0:
        verdict, why = RunVerdict.FAILED, f"exit code {code}: {_last_line(done)}"
    else:
        verdict, why = RunVerdict.PASSED, ""
    return TestRun(verdict=verdict, why=why, cases=cases, record=record, remark=remark, seconds=done.seconds)


def _nothing_ran(command: TestCommand, cases: Cases | None, done: Completed) -> bool:
    if cases is not None:
        return not cases and done.exit_code in {0, _PYTEST_NO_TESTS}
    output = f"{done.stdout}\n{done.stderr}"
    if command.runner in {"pytest", "unittest"} and done.exit_code == _PYTEST_NO_TESTS:
        return True
    return re.search(r"^(Ran 0 tests in|no tests ran|No tests found)", output, re.MULTILINE) is not None


def _last_line(done: Completed) -> str:
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return redact(lines[-1][:500]) if lines else "it printed nothing"


def _record(done: Completed, where: str) -> CommandRecord:
    output = f"{done.stdout}\n{done.stderr}"
    tail = re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", redact(output.strip()[-_LONGEST_TAIL:]))
    return CommandRecord(
        argv=done.argv,
        where=where,
        exit_code=done.exit_code,
        seconds=done.seconds,
        output_sha256=hashlib.sha256(output.encode("utf-8", "replace")).hexdigest(),
        output_tail=tail,
    )
