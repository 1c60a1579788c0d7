"""Which statements were changed, which of them say something when they are run, and whether they were."""

import pytest

from agentvine.worker.verification.changed_lines import changed_lines, reached, reached_lines, statements

APP = """import os

LIMIT = 3


class Shop:
    '''A shop.'''

    rate: int = 2

    @property
    def total(self):
        '''All.'''
        if self.rate > LIMIT:
            return 0
        return (
            self.rate
            + 1
        )


def later():
    raise NotImplementedError


def words(names):
    for name in names:
        print(name)
    else:
        pass
"""


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (None, "a\nb\n", {1, 2}),
        ("a\nb\n", "a\nb\n", set()),
        ("a\nb\n", "a\nc\n", {2}),
        ("a\nc\n", "a\nb\nc\n", {2}),
        ("a\nb\nc\n", "a\nc\n", {1, 2}),
        ("a\nb\n", "a\n", {1}),
        ("a\nx\nb\ny\nc\n", "a\n1\nb\n2\nc\n", {2, 4}),
        ("", "a\n", {1}),
        ("a\n", "", set()),
    ],
)
def test_lines_at_which_something_changed_are_found(before: str | None, after: str, lines: set[int]) -> None:
    assert changed_lines(before, after) == lines


def test_statements_that_do_something() -> None:
    found = {one.first: one for one in statements("app.py", APP)}
    assert sorted(found) == [3, 9, 14, 15, 16, 23, 27, 28]
    assert [one.first for one in found.values() if one.open] == [23]
    assert found[3].names == ("LIMIT",)
    assert found[9].names == ("Shop", "rate")
    assert [one.first for one in found.values() if one.inside] == [14, 15, 16, 23, 27, 28]
    assert found[14].lines == range(14, 15)
    assert found[16].lines == range(16, 20)


OLD = "def total(prices):\n    return 0\n"
NEW = "RATE = 2\n\n\ndef total(prices):\n    return RATE * sum(prices)\n"


@pytest.mark.parametrize(
    ("run", "words", "told", "done"),
    [
        ({1, 4}, (), 1, 0),
        ({1, 4, 5}, (), 1, 1),
        ({1, 4}, ("RATE",), 2, 1),
        ((), ("RATE",), 2, 0),
    ],
)
def test_what_was_run(run: set[int], words: tuple[str, ...], told: int, done: int) -> None:
    found = reached({"app.py": (OLD, NEW)}, {"app.py": run}, words)
    assert (len(found.statements), len(found.run)) == (told, done)
    assert found.inside


def test_where_nothing_stands_in_a_function_the_module_counts() -> None:
    found = reached({"app.py": ("RATE = 1\n", "RATE = 2\n")}, {"app.py": {1}}, ())
    assert not found.inside
    assert found.run
    assert reached({"app.py": (None, "import os\n\n\nclass A:\n    '''A.'''\n")}, {}, ()).statements == ()
    assert reached({"app.py": (None, "def broken(:\n")}, {}, ()).statements == ()


def test_what_is_not_there_yet_counts_where_there_is_nothing_else() -> None:
    stub = "def tax(amount):\n    raise NotImplementedError\n"
    assert len(reached({"app.py": (None, stub)}, {}, ()).statements) == 1
    assert [one.first for one in reached({"app.py": (None, f"{stub}\n\n{OLD}")}, {}, ()).statements] == [6]
    abstract = f"class A(ABC):\n    @abstractmethod\n    {stub.replace('    ', '        ')}"
    assert reached({"app.py": (None, abstract)}, {}, ()).statements == ()


def test_what_was_missed_is_shown() -> None:
    found = reached({"app.py": (OLD, NEW)}, {}, ())
    assert found.shown() == "app.py:5"


def test_lines_of_javascript() -> None:
    text = (
        "const { a } = require('./a');\n// a comment\nfunction total(list) {\n  let sum = 0;\n"
        "  for (const one of list) {\n"
        "    sum += one;\n  }\n  return sum;\n}\nmodule.exports = { total };\n"
    )
    found = reached_lines({"a.js": (None, text)}, {"a.js": {1, 3, 10}})
    assert [one.first for one in found.statements] == [4, 5, 6, 8]
    assert found.run == ()
    assert reached_lines({"a.js": (None, text)}, {"a.js": {8}}).run
