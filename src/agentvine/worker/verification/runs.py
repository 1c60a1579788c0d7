"""Running a repository's commands in a checkout that nobody has touched, and reading what came of it."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Model
from agentvine.domain.evidence import CommandRecord, TestSummary
from agentvine.kit.logs import redact
from agentvine.kit.process import Completed
from agentvine.worker.box import attempt
from agentvine.worker.folders import remove_entry
from agentvine.worker.hostile import Refused
from agentvine.worker.sandbox.profile import WORKSPACE
from agentvine.worker.verification.cases import Outcome, TestCase, Tests
from agentvine.worker.verification.found import REPORT, Reads, SetupCommand, TestCommand
from agentvine.worker.verification.report_files import clear_reports, is_pattern, read_reports
from agentvine.worker.verification.results import (
    LARGEST_REPORT,
    MOST_NAMED,
    CaseOutcome,
    UnreadableReport,
    coarse,
    read_tests,
    summary,
)
from agentvine.worker.verification.verdicts import Ended, RunVerdict, Trouble, did_not_start, trouble_of, verdict_of
from agentvine.worker.workspace import BoxRunner

__all__ = ["RunVerdict", "TestRun", "Trouble", "record_of", "run_setup", "run_tests", "within"]

_LONGEST_TAIL = 8_000
_PRINTED = {Reads.GO_JSON, Reads.UNITTEST, Reads.LIBTEST, Reads.TAP}
_ELSEWHERE = 'cd -- "$1" && shift && exec "$@"'


class TestRun(Model):
    """One run of a repository's tests."""

    __test__ = False  # keeps pytest from collecting it

    verdict: RunVerdict
    why: str = ""
    """Empty if they passed."""
    cases: dict[str, CaseOutcome] | None = None
    """None where the runner names no tests."""
    tests: tuple[TestCase, ...] = ()
    """The same tests with all that is known of each."""
    record: CommandRecord
    remark: str = ""
    """What a reader should know of how the result was read."""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    trouble: Trouble | None = None
    """Why it is broken."""
    times: Annotated[int, Field(ge=1)] = 1
    """How many runs were taken together, see `repeated.together`."""

    @property
    def counts(self) -> TestSummary:
        """For the evidence."""
        if self.cases is None:
            return TestSummary(counted=False, runs=self.times)
        flaky = tuple(sorted(self.unsteady)[:MOST_NAMED])
        return summary(self.cases).model_copy(update={"runs": self.times, "flaky": flaky})

    @property
    def unsteady(self) -> frozenset[str]:
        """The tests that did not always end alike: flaky ones."""
        return frozenset(case.id for case in self.tests if case.unsteady)

    @property
    def by_id(self) -> dict[str, TestCase]:
        """The tests by their ids."""
        return {case.id: case for case in self.tests}

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """How each test went, for `compare`."""
        return {case.id: case.outcome for case in self.tests}

    def named(self, outcome: CaseOutcome) -> frozenset[str]:
        """The tests that ended so."""
        return frozenset(name for name, ended in (self.cases or {}).items() if ended is outcome)


async def run_setup(setup: SetupCommand, checkout: Path, where: str, box: BoxRunner) -> CommandRecord:
    """Run the set-up command."""
    argv = within(setup.directory, setup.argv)
    done = await attempt(box, argv, cwd=checkout, timeout=setup.timeout_seconds)
    return record_of(done, where)


