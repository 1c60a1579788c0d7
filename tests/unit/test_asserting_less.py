"""A test that states less than it did is found, also beside new ones; what is claimed elsewhere counts."""

import pytest

from agentvine.worker.verification.weakening import weakenings

_CART = """import assert from 'node:assert';
import { test } from 'node:test';

test('sums', () => {
  assert.equal(total([1, 2]), 3);
  assert.equal(total([]), 0);
});

test('shows', () => {
  const words = /['"`(]/;
  assert.equal(show(1250), '12.50 (EUR');
});
"""
_MORE = """
test('counts', () => {
  assert.equal(count([]), 0);
  assert.equal(count([1]), 1);
});
"""
_GO = """package stack

func TestPop(t *testing.T) {
\tvar s Stack
\tif _, ok := s.Pop(); ok {
\t\tt.Fatal("there was {nothing")
\t}
}
"""
_MORE_GO = """
func TestLen(t *testing.T) {
\tif n := new(Stack).Len(); n != 0 {
\t\tt.Errorf("%d", n)
\t}
}
"""
_RUST = """#[test]
fn sums() {
    assert_eq!(total(&[1, 2]).unwrap(), 3);
}
"""
_MORE_RUST = """
#[test]
fn counts() {
    assert_eq!(count(&[1]).unwrap(), 1);
    assert_eq!(count(&[]).unwrap(), 0);
}
"""
_SHOWN = "assert.equal(show(1250), '12.50 (EUR');"
_POPPED = 'if _, ok := s.Pop(); ok {\n\t\tt.Fatal("there was {nothing")\n\t}'
_ADDED = "assert_eq!(total(&[1, 2]).unwrap(), 3);"
LESS = {
    "true": ("cart.test.js", _CART, _SHOWN, "assert.ok(true, 'shown');", _MORE),
    "a comment": ("cart.test.js", _CART, _SHOWN, f"// {_SHOWN}", _MORE),
    "a long comment": ("cart.test.ts", _CART, _SHOWN, f"/* {_SHOWN} */", _MORE),
    "a number with itself": ("cart.test.js", _CART, _SHOWN, "assert.equal(1, 1);", _MORE),
    "true is true": ("cart.test.js", _CART, _SHOWN, "expect(true).toBe(true);", _MORE),
    "never comes there": ("cart.test.js", _CART, _SHOWN, f"if (false) {_SHOWN}", _MORE),
    "one of two": ("cart.test.js", _CART, "  assert.equal(total([]), 0);\n", "", _MORE),
    "emptied": ("stack_test.go", _GO, _POPPED, "s.Pop()", _MORE_GO),
    "if false": ("stack_test.go", _GO, _POPPED, 'if false {\n\t\tt.Fatal("no")\n\t}', _MORE_GO),
    "a comment in Go": ("stack_test.go", _GO, 't.Fatal("there was {nothing")', "// t.Fatal()", _MORE_GO),
    "true in Rust": ("tests/a.rs", _RUST, _ADDED, "assert!(true);", _MORE_RUST),
    "called in Rust": ("tests/a.rs", _RUST, _ADDED, "total(&[1, 2]).unwrap();", _MORE_RUST),
}
AS_MUCH = {
    "more tests": ("cart.test.js", _CART, "", "", _MORE),
    "renamed": ("cart.test.js", _CART, "test('shows'", "test('shows euros'", _MORE),
    "moved into a test of its own": (
        "cart.test.js",
        _CART,
        "  assert.equal(total([]), 0);\n",
        "",
        "\ntest('nothing', () => {\n  assert.equal(total([]), 0);\n});\n",
    ),
    "a loop": (
        "cart.test.js",
        _CART,
        "  assert.equal(total([1, 2]), 3);\n  assert.equal(total([]), 0);\n",
        "  for (const [all, sum] of [[[1, 2], 3], [[], 0]]) assert.equal(total(all), sum);\n",
        _MORE,
    ),
    "a helper": ("cart.test.js", _CART, _SHOWN, "shows(1250, '12.50 (EUR');", _MORE),
    "other words": ("cart.test.js", _CART, _SHOWN, "expect(show(1250)).toBe('12.50 (EUR');", _MORE),
    "an apostrophe that ends nowhere": ("cart.test.jsx", _CART, _SHOWN, "render(<p>don't</p>);", _MORE),
    "a helper in Go": ("stack_test.go", _GO, _POPPED, "assertEmpty(t, s)", _MORE_GO),
    "a helper of a package": ("stack_test.go", _GO, _POPPED, "quicktest.Empty(t, s)", _MORE_GO),
    "a method as helper": ("stack_test.go", _GO, _POPPED, "s.mustBeEmpty(t)", _MORE_GO),
    "another way to unwrap": ("tests/a.rs", _RUST, _ADDED, "assert_eq!(total(&[1, 2]), Ok(3));", _MORE_RUST),
    "a brace": ("tests/a.rs", _RUST, _ADDED, "let brace = '{'; assert_eq!(total(&[1, 2])?, 3);", _MORE_RUST),
}


