"""Faults are small, on the lines they are asked for, always the same ones, and leave code that can be read."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.worker.verification.mutants import Mutant, Tried, in_words, mutants, objection
from agentvine.worker.verification.mutants_lines import faults as line_faults
from agentvine.worker.verification.mutants_python import Fault, faults

PYTHON = {
    "a value": ("return price * 2", "return None"),
    "arithmetic": ("return price * 2", "return (price) + (2)"),
    "a number": ("return 3", "return 4"),
    "another number": ("return 3", "return -4"),
    "a truth": ("return True", "return False"),
    "a text": ("return 'a'", "return 'another text'"),
    "a comparison": ("return a < b", "return not (a < b)"),
    "a limit": ("return a < b", "return a <= b"),
    "what is yielded": ("yield a", "yield None"),
    "a condition": ("if a:\n        return", "if not (a):\n        return"),
    "either": ("return a if b else c", "return a if not (b) else c"),
    "an error": ("raise ValueError(a)", "pass"),
    "a sum": ("a += b", "a -= b"),
    "a call": ("a.append(b)", "pass"),
    "an assignment": ("a = b", "a = None"),
    "over lines": ("return (\n        a\n        + b\n    )", "return (\n        None\n    )"),
    "umlauts": ("return 'ä' if größe - 1 else 'ö'", "return 'ä' if (größe) + (1) else 'ö'"),
}
LEFT_ALONE = {
    "nothing": "return None",
    "itself": "return self",
    "no value": "return",
    "a log": "logger.info(a)",
    "a log of its own": "self._log.debug('x')",
    "printed": "print(a)",
    "a text that grows": "'a' + b",
    "types": "if TYPE_CHECKING:\n        pass",
    "pass": "pass",
}
LINES = {
    "javascript, a value": (".js", "  return a + b;", "  return undefined;"),
    "javascript, arithmetic": (".js", "  return a + b;", "  return a - b;"),
    "javascript, a condition": (".js", "  if (a > 3) {", "  if (!(a > 3)) {"),
    "javascript, a limit": (".js", "  if (a > 3) {", "  if (a >= 3) {"),
    "javascript, equality": (".js", "  return a === b;", "  return a !== b;"),
    "go, a condition": (".go", "\tif a > b {", "\tif !(a > b) {"),
    "go, arithmetic": (".go", "\treturn a * b", "\treturn a + b"),
    "rust, a condition": (".rs", "    if a == b {", "    if !(a == b) {"),
    "java, a condition": (".java", "        if (a && b) {", "        if (!(a && b)) {"),
}
LINES_LEFT_ALONE = {
    "a text": (".js", '  return "a + b";'),
    "a comment": (".js", "  // return a + b;"),
    "in a comment": (".js", "   * return a + b"),
    "if with a value": (".go", "\tif one, ok := f(a); ok {"),
    "let": (".rs", "    if let Some(a) = b {"),
    "generics": (".java", "    List<String> a = new ArrayList<>();"),
    "a bracket": (".js", "  }"),
    "another language": (".cobol", "  return a + b"),
    "types of a compiler": (".ts", "  return a;"),
}


def within(body: str) -> str:
    return f"def f(self, a, b):\n    {body}\n"


@pytest.mark.parametrize("name", PYTHON)
def test_a_fault_is_put_into_python_by_its_syntax(name: str) -> None:
    was, becomes = PYTHON[name]
    text = within(was)
    made = [fault.applied(text) for fault in faults(text, range(1, 20))]
    assert within(becomes) in made
    assert text not in made


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_python_left_alone(name: str) -> None:
    text = within(LEFT_ALONE[name])
    assert [fault.what for fault in faults(text, range(1, 20))] == []


@pytest.mark.parametrize("name", LINES)
def test_a_fault_is_put_into_a_line_of_other_languages(name: str) -> None:
    suffix, was, becomes = LINES[name]
    assert becomes in [fault.applied(was) for fault in line_faults(suffix, was, {1})]


@pytest.mark.parametrize("name", LINES_LEFT_ALONE)
def test_lines_left_alone(name: str) -> None:
    suffix, text = LINES_LEFT_ALONE[name]
    assert line_faults(suffix, text, {1}) == ()


def test_only_the_lines_that_were_asked_for() -> None:
    text = "def f(a):\n    if a:\n        return 1\n    return 2\n"
    assert {fault.line for fault in faults(text, {4})} == {4}
    assert mutants({"a.py": text}, {}, 5) == ()
    assert mutants({"a.py": "X = 3\n"}, {"a.py": {1}}, 5) == ()
    assert mutants({"a.py": "def f(:\n"}, {"a.py": {1}}, 5) == ()


def test_the_functions_that_tests_name_come_first() -> None:
    text = "def one(a):\n    return a\n\n\ndef two(a):\n    return a\n"
    (first, *_) = mutants({"a.py": text}, {"a.py": range(1, 7)}, 5, ["two"])
    assert str(first) == "a.py:6: `a` becomes `None`"


def test_each_line_has_its_turn() -> None:
    text = "def f(a, b):\n    if a:\n        return a * b + 1\n    return a - b\n"
    made = mutants({"a.py": text}, {"a.py": range(1, 5)}, 3)
    assert sorted(mutant.fault.line for mutant in made) == [2, 3, 4]


@given(st.sampled_from(sorted(PYTHON)), st.sets(st.integers(1, 6)))
def test_always_the_same_and_readable(name: str, lines: set[int]) -> None:
    text = within(PYTHON[name][0])
    made = mutants({"a.py": text}, {"a.py": lines}, 4)
    assert made == mutants({"a.py": text}, {"a.py": lines}, 4)
    for mutant in made:
        ast.parse(mutant.text)
        assert mutant.text != text


def tried(*noticed: str) -> list[Tried]:
    """`+` noticed, `-` missed, `!` stumbled over; of a slight fault with `~` before it."""
    return [
        Tried(Mutant("a.py", "", Fault(1, one, 0, 0, "", grave="~" not in one)), "-" not in one, "!" in one)
        for one in noticed
    ]


@pytest.mark.parametrize("of", [("-", "-"), ("-", "-", "~-"), ("-", "!", "-"), ("-", "-", "-", "-")])
def test_none_noticed_is_an_objection(of: tuple[str, ...]) -> None:
    assert "pass with each of these faults" in objection(tried(*of), may_stumble=False)


@pytest.mark.parametrize("of", [(), ("-",), ("-", "~-"), ("-", "-", "+"), ("+",), ("-", "!"), ("~-", "~-", "~-")])
def test_otherwise_nothing_follows(of: tuple[str, ...]) -> None:
    assert objection(tried(*of), may_stumble=False) == ""


def test_a_test_may_show_a_bug_by_running() -> None:
    assert objection(tried("-", "-", "!"), may_stumble=True) == ""


def test_faults_that_nobody_noticed_are_told_with_their_places() -> None:
    assert in_words(tried("+", "-")) == "1 of 2 faults put into it were noticed; not noticed: a.py:1: -"
