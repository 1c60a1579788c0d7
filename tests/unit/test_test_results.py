import json
import os
import sys
from pathlib import Path

import pytest

from agentvine.kit.process import run
from agentvine.worker.verification.cases import Outcome, TestCase, UnreadableReport
from agentvine.worker.verification.found import REPORT, Reads
from agentvine.worker.verification.look_python import PYTEST_REPORT
from agentvine.worker.verification.results import CaseOutcome, read_cases, read_tests, summary

P, F, S = CaseOutcome.PASSED, CaseOutcome.FAILED, CaseOutcome.SKIPPED

TESTS = '''
import sys
import unittest

class T(unittest.TestCase):
    def test_good(self):
        print("noise ... FAIL")
        print("more noise", file=sys.stderr)

    def test_described(self):
        """It says what it does."""

    def test_bad(self):
        self.assertEqual(1, 2)

    def test_broken(self):
        raise RuntimeError("x")

    @unittest.skip("not 'now'")
    def test_later(self):
        pass

    @unittest.expectedFailure
    def test_known(self):
        self.fail()

    def test_parts(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)
'''
EXPECTED = {
    "test_good": Outcome.PASSED,
    "test_described": Outcome.PASSED,
    "test_bad": Outcome.FAILED,
    "test_broken": Outcome.ERRORED,
    "test_later": Outcome.SKIPPED,
    "test_known": Outcome.XFAILED,
    "test_parts": Outcome.FAILED,
}
PLAIN = """
import pytest

@pytest.fixture
def broken():
    raise RuntimeError("no")

@pytest.fixture
def late():
    yield
    raise RuntimeError("late")

@pytest.mark.parametrize(("n", "s"), [(1, "a b"), (2, "\u2028")])
def test_n(n, s):
    assert n == 1

def test_set_up(broken): pass

def test_torn_down(late): pass

@pytest.mark.xfail(reason="bug")
def test_known(): assert 0

@pytest.mark.skip
def test_skipped(): pass
"""
ENVIRONMENT = {"PATH": os.defpath, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


async def test_unittest_is_read_as_it_prints(folder: Path) -> None:
    argv = [sys.executable, "-m", "unittest", "discover", "-v"]
    done = await run(argv, cwd=folder, env=ENVIRONMENT, timeout=30)
    cases = read_tests(Reads.UNITTEST, (), done.stderr)
    assert cases is not None
    assert {name: case.outcome for name, case in cases.items()} == {
        f"test_it.T::{name}": outcome for name, outcome in EXPECTED.items()
    }
    assert cases["test_it.T::test_later"].message == "not 'now'"


async def test_pytest_is_read_as_it_reports(folder: Path) -> None:
    (folder / "test_gone.py").write_text("import nothing_of_this_name\n")
    (folder / "test_plain.py").write_text(PLAIN)
    report = [*PYTEST_REPORT, "--continue-on-collection-errors"]
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *report]
    await run([word.replace(REPORT, "out.xml") for word in argv], cwd=folder, env=ENVIRONMENT, timeout=30)
    cases = read_tests(Reads.JUNIT, [(folder / "out.xml").read_bytes()], "")
    assert cases is not None
    outcomes = {name: case.outcome for name, case in cases.items()}
    assert outcomes.pop("test_gone.py") is Outcome.ERRORED
    assert cases["test_gone.py"].container
    plain = {name: outcomes.pop(name) for name in list(outcomes) if name.startswith("test_plain.py")}
    assert plain == {
        "test_plain.py::test_n[1-a b]": Outcome.PASSED,
        "test_plain.py::test_n[2-\\u2028]": Outcome.FAILED,
        "test_plain.py::test_set_up": Outcome.ERRORED,
        "test_plain.py::test_torn_down": Outcome.ERRORED,
        "test_plain.py::test_known": Outcome.XFAILED,
        "test_plain.py::test_skipped": Outcome.SKIPPED,
    }
    assert cases["test_plain.py::test_n[1-a b]"].parameters == "1-a b"
    assert "assert 2 == 1" in cases["test_plain.py::test_n[2-\\u2028]"].message
    # an error in a test's own body is a failure for pytest, an error for unittest
    assert outcomes == {
        f"test_it.py::T::{name}": Outcome.FAILED if outcome is Outcome.ERRORED else outcome
        for name, outcome in EXPECTED.items()
    }


