"""How tests are selected and measured, and how what was measured is read."""

import json

import pytest

from agentvine.worker.verification.found import Reads, TestCommand
from agentvine.worker.verification.measuring import executed, measured, only

PYTEST = TestCommand("pytest", ("python3", "-m", "pytest", "-q", "--junitxml={report}"), Reads.JUNIT, "x")
UNITTEST = TestCommand("unittest", ("python3", "-m", "unittest", "discover", "-v", "-s", "tests"), Reads.UNITTEST, "x")
NODE = TestCommand("node", ("sh", "-c", "node --test"), Reads.JUNIT, "x")
GO = TestCommand("go", ("go", "test", "-json", "./..."), Reads.GO_JSON, "x")
MAKE = TestCommand("make", ("make", "test"), Reads.EXIT_CODE, "x")


def test_tests_are_selected_by_their_ids() -> None:
    tests = ["tests/test_a.py::test_one[a b]", "tests/test_a.py::test_one[c]", "tests/test_a.py::T::test_two"]
    chosen = only(PYTEST, tests, ["tests/test_a.py"])
    assert chosen.argv == (*PYTEST.argv, "tests/test_a.py::test_one", "tests/test_a.py::T::test_two")


@pytest.mark.parametrize("tests", [["tests/test a.py::test_one"], [f"tests/test_a.py::test_{n}" for n in range(99)]])
def test_tests_that_cannot_be_named_one_by_one_are_run_by_their_files(tests: list[str]) -> None:
    assert only(PYTEST, tests, ["tests/test_a.py"]).argv == (*PYTEST.argv, "tests/test_a.py")


def test_each_runner_is_told_in_its_own_way_or_runs_everything() -> None:
    assert only(UNITTEST, [], ["tests/test_a.py"]).argv == ("python3", "-m", "unittest", "-v", "tests/test_a.py")
    assert only(GO, [], ["a/b_test.go", "c_test.go"]).argv == ("go", "test", "-json", "./.", "./a")
    assert only(MAKE, [], ["tests/test_a.py"]) is MAKE
    assert only(NODE, [], ["test/a.test.js"]) is NODE


@pytest.mark.parametrize("command", [MAKE, GO, TestCommand("pytest", ("uv", "run", "pytest"), Reads.JUNIT, "x")])
def test_what_is_not_known_how_to_measure(command: TestCommand) -> None:
    assert measured(command, ".x") is None


def test_the_interpreter_of_an_environment_measures_itself() -> None:
    said = measured(TestCommand("pytest", (".venv/bin/pytest", "-q"), Reads.JUNIT, "x"), ".x")
    assert said is not None
    assert ".venv/bin/python" in said.command.argv
    assert said.command.argv[-2:] == ("pytest", "-q")


def test_the_report_is_found_from_a_folder() -> None:
    said = measured(TestCommand("pytest", PYTEST.argv, Reads.JUNIT, "x", directory="back/end"), ".x")
    assert said is not None
    assert said.command.argv[-1] == "--junitxml=../../{report}"


def test_lines_of_coverage() -> None:
    said = measured(PYTEST, ".x")
    assert said is not None
    assert executed(said, [b'{"a.py": [1, 3]}'], "/work", {}) == {"a.py": frozenset({1, 3})}
    for broken in ([], [b"{"], [b"[1]"], [b'{"a.py": 1}']):
        assert executed(said, broken, "/work", {}) is None


def test_lines_of_v8() -> None:
    said = measured(NODE, ".x")
    assert said is not None
    text = "function a(x) {\n  if (x) {\n    return 1;\n  }\n  return 2;\n}\nfunction b() {\n  return 3;\n}\na(0);\n"
    second = text.index("function b")
    untrue = (text.index("{\n    return 1"), text.index("  return 2"), 0)
    whole, in_a, in_b = (0, len(text), 1), (0, second - 1, 1), (second, text.index("a(0)") - 1, 0)
    ranges = [
        {"startOffset": start, "endOffset": end, "count": count} for start, end, count in (whole, in_a, untrue, in_b)
    ]
    report = {
        "result": [
            {"url": "file:///work/src/a.js", "functions": [{"ranges": ranges}]},
            {"url": "node:fs", "functions": []},
        ]
    }
    found = executed(said, [json.dumps(report).encode()], "/work", {"src/a.js": text})
    assert found is not None
    assert {1, 2, 5, 10} <= found["src/a.js"]
    assert not {3, 8} & found["src/a.js"]
    assert executed(said, [], "/work", {}) is None
