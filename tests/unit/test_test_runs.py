"""A run of tests as a whole: its command, its report, its verdict; and what a checkout may hold in a report's place."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentvine.domain.evidence import CommandRecord
from agentvine.kit.process import Completed, run
from agentvine.worker.hostile import Refused
from agentvine.worker.verification import report_files
from agentvine.worker.verification.cases import Outcome, TestCase, Tests
from agentvine.worker.verification.compare import Change, compare, reproducing
from agentvine.worker.verification.found import REPORT, Reads, TestCommand
from agentvine.worker.verification.living_on import parametrised, renamed, wanted_gone
from agentvine.worker.verification.report_files import clear_reports, read_reports
from agentvine.worker.verification.results import read_tests
from agentvine.worker.verification.runs import RunVerdict, TestRun, run_tests
from agentvine.worker.verification.verdicts import Ended, verdict_of

PYTEST = TestCommand("pytest", ("pytest",), Reads.JUNIT, "here")
SURE = "**/target/surefire-reports/TEST-*.xml"
GOOD, BAD = '<testcase name="a"/>', '<testcase name="b"><failure/></testcase>'


async def box(argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
    return await run(argv, cwd=cwd, env={"PATH": os.defpath}, timeout=timeout)


def several(*outcomes: Outcome) -> Tests:
    cases = [TestCase(name=f"t{number}", outcome=outcome) for number, outcome in enumerate(outcomes)]
    return {case.id: case for case in cases}


P, S, X, F, E = Outcome.PASSED, Outcome.SKIPPED, Outcome.XFAILED, Outcome.FAILED, Outcome.ERRORED


@pytest.mark.parametrize(
    ("code", "tests", "verdict", "why"),
    [
        (0, several(P, S, X), RunVerdict.PASSED, ""),
        (1, several(P, F), RunVerdict.FAILED, "1 of 2 failed: t1"),
        (2, several(E), RunVerdict.FAILED, "1 of 1 failed: t0"),
        (0, several(P, F), RunVerdict.UNKNOWN, "the exit code is 0, but the report says that 1 failed: t1"),
        (0, several(E), RunVerdict.UNKNOWN, "the exit code is 0, but"),
        (1, several(P, P), RunVerdict.UNKNOWN, "none of 2 failed, but the exit code is 1: the last line"),
        (5, several(P), RunVerdict.UNKNOWN, "but the exit code is 5"),
        (0, several(), RunVerdict.NO_TESTS, "no tests were found"),
        (5, several(), RunVerdict.NO_TESTS, "no tests were found"),
        (5, several(S), RunVerdict.NO_TESTS, "no tests were found"),
        (5, None, RunVerdict.NO_TESTS, "no tests were found"),
        (1, several(), RunVerdict.UNKNOWN, "none of 0 failed, but the exit code is 1"),
        (0, None, RunVerdict.UNKNOWN, "the exit code is 0, but there was no report"),
        (1, None, RunVerdict.FAILED, "exit code 1: the last line"),
        (4, None, RunVerdict.FAILED, "pytest did not start (usage error)"),
        (124, several(P), RunVerdict.BROKEN, "the last line"),
        (127, None, RunVerdict.BROKEN, "the last line"),
    ],
)
def test_exit_code_and_report_have_to_agree(code: int, tests: Tests | None, verdict: RunVerdict, why: str) -> None:
    found, said = verdict_of(Ended(PYTEST, code, "", "the last line", tests, "" if tests else "there was no report"))
    assert found is verdict
    assert why in said
    assert bool(said) == (verdict is not RunVerdict.PASSED)


def test_where_nothing_else_is_to_be_had_the_exit_code_counts() -> None:
    make = TestCommand("make", ("make", "test"), Reads.EXIT_CODE, "Makefile")
    assert verdict_of(Ended(make, 0, "", "x", None))[0] is RunVerdict.PASSED
    assert verdict_of(Ended(make, 2, "", "x", None))[0] is RunVerdict.FAILED
    assert verdict_of(Ended(make, 0, "Ran 0 tests in 0s", "x", None))[0] is RunVerdict.NO_TESTS


async def attempted(folder: Path, script: str, reads: Reads = Reads.JUNIT, **more: str) -> TestRun:
    command = TestCommand("sh", ("sh", "-c", script), reads, "here", **more)  # type: ignore[arg-type]
    return await run_tests(command, folder, "base", box, 30)


async def test_a_process_that_leaves_in_the_middle_has_not_passed(tmp_path: Path) -> None:
    """`os._exit(0)` in a test ends pytest with 0 and without a report."""
    (tmp_path / "test_a.py").write_text("import os\n\ndef test_a():\n    os._exit(0)\n")
    command = TestCommand("pytest", ("python3", "-m", "pytest", "-q", f"--junitxml={REPORT}"), Reads.JUNIT, "here")

    async def with_pytest(argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
        done = await run(
            [sys.executable, *argv[1:]],
            cwd=cwd,
            env={"PATH": os.defpath, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            timeout=timeout,
        )
        assert done.exit_code == 0
        return done

    found = await run_tests(command, tmp_path, "base", with_pytest, 30)
    assert found.verdict is RunVerdict.UNKNOWN
    assert "left no report" in found.why
    assert found.record.argv == ("python3", "-m", "pytest", "-q")


async def test_what_a_run_swallows_is_not_believed(tmp_path: Path) -> None:
    found = await attempted(tmp_path, f"echo '<testsuite>{GOOD}{BAD}</testsuite>' > {REPORT}; true")
    assert (found.verdict, found.counts.failed) == (RunVerdict.UNKNOWN, 1)
    found = await attempted(tmp_path, f"echo '<testsuite>{GOOD}</testsuite>' > {REPORT}; exit 3")
    assert found.verdict is RunVerdict.UNKNOWN
    found = await attempted(tmp_path, f"echo '<testsuite>{GOOD}</testsuite>' > {REPORT}; true")
    assert (found.verdict, found.why, list(found.by_id)) == (RunVerdict.PASSED, "", ["a"])
    assert list(tmp_path.iterdir()) == []


async def test_what_is_read_makes_two_runs_comparable(tmp_path: Path) -> None:
    runs = []
    for content in (GOOD + BAD, GOOD + '<testcase name="b"/><testcase name="c"/>'):
        code = 1 if "failure" in content else 0
        script = f"echo '<testsuite>{content}</testsuite>' > {REPORT}; exit {code}"
        found = await attempted(tmp_path, script)
        runs.append(TestRun.model_validate_json(found.model_dump_json()))
    before, after = runs
    compared = compare([before.outcomes], [after.outcomes])
    assert [compared.named(change) for change in (Change.FIXED, Change.STILL_PASSES, Change.ADDED)] == [
        ("b",),
        ("a",),
        ("c",),
    ]
    assert reproducing(before.by_id, after.by_id) == ("b",)


async def test_a_command_is_run_in_its_folder_and_reports_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "api" / "deep").mkdir(parents=True)
    report = '<testsuite><testcase file="t.py" classname="t" name="a"/></testsuite>'
    script = f'test "$(pwd)" = "{tmp_path}/api/deep" && echo \'{report}\' > {REPORT}'
    found = await attempted(tmp_path, script, directory="api/deep")
    assert (found.verdict, list(found.by_id)) == (RunVerdict.PASSED, ["api/deep/t.py::a"])
    assert (await attempted(tmp_path, "true", directory="nowhere")).verdict is RunVerdict.FAILED


async def test_a_report_is_read_where_it_was_said_to_be(tmp_path: Path) -> None:
    point = '{"Action":"pass","Package":"p","Test":"T"}'
    for reads, content, name in ((Reads.TAP, "1..1\\nok 1 a", "a"), (Reads.GO_JSON, point, "p::T")):
        said = await attempted(tmp_path, f"printf '{content}' > out", reads, report_in_checkout="out")
        assert (said.verdict, list(said.by_id)) == (RunVerdict.PASSED, [name])
        printed = await attempted(tmp_path, f"printf '{content}'", reads)
        assert (printed.verdict, list(printed.by_id)) == (RunVerdict.PASSED, [name])
        none = await attempted(tmp_path, f"printf '{content}'", reads, report_in_checkout="out")
        assert (none.verdict, "there was no report at out" in none.why) == (RunVerdict.UNKNOWN, True)


async def test_the_reports_of_all_modules_are_read_and_those_of_before_are_not(tmp_path: Path) -> None:
    old = tmp_path / "a" / "target" / "surefire-reports"
    old.mkdir(parents=True)
    (old / "TEST-old.xml").write_text("<testsuite><testcase name='stale'/></testsuite>")
    script = " && ".join(
        f"mkdir -p {place}/target/surefire-reports && echo '<testsuite><testcase name=\"{place}\"/></testsuite>'"
        f" > {place}/target/surefire-reports/TEST-x.xml"
        for place in ("a", "b/c", ".")
    )
    found = await attempted(tmp_path, script, report_in_checkout=SURE)
    assert (found.verdict, sorted(found.by_id)) == (RunVerdict.PASSED, [".", "a", "b/c"])
    none = await attempted(tmp_path, "true", report_in_checkout=SURE)
    assert none.verdict is RunVerdict.NO_TESTS
    assert (await attempted(tmp_path, "exit 1", report_in_checkout=SURE)).verdict is RunVerdict.FAILED


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        (SURE, "target/surefire-reports/TEST-a.xml", True),
        (SURE, "a/b/target/surefire-reports/TEST-a.xml", True),
        (SURE, "target/surefire-reports/a/TEST-a.xml", False),
        (SURE, "target/surefire-reports/TEST-a.txt", False),
        ("build/**/TEST-*.xml", "build/TEST-.xml", True),
        ("build/**/TEST-*.xml", "a/build/TEST-a.xml", False),
        ("**", "a", False),
        ("**/*", "a/b", True),
        ("a*/**/**/*.xml", "ab/c.xml", True),
        ("out/*.xml", "out/a/b.xml", False),
    ],
)
def test_a_pattern_is_a_path_with_stars(tmp_path: Path, pattern: str, path: str, fits: bool) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("x")
    assert read_reports(tmp_path, pattern, 10) == ([b"x"] if fits else [])
    clear_reports(tmp_path, pattern)
    assert (tmp_path / path).exists() != fits


def test_nothing_but_files_of_the_checkout_is_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.xml").write_text("secret")
    checkout = tmp_path / "checkout"
    (checkout / "out").mkdir(parents=True)
    (checkout / "linked").symlink_to(outside)
    assert read_reports(checkout, "**/*.xml", 100) == []
    clear_reports(checkout, "linked/a.xml")
    clear_reports(checkout, "**/*.xml")
    assert (outside / "a.xml").exists()
    for make in (
        lambda place: place.symlink_to(outside / "a.xml"),
        os.mkfifo,
        lambda place: place.write_text("x" * 200),
    ):
        make(checkout / "out" / "a.xml")
        with pytest.raises(Refused):
            read_reports(checkout, "out/*.xml", 100)
        clear_reports(checkout, "out/*.xml")
    for name in "ab":
        (checkout / "out" / f"{name}.xml").write_text("x" * 60)
    with pytest.raises(Refused, match="larger than 40 bytes"):  # together they are too large
        read_reports(checkout, "out/*.xml", 100)


async def test_a_checkout_without_end_is_left(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(report_files.DEEPEST + 5):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "a.xml").write_text("x")
    assert read_reports(tmp_path, "**/*.xml", 100) == []
    for number in range(report_files.MOST_FILES + 1):
        os.mknod(tmp_path / f"{number}.xml")
    with pytest.raises(Refused, match=f"more than {report_files.MOST_FILES} files"):
        read_reports(tmp_path, "**/*.xml", 100)
    found = await attempted(tmp_path, "touch ran", report_in_checkout="*.xml")
    assert found.verdict is RunVerdict.BROKEN
    assert "cannot be cleared" in found.why
    assert not (tmp_path / "ran").exists()


def test_pytest_that_does_not_start_has_failed_whatever_its_report_says() -> None:
    found, said = verdict_of(Ended(PYTEST, 4, "", "ImportError while loading conftest", {}))
    assert (found, said) == (
        RunVerdict.FAILED,
        "pytest did not start (usage error): ImportError while loading conftest",
    )


@pytest.mark.parametrize(
    "failing",
    [
        '<testcase name="/workspace/test/a.test.js" classname="test"><failure/></testcase>',
        '<testcase name="test/a.test.js" classname="test" file="/workspace/test/a.test.js"><failure/></testcase>',
    ],
)
@pytest.mark.parametrize("file", ["", 'file="/workspace/test/a.test.js"'])
def test_node_s_file_that_does_not_load_holds_the_tests_in_it(failing: str, file: str) -> None:
    """Its older versions do not say in which file a test is."""
    on_base, on_result = (
        read_tests(Reads.JUNIT, [f"<testsuites>{case}</testsuites>".encode()], "", ("/workspace",)) or {}
        for case in (failing, f'<testcase name="adds" classname="test" {file}/>')
    )
    assert len(reproducing(on_base, on_result)) == 1
    assert reproducing({}, on_result) == ()


def test_a_test_lives_on_under_another_name_or_in_another_file() -> None:
    body = "def test_{}(x):\n    assert one(x) == 1\n"
    old = {"t/test_a.py": body.format("a") + "class T:\n    def test_m(self):\n        assert two() == 2\n"}
    new = {"t/test_a.py": body.format("better"), "t/test_b.py": "def test_m(self):\n    assert two() == 2\n"}
    before = passing("t/test_a.py::test_a[1]", "t/test_a.py::T::test_m", "t/test_a.py::test_p")
    after = passing("t/test_a.py::test_better[1]", "t/test_b.py::test_m", "t/test_a.py::test_p[x]")
    gone = before.by_id.keys()
    assert {*renamed(gone, old, new, (before, after))} == {"t/test_a.py::test_a[1]", "t/test_a.py::T::test_m"}
    assert {*parametrised(gone, after)} == {"t/test_a.py::test_p"}
    changed = {"t/test_a.py": body.format("better").replace("== 1", "== 2")}
    assert {*renamed(gone, old, changed, (before, after))} == set()
    assert {*renamed(gone, old, {"t/test_a.py": "def ("}, (before, after))} == set()


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("Remove receipt.py and t/test_a.py", True),
        ("Delete test_a, it is of no use", True),
        ("Dropping the tests in test_a.py", True),
        ("Mend t/test_a.py", False),
        ("Remove test_abc and t/test_a.py.orig-2", False),
        ("Remove the receipts", False),
    ],
)
def test_a_test_may_go_if_the_task_says_so(asked: str, wanted: bool) -> None:
    assert wanted_gone("t/test_a.py::test_a[1]", "t/test_a.py", ["t/test_a.py"], asked) is wanted


def passing(*names: str) -> TestRun:
    cases = [TestCase(file=name.partition("::")[0], name=name.partition("::")[2], outcome=P) for name in names]
    record = CommandRecord(argv=("t",), where="base", exit_code=0, seconds=0, output_sha256="0" * 64)
    return TestRun(verdict=RunVerdict.PASSED, cases={}, tests=tuple(cases), record=record)
