"""Reports as their runners wrote them: node 20.20, jest 30, vitest 4, mocha 11, go 1.27 and cargo 1.95 in runs of small
suites, shortened; Surefire's and nextest's by their documentation
(https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd,
https://nexte.st/docs/machine-readable/junit/)."""

from pathlib import Path

import pytest

from agentvine.worker.verification.cases import Outcome, Tests
from agentvine.worker.verification.found import Reads
from agentvine.worker.verification.results import read_tests

P, S, X, F, E = Outcome.PASSED, Outcome.SKIPPED, Outcome.XFAILED, Outcome.FAILED, Outcome.ERRORED
RECORDED = Path(__file__).parent / "recorded"

JEST = {
    "test/a.test.js::cart::adds": P,
    "test/a.test.js::cart::fails": F,
    "test/a.test.js::cart::later": S,
    "test/a.test.js::cart::some day": S,
    "test/a.test.js::cart::known": X,
    "test/a.test.js::cart::n 1": P,
    "test/a.test.js::cart::n 2": P,
    "test/b.test.js": E,
}
NODE = {"cart::adds": P, "cart::fails": F, "cart::later": S, "cart::some day": S, "cart::known": X, "top # hash": P}


def recorded(name: str, reads: Reads, directory: str = ".") -> Tests:
    content = (RECORDED / name).read_bytes()
    printed = reads in {Reads.TAP, Reads.GO_JSON, Reads.LIBTEST}
    reports = () if printed else (content,)
    tests = read_tests(reads, reports, content.decode() if printed else "", ("/workspace",), directory)
    assert tests is not None
    return tests


@pytest.mark.parametrize(
    ("name", "reads", "expected"),
    [
        ("jest.json", Reads.JEST_JSON, JEST),
        (
            "vitest.json",
            Reads.JEST_JSON,
            {name.replace(".js", ".mjs"): P if outcome is X else outcome for name, outcome in JEST.items()},
        ),
        (
            "mocha.xml",
            Reads.JUNIT,
            {
                "test/a.js::cart::adds": P,
                "test/a.js::cart::fails": F,
                "test/a.js::cart::later": S,
                "test/a.js::cart::some day": S,
                'test/a.js::hook::"before all" hook for "never"': F,
            },
        ),
        ("node.xml", Reads.JUNIT, {**NODE, "test/b.test.js": F}),
        ("node.tap", Reads.TAP, {**NODE, "test/b.test.js": F}),
        (
            "go.jsonl",
            Reads.GO_JSON,
            {
                "example.com/x::TestA": F,
                "example.com/x::TestA/sub_one": P,
                "example.com/x::TestA/two": F,
                "example.com/x::TestSkip": S,
                "example.com/x::TestOK": P,
                "example.com/x/p": E,
                "example.com/x/q::TestP": F,
            },
        ),
        (
            "cargo.txt",
            Reads.LIBTEST,
            {
                "src/lib.rs::thing::tests::works": P,
                "src/lib.rs::thing::tests::fails": F,
                "src/lib.rs::thing::tests::later": S,
                "src/lib.rs::thing::tests::panics": P,
                "tests/it.rs::it::works": P,
                "doc thing::src/lib.rs - a (line 1)": P,
            },
        ),
        ("nextest.xml", Reads.JUNIT, {"thing::tests::fails": F, "thing::tests::works": P, "thing::it::works": P}),
        (
            "surefire.xml",
            Reads.JUNIT,
            {
                "com.example.CartTest::adds": P,
                "com.example.CartTest::fails": F,
                "com.example.CartTest::breaks": E,
                "com.example.CartTest::later": S,
                "com.example.CartTest::wobbles": P,
                "com.example.CartTest::holds(int)[2]": P,
            },
        ),
    ],
)
def test_each_test_has_one_name_and_one_outcome(name: str, reads: Reads, expected: dict[str, Outcome]) -> None:
    assert {test: case.outcome for test, case in recorded(name, reads).items()} == expected


def test_what_a_test_said_and_how_long_it_took_is_kept() -> None:
    node = recorded("node.xml", Reads.JUNIT)["cart::fails"]
    assert node.message.startswith("1 == 2\nError [ERR_TEST_FAILURE]")
    assert node.seconds == pytest.approx(0.0019, abs=0.01)
    tap = recorded("node.tap", Reads.TAP)["cart::fails"]
    assert tap.message == "1 == 2"
    assert tap.seconds == pytest.approx(0.0019, abs=0.01)
    jest = recorded("jest.json", Reads.JEST_JSON)
    assert "toBe" in jest["test/a.test.js::cart::fails"].message
    assert jest["test/a.test.js::cart::fails"].seconds == pytest.approx(0.01)
    assert "Test suite failed to run" in jest["test/b.test.js"].message
    go = recorded("go.jsonl", Reads.GO_JSON)
    assert "a_test.go:5: bad" in go["example.com/x::TestA/two"].message
    surefire = recorded("surefire.xml", Reads.JUNIT)
    assert surefire["com.example.CartTest::fails"].seconds == 1200.0
    assert "printed, not meant" not in surefire["com.example.CartTest::fails"].message
    assert surefire["com.example.CartTest::holds(int)[2]"].parameters == "2"


def test_what_was_tried_again_and_then_passed_is_unsteady() -> None:
    assert recorded("surefire.xml", Reads.JUNIT)["com.example.CartTest::wobbles"].unsteady
    assert not recorded("surefire.xml", Reads.JUNIT)["com.example.CartTest::fails"].unsteady
    assert recorded("nextest.xml", Reads.JUNIT)["thing::tests::works"].unsteady


def test_a_file_that_did_not_load_holds_its_tests() -> None:
    jest = recorded("jest.json", Reads.JEST_JSON)
    broken = jest["test/b.test.js"]
    assert broken.container
    assert not broken.holds(jest["test/a.test.js::cart::adds"])
    assert broken.holds(jest["test/a.test.js::cart::adds"].model_copy(update={"file": "test/b.test.js"}))
    go = recorded("go.jsonl", Reads.GO_JSON)
    assert [name for name, case in go.items() if case.container] == ["example.com/x/p"]
    assert go["example.com/x/p"].holds(go["example.com/x::TestOK"].model_copy(update={"group": "example.com/x/p"}))
    assert not go["example.com/x/p"].holds(go["example.com/x::TestOK"])
    node = recorded("node.xml", Reads.JUNIT)
    assert [name for name, case in node.items() if case.container] == ["test/b.test.js"]


def test_paths_are_told_from_the_root_of_the_checkout() -> None:
    (name, *_) = recorded("mocha.xml", Reads.JUNIT, "test")
    assert name == "test/a.js::cart::adds"
    report = b'<testsuite><testcase file="tests/test_a.py" classname="tests.test_a.T" name="t"/></testsuite>'
    tests = read_tests(Reads.JUNIT, [report], "", ("/workspace",), "backend")
    assert tests is not None
    assert list(tests) == ["backend/tests/test_a.py::T::t"]
