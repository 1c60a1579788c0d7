"""What one test run came to. Pure: how it ended and what it reported in, one word and its reason out.

Two witnesses speak: the exit code of the command, and the tests that its report names. Either alone is easily wrong: a
process may end with 0 in the middle of its tests, a script may swallow a failure, a plugin may fail a run in which all
tests passed. Where they contradict each other, nothing is known.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from agentvine.worker.box import NOT_FOUND, TIMED_OUT
from agentvine.worker.verification.cases import Outcome, Tests
from agentvine.worker.verification.found import TestCommand

_NO_TESTS = 5
"""pytest's ExitCode.NO_TESTS_COLLECTED; unittest has the same from Python 3.12 on."""
_SAYS_NO_TESTS = re.compile(r"^(Ran 0 tests in|no tests ran|No tests found)", re.MULTILINE)
_NOT_STARTED = {3: "internal error", 4: "usage error"}
"""pytest's, of runs that were none."""
_SHOWN = 10


class RunVerdict(StrEnum):
    """What one run of the tests says."""

    PASSED = "passed"
    FAILED = "failed"
    NO_TESTS = "no_tests"
    """The runner ran and found nothing to run."""
    UNKNOWN = "unknown"
    """Exit code and report contradict each other, or there is no report where there should be one."""
    BROKEN = "broken"
    """It could not be run, or did not end in time: nothing is known."""


class Trouble(StrEnum):
    """What kept tests from being run to their end."""

    SET_UP = "set_up"
    NOT_STARTED = "not_started"
    TIMED_OUT = "timed_out"


def trouble_of(exit_code: int, verdict: RunVerdict) -> Trouble | None:
    """Which trouble a command had that ended so; None if it had none."""
    if verdict is not RunVerdict.BROKEN:
        return None
    return Trouble.TIMED_OUT if exit_code == TIMED_OUT else Trouble.NOT_STARTED


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command of a test run ended. `tests` None: they are not known, `remark` says why if there is a reason."""

    command: TestCommand
    exit_code: int
    output: str
    last_line: str
    tests: Tests | None
    remark: str = ""


def verdict_of(ended: Ended) -> tuple[RunVerdict, str]:
    """The verdict on a run, with the reason; the reason is empty if the tests passed."""
    code, tests = ended.exit_code, ended.tests
    if code == TIMED_OUT:
        return RunVerdict.BROKEN, f"they did not end in time: {ended.last_line}"
    if code == NOT_FOUND and not tests:
        return RunVerdict.BROKEN, ended.last_line
    if _nothing_ran(ended):
        return RunVerdict.NO_TESTS, f"no tests were found by `{ended.command.shown()}`"[:500]
    if tests is None or did_not_start(ended):
        return _by_exit_code(ended)
    bad = sorted(name for name, case in tests.items() if case.outcome.bad)
    if bad and code == 0:
        return RunVerdict.UNKNOWN, f"the exit code is 0, but the report says that {len(bad)} failed: {_some(bad)}"
    if bad:
        return RunVerdict.FAILED, f"{len(bad)} of {len(tests)} failed: {_some(bad)}"
    if code != 0:
        said = f"the report says that none of {len(tests)} failed, but the exit code is {code}"
        return RunVerdict.UNKNOWN, f"{said}: {ended.last_line}"
    return RunVerdict.PASSED, ""


def did_not_start(ended: Ended) -> bool:
    """Whether pytest ended before its first test: it could not load a conftest.py, or did not understand its words."""
    return ended.command.runner == "pytest" and ended.exit_code in _NOT_STARTED and not ended.tests


def _by_exit_code(ended: Ended) -> tuple[RunVerdict, str]:
    code = ended.exit_code
    if ended.command.runner == "pytest" and code in _NOT_STARTED:
        return RunVerdict.FAILED, f"pytest did not start ({_NOT_STARTED[code]}): {ended.last_line}"
    if code != 0:
        return RunVerdict.FAILED, f"exit code {code}: {ended.last_line}"
    if ended.remark:
        return RunVerdict.UNKNOWN, f"the exit code is 0, but {ended.remark}"
    return RunVerdict.PASSED, ""


def _nothing_ran(ended: Ended) -> bool:
    code, tests, finds_none = ended.exit_code, ended.tests, ended.command.runner in {"pytest", "unittest"}
    if tests is not None:
        idle = all(case.outcome is Outcome.SKIPPED for case in tests.values())
        return (not tests and code == 0) or (idle and finds_none and code == _NO_TESTS)
    if finds_none and code == _NO_TESTS:
        return True
    return _SAYS_NO_TESTS.search(ended.output) is not None


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