@pytest.mark.parametrize("name", LESS)
def test_a_test_that_states_less_is_found_beside_new_ones(name: str) -> None:
    path, before, old, new, more = LESS[name]
    assert old in before
    (found,) = weakenings(path, before, before.replace(old, new) + more)
    assert "asserts less than before" in str(found)
    assert found.line


@pytest.mark.parametrize("name", AS_MUCH)
def test_tests_that_state_as_much_are_left_alone(name: str) -> None:
    path, before, old, new, more = AS_MUCH[name]
    assert old in before
    assert weakenings(path, before, before.replace(old, new) + more) == ()


_HARNESS = """from pyflakes import messages as m
from pyflakes.test.harness import TestCase
from shop.helpers import roundtrip


class TestOther(TestCase):
    def test_duplicates(self):
        self.flakes("a, a = 1, 2", m.Redefined)

    def test_sum(self):
        self.assertEqual(total([1]), 1)
        self.assertEqual(total([]), 0)

    def test_words(self, compare=None):
        assert words(1) == "one"
"""
_IN_TEST_SUM = "        self.assertEqual(total([1]), 1)\n        self.assertEqual(total([]), 0)\n"
_ONE = 'assert words(1) == "one"'
_NEW = "\n    def test_new(self{more}):\n        {call}\n"
ELSEWHERE = {
    "a method of a base class": ("", "", _NEW.format(more="", call="self.flakes('print += 1')")),
    "an imported helper": ("", "", _NEW.format(more="", call="roundtrip([1])")),
    "a fixture that is called": ("", "", _NEW.format(more=", run_case", call="run_case('a')")),
    "a helper of one's own that uses the base's": (
        "",
        "",
        "\n    def clean(self, text):\n        self.flakes(text)\n" + _NEW.format(more="", call="self.clean('a')"),
    ),
    "assertions became calls of the base's": (
        _IN_TEST_SUM,
        "        self.sums([1], 1)\n        self.sums([], 0)\n",
        "",
    ),
    "an equality became an imported assertion": (_ONE, "assert_equal(words(1), 'one')", ""),
    "an equality became a helper of one's own": (
        _ONE,
        "spelled(1, 'one')",
        "\n\ndef spelled(number, word):\n    assert words(number) == word\n",
    ),
    "a setting up that is done elsewhere": (
        'self.flakes("a, a = 1, 2", m.Redefined)',
        "roundtrip('a')",
        "",
    ),
}
STILL_LESS = {
    "emptied": ('self.flakes("a, a = 1, 2", m.Redefined)', "pass", ""),
    "an assertion less beside a call that was there": (
        'self.flakes("a, a = 1, 2", m.Redefined)\n\n    def test_sum(self):\n' + _IN_TEST_SUM,
        'self.flakes("a, a = 1, 2", m.Redefined)\n\n    def test_sum(self):\n        total([1])\n',
        "",
    ),
    "an equality became one of unittest's that is none": (_ONE, "self.assertIsNotNone(words(1))", ""),
    "a new one that calls the code alone": ("", "", _NEW.format(more="", call="total([5])")),
    "a new one that calls what unittest has": ("", "", _NEW.format(more="", call="self.addCleanup(total)")),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_claimed_in_another_file_counts(name: str) -> None:
    old, new, more = ELSEWHERE[name]
    assert (
        weakenings("tests/test_other.py", _HARNESS, _HARNESS.replace(old, new) + more if old else _HARNESS + more) == ()
    )


@pytest.mark.parametrize("name", STILL_LESS)
def test_what_may_claim_elsewhere_excuses_no_more_than_it_can(name: str) -> None:
    old, new, more = STILL_LESS[name]
    assert old in _HARNESS
    assert weakenings("tests/test_other.py", _HARNESS, _HARNESS.replace(old, new) + more if old else _HARNESS + more)


def test_a_new_file_may_claim_by_a_base_class() -> None:
    text = "from {base} import TestCase\n\n\nclass T(TestCase):\n    def test_a(self):\n        self.flakes('a')\n"
    assert weakenings("tests/test_a.py", None, text.format(base="harness")) == ()
    assert weakenings("tests/test_a.py", None, text.format(base="unittest"))
