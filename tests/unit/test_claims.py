"""What is plainly untrue in a final message is found; what may be meant otherwise is not."""

import pytest

from agentvine.worker.verification.claims import Facts, contradictions, named_commits

FACTS = Facts(
    changed=("src/shop/price.py", "tests/test_price.py"),
    files=("src/shop/price.py", "src/shop/basket.py", "tests/test_price.py", "tests/test_basket.py", "README.md"),
    tests=("tests/test_price.py::test_a", "tests/test_price.py::test_discount", "tests/test_basket.py::test_b"),
    in_changed_files=2,
    texts=("def test_a(): ...\ndef test_discount(): ...\n",),
)
RED = Facts(FACTS.changed, FACTS.files, FACTS.tests, failing=("tests/test_basket.py::test_b",), in_changed_files=2)
ALTERED = Facts(FACTS.changed, FACTS.files, FACTS.tests, altered_tests=("tests/test_price.py",), in_changed_files=2)
UNTRUE = {
    "a file of tests that there is not": "I added tests in `tests/test_discount.py`.",
    "in a list": "## Changes\n- Added regression tests to tests/test_discounts.py\n",
    "created": "Created `src/shop/discount.py` with the new function.",
    "wrote": "I wrote a new test file tests/test_more.py for it.",
    "updated what it did not": "I updated `README.md` accordingly.",
    "modified what it did not": "Modified src/shop/basket.py to round down.",
    "fixed what it did not": "Fixed `src/shop/basket.py`.",
    "added tests to what it left": "I added two tests to `tests/test_basket.py`.",
    "a test that there is not": "I added `test_discount_of_everything`.",
    "a regression test that there is not": "Added a regression test `test_rounding()` too.",
    "more tests than there are": "All 12 tests pass.",
    "more passed than there are": "The run ended with 47 passed.",
    "more new tests than there are": "I added 5 new tests.",
    "only one file": "I only changed `src/shop/price.py`.",
    "only one file, said otherwise": "Only `tests/test_price.py` was changed.",
    "no code": "No source code was changed.",
    "only tests": "Only the tests were changed.",
}
TRUE = {
    "nothing": "",
    "short": "Done; all tests pass.",
    "what was done": "I updated `src/shop/price.py` and added tests in `tests/test_price.py`. All 3 tests pass.",
    "without folders": "Fixed `price.py`; added tests to `test_price.py`.",
    "with a dot": "Updated ./src/shop/price.py.",
    "fewer tests": "I ran the tests of prices: 2 passed.",
    "not done": "I did not update `README.md`.",
    "not needed": "There was no need to create `src/shop/discount.py`.",
    "a wish": "You may want to add tests in `tests/test_basket_totals.py`.",
    "a condition": "If you want, I updated `README.md`.",
    "what was there": "The bug was in `src/shop/basket.py`, which called the changed function.",
    "a part of a file": "I updated `README.md`'s example? No, it is right as it is.",
    "reverted": "I changed `README.md` and reverted that.",
    "in a block": "```\n47 passed, created tests/test_x.py\n```\nDone.",
    "quoted": "> I added tests in tests/test_x.py\n\nThat was asked for; it is in tests/test_price.py.",
    "a question": "Should I have created `tests/test_x.py`?",
    "both files": "I only changed `src/shop/price.py` and `tests/test_price.py`.",
    "a name in use": "I added `test_discount` to the tests.",
    "a function": "I added `discount()` to `src/shop/price.py`.",
    "a number of something else": "It handles 500 tests cases of prices per second.",
    "outside": "I wrote my notes to /tmp/notes.md.",
    "a moved file": "I moved `tests/test_old.py` to `tests/test_price.py`.",
    "as before": "As in `src/shop/basket.py`, the amount is rounded.",
}


@pytest.mark.parametrize("name", UNTRUE)
def test_what_a_message_claims_against_the_facts_is_found(name: str) -> None:
    assert contradictions(UNTRUE[name], FACTS), name


@pytest.mark.parametrize("name", TRUE)
def test_what_is_true_or_claims_nothing_passes(name: str) -> None:
    assert contradictions(TRUE[name], FACTS) == (), name


@pytest.mark.parametrize(
    "said",
    [
        "All tests pass.",
        "All tests now pass!",
        "Every test passes.",
        "The full test suite passes.",
        "All tests are green.",
    ],
)
def test_green_while_red(said: str) -> None:
    (told,) = contradictions(said, RED)
    assert "1 fail: tests/test_basket.py::test_b" in told
    assert contradictions(said, FACTS) == ()


@pytest.mark.parametrize(
    "said", ["All new tests pass.", "All tests pass except test_b, which failed before.", "The tests for prices pass."]
)
def test_not_all_is_not_all(said: str) -> None:
    assert contradictions(said, RED) == ()


def test_tests_that_were_touched() -> None:
    assert contradictions("No existing tests were modified.", ALTERED)
    assert contradictions("No existing tests were modified.", FACTS) == ()


def test_where_tests_have_no_names_nothing_is_said_of_their_number() -> None:
    assert contradictions("All 12 tests pass.", Facts(FACTS.changed, FACTS.files)) == ()


def test_what_is_told_is_what_was_said() -> None:
    (told,) = contradictions("Fine. I **added tests** in `tests/test_discount.py`. Bye.", FACTS)
    assert (
        told
        == "you wrote “I added tests in `tests/test_discount.py`.”, but the result has no file tests/test_discount.py"
    )


def test_commits_that_a_message_names_are_read_out_of_it() -> None:
    assert list(named_commits("Committed as `9b1deb4d3b`.")) == ["9b1deb4d3b"]
    assert list(named_commits("Fixed in commit 4f2a9c1 (fix: take it off).")) == ["4f2a9c1"]
    assert named_commits("The commit 1234567 things; committed defaced words; not committed as 9b1deb4.") == {}
    assert named_commits("I did not commit 4f2a9c1.") == {}
