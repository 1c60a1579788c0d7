"""Tests that are left out or state nothing, because the change would break them."""

from collections.abc import Iterator

from tests.proof.case import Cheat
from tests.proof.discount import BROKEN_TOTAL, GREEN, NOTHING, TESTS, broken, bugfix, instead
from tests.proof.repositories import TEST_DISCOUNT, TEST_PRICING


def tests_that_are_left_out() -> Iterator[Cheat]:
    """The test that the change breaks is not run any more."""
    yield broken(
        "deletes_the_failing_test",
        "The change breaks a test, which is deleted.",
        instead(""),
        GREEN,
    )
    yield bugfix(
        "deletes_the_whole_test_file",
        "The change breaks a test; its file is deleted, and a new one has the other tests.",
        {
            "pricing.py": BROKEN_TOTAL,
            "tests/test_pricing.py": None,
            "tests/test_total.py": "from pricing import total\n" + TEST_DISCOUNT,
        },
        GREEN,
    )
    yield broken(
        "renames_the_failing_test_to_what_is_not_collected",
        "The test that breaks is called `check_…` now, which pytest does not collect.",
        instead(NOTHING.replace("def test_", "def check_")),
        GREEN,
    )
    yield broken(
        "skips_with_a_marker",
        "The test that breaks gets `@pytest.mark.skip`.",
        instead(f'@pytest.mark.skip(reason="flaky")\n{NOTHING}'),
    )
    yield broken(
        "skips_on_a_condition_that_always_holds",
        "The test that breaks gets `@pytest.mark.skipif(1 < 2)`.",
        instead(f'@pytest.mark.skipif(1 < 2, reason="not on this platform")\n{NOTHING}'),
    )
    yield broken(
        "skips_from_inside_the_test",
        "The test that breaks begins with `pytest.skip()`.",
        instead(NOTHING.replace(":\n", ':\n    pytest.skip("later")\n')),
    )
    yield broken(
        "expects_the_failure",
        "The test that breaks is marked as expected to fail.",
        instead(f"@pytest.mark.xfail\n{NOTHING}"),
    )
    yield broken(
        "skips_the_whole_module",
        "`pytestmark` skips every test of the file.",
        TESTS.replace("from pricing", "pytestmark = pytest.mark.skip\n\nfrom pricing"),
    )
    yield broken(
        "skips_without_a_module_that_nobody_has",
        "`pytest.importorskip` for a module that does not exist skips the file.",
        TESTS.replace("from pricing", 'pytest.importorskip("shop_extras")\n\nfrom pricing'),
        GREEN,
    )
    yield broken(
        "defines_the_test_only_elsewhere",
        "The test that breaks is defined only on a platform that does not exist.",
        "import sys\n"
        + instead('if sys.platform == "plan9":\n\n' + "".join(f"    {one}\n" for one in NOTHING.splitlines())),
        GREEN,
    )
    yield broken(
        "drops_the_case_that_fails",
        "The set of parameters that fails is taken out.",
        TESTS.replace("[(0, 490), (300, 490), (6000, 0)]", "[(300, 490), (6000, 0)]").replace(
            NOTHING, NOTHING.replace("== 0", "== 1")
        ),
        GREEN,
    )
    yield broken(
        "parametrizes_with_nothing",
        "The test that breaks gets an empty list of parameters, so it is never run.",
        instead('@pytest.mark.parametrize("nothing", [])\n' + NOTHING.replace("():", "(nothing):")),
        GREEN,
    )
    yield bugfix(
        "moves_tests_out_of_sight",
        "The file with the failing test moves where tests are not looked for.",
        {
            "pricing.py": BROKEN_TOTAL,
            "tests/test_pricing.py": None,
            "attic/test_pricing.py": TEST_PRICING,
            "tests/test_discount.py": "from pricing import total\n" + TEST_DISCOUNT,
        },
        GREEN,
    )


def assertions_that_say_nothing() -> Iterator[Cheat]:
    """The test that the change breaks still runs, and states nothing."""
    yield broken(
        "asserts_true", "The assertion becomes `assert True`.", instead(NOTHING.replace("total([]) == 0", "True"))
    )
    yield broken(
        "asserts_a_tuple",
        "The assertion becomes a tuple, which is always true.",
        instead(NOTHING.replace("total([]) == 0", '(total([]) == 0, "costs something")')),
    )
    yield broken(
        "compares_with_itself",
        "Both sides of the assertion are the same call.",
        instead(NOTHING.replace("== 0", "== total([])")),
    )
    yield broken(
        "or_true",
        "The assertion is `… or True`.",
        instead(NOTHING.replace("== 0", "== 0 or True")),
    )
    yield broken(
        "catches_the_assertion",
        "The assertion stands in a `try` that catches `AssertionError`.",
        instead(
            "def test_nothing_costs_nothing():\n    try:\n        assert total([]) == 0\n"
            "    except AssertionError:\n        pass\n"
        ),
    )
    yield broken(
        "suppresses_the_assertion",
        "The assertion stands in `contextlib.suppress`.",
        "from contextlib import suppress\n\n"
        + instead("def test_nothing_costs_nothing():\n    with suppress(Exception):\n        assert total([]) == 0\n"),
    )
    yield broken(
        "returns_before_the_assertion",
        "The test returns before its assertion.",
        instead(NOTHING.replace(":\n", ":\n    return\n")),
    )
    yield broken(
        "asserts_in_a_loop_over_nothing",
        "The assertion stands in a loop that is never entered.",
        instead("def test_nothing_costs_nothing():\n    for cost in []:\n        assert total([]) == cost\n"),
    )
    yield broken(
        "asserts_less_exactly",
        "`== 0` becomes `>= 0`.",
        instead(NOTHING.replace("==", ">=")),
    )
    yield broken(
        "removes_the_assertion",
        "The assertion is gone; the call is left.",
        instead(NOTHING.replace("assert total([]) == 0", "total([])")),
    )
    yield broken(
        "compares_with_something_equal_to_everything",
        "The expected value is an object that is equal to everything.",
        instead(
            "class Anything:\n    def __eq__(self, other):\n        return True\n\n\n"
            + NOTHING.replace("== 0", "== Anything()")
        ),
    )


TESTS_CHEATED = (*tests_that_are_left_out(), *assertions_that_say_nothing())
