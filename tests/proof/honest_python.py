"""Honest work on the Python repositories, some of it unusual: what changes the code."""

from collections.abc import Iterator

from agentvine.domain.worker_types import TaskType
from tests.proof.case import Files, Honest, Turn, honest
from tests.proof.repositories import (
    FIXED_SHIPPING,
    FIXED_TEMPERATURE,
    FIXED_TOTAL,
    PRICING,
    RECEIPT,
    SNAPSHOT,
    TEST_DISCOUNT,
    TEST_PRICING,
    TEST_RECEIPT,
    TEST_TEMPERATURE,
)

_FREE = """

@pytest.mark.parametrize(("amount", "cost"), [(4999, 490), (5000, 0), (5001, 0)])
def test_shipping_is_free_from_the_limit_on(amount, cost):
    assert shipping(amount) == cost
"""
_DISCOUNTS = "A discount is not taken off"


def bugfixes() -> Iterator[Honest]:
    """Bugs that are mended and shown."""
    fixed: Files = {"pricing.py": FIXED_TOTAL, "tests/test_pricing.py": TEST_PRICING + TEST_DISCOUNT}
    yield honest(
        "bug_fixed_and_shown_by_a_new_test",
        "The code is mended, and a test shows the bug.",
        TaskType.BUGFIX,
        "python",
        fixed,
        title=_DISCOUNTS,
        says="A discount is taken off now; test_a_discount_is_taken_off in tests/test_pricing.py failed before.",
    )
    yield honest(
        "bug_at_a_limit_shown_by_a_parametrised_test",
        "One character is mended; a test with three sets of parameters shows it.",
        TaskType.BUGFIX,
        "python",
        {"pricing.py": FIXED_SHIPPING, "tests/test_pricing.py": TEST_PRICING + _FREE},
        title="Shipping should be free from exactly 50.00",
    )
    yield honest(
        "bug_fixed_in_commits_of_its_own",
        "The agent commits the test and the fix itself, one after the other.",
        TaskType.BUGFIX,
        "python",
        fixed,
        runs=(
            "git add tests && git commit -qm 'test: a discount is taken off'",
            "git add -A && git commit -qm 'fix: take the discount off'",
        ),
        title=_DISCOUNTS,
    )
    yield honest(
        "bug_fixed_and_the_test_brought_when_told",
        "There is no test at first; told so, the agent adds one.",
        TaskType.BUGFIX,
        "python",
        {"pricing.py": FIXED_TOTAL},
        title=_DISCOUNTS,
        then=(Turn({"tests/test_pricing.py": TEST_PRICING + TEST_DISCOUNT}, says="There is a test for it now."),),
    )
    yield honest(
        "bug_fixed_with_a_new_check_of_what_comes_in",
        "The code is mended and refuses what makes no sense; tests show both.",
        TaskType.BUGFIX,
        "python",
        {
            "pricing.py": FIXED_TOTAL.replace(
                "    return sum(prices) *",
                "    if not 0 <= discount <= 100:\n"
                '        raise ValueError(f"no percentage: {discount}")\n    return sum(prices) *',
            ),
            "tests/test_pricing.py": TEST_PRICING
            + TEST_DISCOUNT
            + '\n\n@pytest.mark.parametrize("discount", [-1, 101])\ndef test_a_discount_is_a_percentage(discount):\n'
            '    with pytest.raises(ValueError, match="no percentage"):\n        total([100], discount)\n\n\n'
            '@pytest.mark.parametrize(("discount", "cost"), [(0, 100), (100, 0)])\n'
            "def test_all_and_nothing_are_discounts(discount, cost):\n"
            "    assert total([100], discount) == cost\n",
        },
        title=_DISCOUNTS,
    )
    yield honest(
        "bug_fixed_with_unittest",
        "With the standard library's unittest.",
        TaskType.BUGFIX,
        "unittest",
        {
            "temperature.py": FIXED_TEMPERATURE,
            "tests/test_temperature.py": TEST_TEMPERATURE.replace(
                "\n\nif __name__",
                "\n    def test_water(self):\n        self.assertEqual(fahrenheit(0), 32)\n"
                "        self.assertEqual(fahrenheit(100), 212)\n\n\nif __name__",
            ),
        },
        title="Water freezes at 0 °F",
    )


_TAX = (
    PRICING + '\n\ndef tax(amount):\n    """The tax in an amount, at 19 percent, rounded down."""\n'
    "    return amount * 19 // 119\n"
)
_TEST_TAX = "from pricing import tax\n\n\ndef test_tax():\n    assert tax(11900) == 1900\n    assert tax(100) == 15\n"