async def test_a_module_that_cannot_be_imported_is_an_error_that_holds_its_tests(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import nothing_of_this_name\n")
    argv = [sys.executable, "-m", "unittest", "discover", "-v"]
    done = await run(argv, cwd=tmp_path, env=ENVIRONMENT, timeout=30)
    cases = read_tests(Reads.UNITTEST, (), done.stderr)
    assert cases is not None
    (broken,) = cases.values()
    assert (broken.id, broken.outcome, broken.container) == ("test_it", Outcome.ERRORED, True)
    assert broken.holds(TestCase(group="test_it.T", name="test_good", outcome=Outcome.PASSED))
    assert not broken.holds(TestCase(group="test_its.T", name="test_good", outcome=Outcome.PASSED))


def test_of_several_runs_of_a_test_the_worst_counts() -> None:
    report = (
        b'<testsuite><testcase classname="a" name="t"/>'
        b'<testcase classname="a" name="t"><failure/></testcase><testcase classname="a" name="t"/></testsuite>'
    )
    assert read_cases(Reads.JUNIT, report, "") == {"a::t": F}
    (case,) = (read_tests(Reads.JUNIT, [report], "") or {}).values()
    assert case.unsteady


def test_go_is_read_as_it_prints() -> None:
    events = [
        {"Action": "run", "Package": "x", "Test": "TestA"},
        {"Action": "pass", "Package": "x", "Test": "TestA"},
        {"Action": "fail", "Package": "x", "Test": "TestB/sub"},
        {"Action": "skip", "Package": "x", "Test": "TestC"},
        {"Action": "pass", "Package": "x"},
        {"Action": "fail", "Package": "y"},
    ]
    output = "go: downloading\n" + "\n".join(json.dumps(event) for event in events) + "\n{broken\n"
    assert read_cases(Reads.GO_JSON, None, output) == {"x::TestA": P, "x::TestB/sub": F, "x::TestC": S, "y": F}


LIBTEST_SUM = "test result: ok. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out\n"
BILLION = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<testsuite><testcase name="&b;"/></testsuite>"""


@pytest.mark.parametrize(
    ("reads", "report", "output"),
    [
        (Reads.JUNIT, None, ""),
        (Reads.JUNIT, b"", ""),
        (Reads.JUNIT, b"not xml", ""),
        (Reads.JUNIT, b"<html/>", ""),
        (Reads.JUNIT, b"<testsuite><testcase name='a'>", ""),
        (Reads.JUNIT, BILLION, ""),
        (Reads.JUNIT, BILLION.decode().encode("utf-16"), ""),
        (Reads.JUNIT, b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>', ""),
        (Reads.JUNIT, b"<testsuite>" * 5000 + b"</testsuite>" * 5000, ""),
        (Reads.JEST_JSON, b"{}", ""),
        (Reads.JEST_JSON, b"[" * 100_000, ""),
        (Reads.JEST_JSON, b'{"testResults": [1]}', ""),
        (Reads.JEST_JSON, b'{"testResults": [{"assertionResults": [{"status": "passed"}]}]}', ""),
        (Reads.JUNIT, b'<?xml version="1.0" encoding="klingon"?><testsuite/>', ""),
        (Reads.JUNIT, b"\xff\xfe<testsuite/>", ""),
        (Reads.JEST_JSON, b'{"testResults": [{"assertionResults": [[]]}]}', ""),
        (Reads.JEST_JSON, b'{"testResults": 7}', ""),
        (Reads.JEST_JSON, b'{"testResults": []}' + b" " * 16 * 1024 * 1024, ""),
        (Reads.UNITTEST, None, "test_a (m.T.test_a) ... ok\n"),
        (Reads.UNITTEST, None, "test_a (m.T.test_a) ... ok\n\nRan 1 test in 0.1s\n"),
        (Reads.UNITTEST, None, "test_a (m.T.test_a) ... ok\n\nRan 1 test in 0.1s\n\nFAILED (failures=1)\n"),
        (Reads.UNITTEST, None, "test_a (m.T.test_a) ... FAIL\n\nRan 1 test in 0.1s\n\nOK\n"),
        (Reads.GO_JSON, None, "ok  \texample.com/x\t0.01s\n"),
        (Reads.LIBTEST, None, "error: could not compile\n"),
        (Reads.LIBTEST, None, LIBTEST_SUM.format(0, 0) + "test a ... ok\n"),
        (Reads.LIBTEST, None, "test a ... ok\n"),
        (Reads.LIBTEST, None, "test a ... ok\n" + LIBTEST_SUM.format(2, 0)),
        (Reads.LIBTEST, None, "test a ... ok\ntest b ... ok\n" + LIBTEST_SUM.format(1, 0)),
        (Reads.LIBTEST, None, "test a ... FAILED\n" + LIBTEST_SUM.format(1, 0)),
        (Reads.LIBTEST, None, LIBTEST_SUM.format(0, 0) + "test a ... ok\n     Running tests/b.rs (target/b-1)\n"),
        (Reads.TAP, None, ""),
        (Reads.TAP, None, "TAP version 13\nok 1\n"),
        (Reads.TAP, None, "TAP version 14\n1..2\nok 1\n"),
        (Reads.TAP, None, "1..1\n1..1\nok 1\n"),
        (Reads.TAP, None, "1..1\nok 1\nBail out! no database\n"),
        (Reads.TAP, None, "1..1\nok 1 - a\n    ok 1 - inside\n"),
        (Reads.TAP, None, "    " * 60 + "ok 1\n"),
    ],
)
def test_a_report_that_is_none_is_refused(reads: Reads, report: bytes | None, output: str) -> None:
    with pytest.raises(UnreadableReport):
        read_cases(reads, report, output)


def test_names_cannot_carry_control_characters() -> None:
    (name,) = read_cases(Reads.JUNIT, b'<testsuite><testcase name="a&#10;b"/></testsuite>', "") or {}
    assert "\n" not in name


def test_an_exit_code_names_nothing() -> None:
    assert read_cases(Reads.EXIT_CODE, None, "ok") is None


def test_a_summary_counts_and_names_the_failing() -> None:
    counted = summary({"b": F, "a": F, "c": P, "d": S})
    assert (counted.total, counted.passed, counted.failed, counted.skipped) == (4, 1, 2, 1)
    assert counted.failing == ("a", "b")


def test_tap_of_others() -> None:
    output = """TAP version 14
# Subtest: cart
    ok 1 - adds [1]
    not ok 2 - fails
      ---
      message: "no"
      ...
    1..2
not ok 1 - cart
ok 2 - later # SKIP slow
not ok 3 - known # TODO bug 7
ok
ok 5 not # skipped, but named so \\# here
not ok 6 - alone
    ok 1 - inner is fine
    1..1
not ok 7 - torn down
1..7
"""
    tests = read_tests(Reads.TAP, (), output)
    assert tests is not None
    assert {name: case.outcome.value for name, case in tests.items()} == {
        "cart::adds [1]": "passed",
        "cart::fails": "failed",
        "later": "skipped",
        "known": "xfailed",
        "test 4": "passed",
        "not": "skipped",
        "alone": "failed",
        "torn down::inner is fine": "passed",
        "torn down": "failed",
    }
    assert tests["cart::fails"].message == "no"
    assert read_tests(Reads.TAP, (), "1..0 # SKIP nothing here\n") == {}
    assert read_tests(Reads.TAP, [output.encode()], "printed") == tests


def test_what_a_report_says_is_bounded() -> None:
    long = "x" * 5000
    report = f"""<testsuites>{f'<testsuite name="{long}">' * 50}<testcase name="{long}" time="-1" file="{long}">
        <failure message="{long}">{long}</failure></testcase>{"</testsuite>" * 50}</testsuites>"""
    (case,) = (read_tests(Reads.JUNIT, [report.encode()], "") or {}).values()
    assert max(map(len, (case.name, case.group, case.file))) <= 500
    assert len(case.id) <= 1000
    assert len(case.message) <= 2000
    many = "".join(f'<testcase name="{n}" time="nan"><failure>{long}</failure></testcase>' for n in range(3000))
    tests = read_tests(Reads.JUNIT, [f"<testsuite>{many}</testsuite>".encode()], "") or {}
    assert len(tests) == 3000
    assert sum(len(case.message) for case in tests.values()) <= 4 * 1024 * 1024
    assert {case.seconds for case in tests.values()} == {0.0}
