"""What linters, type checkers and measurements of coverage write, read as numbers, and what two commits differ by."""

import json
from collections import Counter

import pytest

from agentvine.worker.verification.coverage_reports import Measured, UnreadableCoverage, alike, read_coverage
from agentvine.worker.verification.found import Reads, TestCommand, Writes
from agentvine.worker.verification.look_python import measuring
from agentvine.worker.verification.tool_reports import UnreadableFindings, count, more
from agentvine.worker.verification.tool_runs import steers_tools

ROOTS = ("/host/checkout", "/workspace")
RUFF = [{"code": "E501", "filename": "/workspace/a.py", "location": {"row": 3}, "message": "long", "fix": None}] * 2
ESLINT = [
    {"filePath": "/workspace/a.js", "messages": [{"ruleId": "no-eval", "severity": 2, "message": "m", "line": 1}]}
]
MYPY = {"file": "a.py", "line": 1, "code": "arg-type", "severity": "error", "message": "m"}
PYRIGHT = {"generalDiagnostics": [{"file": "/host/checkout/a.py", "severity": "error", "rule": "r"}]}
GOLANGCI = {"Issues": [{"FromLinter": "errcheck", "Pos": {"Filename": "a.go"}}]}
CARGO = {"reason": "compiler-message", "message": {"code": {"code": "dead"}, "spans": [{"file_name": "a.rs"}]}}


@pytest.mark.parametrize(
    ("writes", "text", "found"),
    [
        (Writes.RUFF_JSON, json.dumps(RUFF), {("E501", "a.py"): 2}),
        (Writes.ESLINT_JSON, json.dumps(ESLINT), {("no-eval", "a.js"): 1}),
        (Writes.MYPY_JSON, json.dumps(MYPY), {("arg-type", "a.py"): 1}),
        (Writes.PYRIGHT_JSON, json.dumps(PYRIGHT), {("r", "a.py"): 1}),
        (Writes.GOLANGCI_JSON, json.dumps(GOLANGCI), {("errcheck", "a.go"): 1}),
        (Writes.CARGO_JSON, f"   Compiling\n{json.dumps(CARGO)}\n", {("dead", "a.rs"): 1}),
        (Writes.TEXT, "a.py:3:1: E501 long\n/workspace/b.py:1: x  [any]", {("E501", "a.py"): 1, ("any", "b.py"): 1}),
        (Writes.TEXT, "src/a.ts(1,2): error TS2322: no\n", {("TS2322", "src/a.ts"): 1}),
        (Writes.TEXT, "all is well\n", {}),
    ],
)  # fmt: skip
def test_findings_are_counted_by_rule_and_file(writes: Writes, text: str, found: dict[tuple[str, str], int]) -> None:
    assert count(writes, text.encode(), "", ROOTS) == Counter(found)


def test_a_file_is_told_from_the_root_wherever_the_tool_was_run() -> None:
    assert count(Writes.TEXT, None, "a.py:3: E501 x\n/host/checkout/b.py:3: E501 x", ROOTS, "api") == Counter(
        {("E501", "api/a.py"): 1, ("E501", "b.py"): 1}
    )


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[1]", "[[]]", '{"generalDiagnostics": 3}', '{"reason": "compiler-message"}']
)
def test_a_report_that_is_none_is_told_from_one_that_is_empty(text: str) -> None:
    for writes in (Writes.RUFF_JSON, Writes.ESLINT_JSON, Writes.PYRIGHT_JSON, Writes.GOLANGCI_JSON):
        with pytest.raises(UnreadableFindings):
            count(writes, text.encode(), "", ROOTS)


def test_what_moved_is_not_new_and_what_is_new_is_told_with_its_file() -> None:
    before = Counter({("E1", "a.py"): 3, ("E2", "a.py"): 1})
    assert more(before, Counter({("E1", "b.py"): 3, ("E2", "a.py"): 1})) == Counter()
    assert more(before, Counter({("E1", "a.py"): 1, ("E1", "b.py"): 3})) == Counter({("E1", "b.py"): 1})
    assert more(before, before + Counter({("E3", "a.py"): 2})) == Counter({("E3", "a.py"): 2})
    assert more(before, Counter()) == Counter()