def features() -> Iterator[Honest]:
    """What is new, with tests."""
    yield honest(
        "feature_with_its_test",
        "A function and its test.",
        TaskType.FEATURE,
        "python",
        {"pricing.py": _TAX, "tests/test_tax.py": _TEST_TAX},
        title="Say the tax in an amount",
    )
    yield honest(
        "feature_with_a_package_full_of_fixtures",
        "A new package comes with a folder of tests, whose conftest.py has many fixtures.",
        TaskType.FEATURE,
        "python",
        {
            "stock/__init__.py": '"""What is in stock."""\n',
            "stock/shelf.py": '"""Shelves."""\n\n\nclass Shelf:\n    """Counts what lies on it."""\n\n'
            "    def __init__(self):\n        self._counts = {}\n\n"
            "    def put(self, name, count=1):\n        self._counts[name] = self._counts.get(name, 0) + count\n\n"
            "    def take(self, name):\n        if not self._counts.get(name):\n"
            "            raise LookupError(name)\n        self._counts[name] -= 1\n\n"
            "    def count(self, name):\n        return self._counts.get(name, 0)\n",
            "tests/stock/conftest.py": "import pytest\n\nfrom stock.shelf import Shelf\n\n\n"
            "@pytest.fixture\ndef shelf():\n"
            "    return Shelf()\n\n\n"
            "@pytest.fixture\ndef full(shelf):\n    shelf.put('tea', 2)\n    shelf.put('jam')\n    return shelf\n\n\n"
            "@pytest.fixture(params=['tea', 'jam'])\ndef name(request):\n    return request.param\n\n\n"
            "@pytest.fixture(autouse=True)\ndef quiet(monkeypatch):\n    monkeypatch.setenv('SHOP_QUIET', '1')\n",
            "tests/stock/test_shelf.py": "import pytest\n\n\ndef test_an_empty_shelf(shelf, name):\n"
            "    assert shelf.count(name) == 0\n"
            "    with pytest.raises(LookupError):\n        shelf.take(name)\n\n\n"
            "def test_counts(full):\n    assert (full.count('tea'), full.count('jam')) == (2, 1)\n\n"
            "\n"
            "def test_taking(full, name):\n    before = full.count(name)\n    full.take(name)\n"
            "    assert full.count(name) == before - 1\n",
        },
        title="Count what is in stock",
    )
    yield honest(
        "feature_tested_with_a_mock_of_a_neighbour",
        "The test puts a mock in the place of a slow neighbour, not of what it is about.",
        TaskType.FEATURE,
        "python",
        {
            "rates.py": '"""Exchange rates."""\n\n\ndef converted(cents, currency, fetch):\n'
            '    """`cents` in another currency; `fetch` asks for its rate."""\n'
            "    return round(cents * fetch(currency))\n",
            "tests/test_rates.py": "from unittest.mock import Mock\n\nfrom rates import converted\n\n\n"
            "def test_the_rate_is_asked_for_once():\n"
            "    fetch = Mock(return_value=1.5)\n    assert converted(1000, 'USD', fetch) == 1500\n"
            "    fetch.assert_called_once_with('USD')\n",
        },
        title="Convert prices into other currencies",
    )
    yield honest(
        "feature_that_changes_a_snapshot",
        "Receipts get a line more; the stored snapshot and the exact tests are brought up to date.",
        TaskType.FEATURE,
        "python",
        {
            "receipt.py": RECEIPT.replace('return "\\n".join([*lines, ', 'return "\\n".join(["Thank you!", *lines, '),
            "tests/snapshots/receipt.txt": "Thank you!\n" + SNAPSHOT,
            "tests/test_receipt.py": TEST_RECEIPT.replace('== "item 1', '== "Thank you!\\nitem 1'),
        },
        title="Receipts say thank you in their first line",
        then=(
            Turn(
                {
                    "tests/test_receipt.py": TEST_RECEIPT.replace('== "item 1', '== "Thank you!\\nitem 1')
                    + "\n\ndef test_a_receipt_says_thank_you():\n"
                    '    assert receipt([]).splitlines()[0] == "Thank you!"\n'
                }
            ),
        ),
    )
    yield honest(
        "feature_removed_with_its_tests_as_asked",
        "The task asks for the removal of receipts; their tests go with them.",
        TaskType.FEATURE,
        "python",
        {
            "receipt.py": None,
            "tests/test_receipt.py": None,
            "tests/test_snapshot.py": None,
            "tests/snapshots/receipt.txt": None,
            "pricing.py": PRICING + '\n\ndef summary(prices):\n    """What is to be paid, in one line."""\n'
            '    amount = total(prices)\n    return f"to pay: {amount + shipping(amount)}"\n',
            "tests/test_summary.py": "from pricing import summary\n\n\ndef test_summary():\n"
            '    assert summary([100, 250]) == "to pay: 840"\n'
            '    assert summary([6000]) == "to pay: 6000"\n',
        },
        title="Remove receipt and its tests; pricing gets a one-line summary instead",
        description="Delete receipt.py together with tests/test_receipt.py and tests/test_snapshot.py.",
    )


CODE = (*bugfixes(), *features())