async def run_tests(command: TestCommand, checkout: Path, where: str, box: BoxRunner, longest: float) -> TestRun:
    """Run the tests in `checkout`, for at most `longest` seconds. `where` says in the record which commit that is.

    The report is written under a name that the tests do not know, and read as what it is: a stranger's file.
    """
    report = command.report_in_checkout or f".agentvine-{secrets.token_hex(8)}.report"
    if command.report_in_checkout is not None:
        try:
            await asyncio.to_thread(clear_reports, checkout, report)
        except Refused as error:
            return _not_run(command, where, f"where the reports belong cannot be cleared: {error}")
    argv = within(command.directory, command.argv, report)
    done = await attempt(box, argv, cwd=checkout, timeout=min(command.timeout_seconds, longest))
    record = record_of(done, where).model_copy(update={"argv": _shown(command)})
    tests, remark = await asyncio.to_thread(_read, command, checkout, report, done)
    said = f"{done.stdout}\n{done.stderr}"
    ended = Ended(command, done.exit_code, said, _last_line(done), tests, remark)
    verdict, why = verdict_of(ended)
    if did_not_start(ended):
        tests = None
    return TestRun(
        verdict=verdict,
        why=why,
        cases=None if tests is None else coarse(tests),
        tests=tuple((tests or {}).values()),
        record=record,
        remark=remark,
        seconds=done.seconds,
        trouble=trouble_of(done.exit_code, verdict),
    )


def within(directory: str, argv: Sequence[str], report: str = "") -> list[str]:
    """`argv`, to be run in the folder `directory` of the checkout it is started in, with the report's name filled in.

    Going there is left to a shell inside the sandbox: whatever a link there leads to, it is the sandbox's.
    """
    if directory in {"", "."}:
        return [argument.replace(REPORT, report) for argument in argv]
    up = "../" * len([part for part in directory.split("/") if part not in {"", "."}])
    return ["sh", "-c", _ELSEWHERE, "sh", directory, *(argument.replace(REPORT, up + report) for argument in argv)]


def _read(command: TestCommand, checkout: Path, report: str, done: Completed) -> tuple[Tests | None, str]:
    """The tests, or None with the reason why they are not known."""
    if done.truncated and command.reads in _PRINTED and command.report_in_checkout is None:
        return None, "the tests printed too much to be counted"
    try:
        contents = read_reports(checkout, report, LARGEST_REPORT)
    except Refused as error:
        return None, f"the test report was not read: {error}"
    finally:
        if not is_pattern(report):
            remove_entry(checkout, report)
    if not contents and is_pattern(report) and command.reads is Reads.JUNIT and done.exit_code == 0:
        return {}, ""  # Surefire and Gradle write a file for each class of tests, so none is an answer
    if not contents and command.report_in_checkout is not None and command.reads is not Reads.EXIT_CODE:
        return None, f"the tests were not counted: there was no report at {report}"
    printed = f"{done.stdout}\n{done.stderr}" if command.reads is Reads.UNITTEST else done.stdout
    try:
        return read_tests(command.reads, contents, printed, (str(checkout), WORKSPACE), command.directory), ""
    except UnreadableReport as error:
        return None, f"the tests were not counted: {error}"


def _not_run(command: TestCommand, where: str, why: str) -> TestRun:
    nothing = hashlib.sha256(b"").hexdigest()
    record = CommandRecord(argv=_shown(command), where=where, exit_code=1, seconds=0, output_sha256=nothing)
    return TestRun(verdict=RunVerdict.BROKEN, why=why, record=record, remark=why, trouble=Trouble.NOT_STARTED)


def _shown(command: TestCommand) -> tuple[str, ...]:
    """What was run, without the words that only name the report."""
    words = (" ".join(word for word in argument.split(" ") if REPORT not in word) for argument in command.argv)
    return tuple(shown for shown, argument in zip(words, command.argv, strict=True) if shown or not argument)


def _last_line(done: Completed) -> str:
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return redact(lines[-1][:500]) if lines else "it printed nothing"


def record_of(done: Completed, where: str, argv: Sequence[str] = ()) -> CommandRecord:
    """A command that was run, for the evidence. `argv`: what to call it by, if not by what was started."""
    output = f"{done.stdout}\n{done.stderr}"
    tail = re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", redact(output.strip()[-_LONGEST_TAIL:]))
    return CommandRecord(
        argv=tuple(argv) or done.argv,
        where=where,
        exit_code=done.exit_code,
        seconds=done.seconds,
        output_sha256=hashlib.sha256(output.encode("utf-8", "replace")).hexdigest(),
        output_tail=tail,
    )