OF_TESTS = {"summary": {"num_statements": 9, "covered_lines": 9}}
PY = {"files": {"a.py": {"summary": {"num_statements": 4, "covered_lines": 3}}, "tests/test_a.py": OF_TESTS}}
LCOV = "SF:/workspace/src/a.js\nDA:1,2\nDA:2,0\nend_of_record\nSF:src/b.js\nDA:1,1\nend_of_record\n"
GO = "mode: set\nm/a.go:1.2,3.4 2 0\nm/a.go:1.2,3.4 2 1\nm/a.go:5.1,6.2 3 0\n"
JACOCO = (
    '<!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd"><report><package name="p">'
    '<class><counter type="LINE" missed="9" covered="9"/></class>'
    '<sourcefile name="A.java"><counter type="LINE" missed="1" covered="3"/></sourcefile></package></report>'
)


@pytest.mark.parametrize(
    ("writes", "text", "files"),
    [
        (Writes.COVERAGE_JSON, json.dumps(PY), {"a.py": (4, 3)}),
        (Writes.LCOV, LCOV, {"src/a.js": (2, 1), "src/b.js": (1, 1)}),
        (Writes.GO_COVER, GO, {"m/a.go": (5, 2)}),
        (Writes.JACOCO_XML, JACOCO, {"p/A.java": (4, 3)}),
    ],
)
def test_coverage_is_read_of_code_alone(writes: Writes, text: str, files: dict[str, tuple[int, int]]) -> None:
    assert read_coverage(writes, [text.encode()], "", ROOTS).files == files
    entity = b'<!DOCTYPE r [<!ENTITY x "y">]><r>&x;</r>'
    for wrong in (b"", b"{", b'{"files": {"a.py": {"summary": {"num_statements": 1, "covered_lines": 2}}}}', entity):
        if writes is not Writes.LCOV or wrong.startswith(b"SF"):
            with pytest.raises(UnreadableCoverage):
                read_coverage(writes, [wrong], "", ROOTS)
    with pytest.raises(UnreadableCoverage, match="no report"):
        read_coverage(writes, [], "", ROOTS)


def test_a_total_for_people_is_read_as_a_percentage() -> None:
    for printed in ("TOTAL   10   2   80%\n5 passed", "All files | 80 | 70 | 60 | 80 |", "total: (statements) 80.0%"):
        assert read_coverage(Writes.TEXT, [], printed, ROOTS).percent == 80
    with pytest.raises(UnreadableCoverage, match="no percentage"):
        read_coverage(Writes.TEXT, [], "5 passed in 100% of the time", ROOTS)


def test_a_file_that_only_one_run_has_loaded_was_there_for_the_other() -> None:
    before, after = alike(Measured({"a.py": (4, 4)}), Measured({"a.py": (4, 4), "b.py": (4, 1)}))
    assert (before.percent, after.percent) == (50, 62.5)
    assert alike(Measured(told=3.0), Measured(told=4.0))[0].percent == 3


def test_python_is_measured_where_nobody_asked_for_it() -> None:
    plain = TestCommand(
        "pytest", ("pytest", "-q", "--junitxml={report}", "-o", "junit_family=xunit1"), Reads.JUNIT, "x"
    )
    tool = measuring(plain)
    assert tool is not None
    assert tool.argv[2].startswith("python3 -m coverage run --source=. -m pytest -q; ended=$?")
    assert measuring(TestCommand("make", ("make", "test"), Reads.EXIT_CODE, "x")) is None


def test_what_steers_a_tool_is_the_base_s() -> None:
    steering = (
        "pyproject.toml",
        "sub/ruff.toml",
        ".eslintrc.json",
        "tsconfig.build.json",
        "mypy.ini",
        ".golangci.yml",
        ".coveragerc",
    )
    assert all(map(steers_tools, steering))
    assert not any(map(steers_tools, ("a.py", "README.md", "conftest.py")))
