import json
import os
import sys
from pathlib import Path

import pytest

from agentvine.kit.process import run
from agentvine.worker.verification.commands import Reads
from agentvine.worker.verification.results import CaseOutcome, UnreadableReport, read_cases, summary

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
    "test_good": P,
    "test_described": P,
    "test_bad": F,
    "test_broken": F,
    "test_later": S,
    "test_known": P,
    "test_parts": F,
}
ENVIRONMENT = {"PATH": os.defpath}


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


async def test_unittest_is_read_as_it_prints(tests: Path) -> None:
    argv = [sys.executable, "-m", "unittest", "discover", "-v"]
    done = await run(argv, cwd=tests, env=ENVIRONMENT, timeout=30)
    cases = read_cases(Reads.UNITTEST, None, done.stderr)
    assert cases is not None
    assert {name.split()[0]: outcome for name, outcome in cases.items()} == EXPECTED


async def test_pytest_is_read_as_it_reports(tests: Path) -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "--junitxml=out.xml", "-p", "no:cacheprovider"]
    await run(argv, cwd=tests, env=ENVIRONMENT, timeout=30)
    cases = read_cases(Reads.JUNIT, (tests / "out.xml").read_bytes(), "")
    assert cases is not None
    outcomes = {name.split("::")[-1]: outcome for name, outcome in cases.items()}
    assert outcomes == {**EXPECTED, "test_known": S}


async def test_a_module_that_cannot_be_imported_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import nothing_of_this_name\n")
    argv = [sys.executable, "-m", "unittest", "discover", "-v"]
    done = await run(argv, cwd=tmp_path, env=ENVIRONMENT, timeout=30)
    cases = read_cases(Reads.UNITTEST, None, done.stderr)
    assert cases
    assert set(cases.values()) == {F}


def test_of_several_runs_of_a_test_the_worst_counts() -> None:
    report = (
        b'<testsuite><testcase classname="a" name="t"/>'
        b'<testcase classname="a" name="t"><failure/></testcase><testcase classname="a" name="t"/></testsuite>'
    )
    assert read_cases(Reads.JUNIT, report, "") == {"a::t": F}


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


def test_jest_is_read_as_it_reports() -> None:
    report = {
        "testResults": [
            {
                "name": "/w/a.test.js",
                "status": "failed",
                "assertionResults": [
                    {"fullName": "a works", "status": "passed"},
                    {"fullName": "a fails", "status": "failed"},
                    {"fullName": "a waits", "status": "pending"},
                ],
            },
            {"name": "/w/b.test.js", "status": "failed", "assertionResults": []},
        ]
    }
    cases = read_cases(Reads.JEST_JSON, json.dumps(report).encode(), "")
    assert cases == {"a works": P, "a fails": F, "a waits": S, "/w/b.test.js": F}


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
        (Reads.JUNIT, b"<testsuite>" * 5000, ""),
        (Reads.JEST_JSON, b"{}", ""),
        (Reads.JEST_JSON, b"[" * 100_000, ""),
        (Reads.JEST_JSON, b'{"testResults": [1]}', ""),
        (Reads.JEST_JSON, b'{"testResults": [{"assertionResults": [{"status": "passed"}]}]}', ""),
        (Reads.UNITTEST, None, "test_a (m.T.test_a) ... ok\n"),
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
