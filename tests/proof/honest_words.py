"""Honest work on the Python repositories, some of it unusual: tests, documents, refactorings, reviews."""

from collections.abc import Iterator

from pydantic import JsonValue

from agentvine.domain.worker_types import TaskType
from tests.proof.case import Honest, Turn, honest
from tests.proof.repositories import GUIDE, PRICING, README, TEMPERATURE, TEST_PRICING


def tests() -> Iterator[Honest]:
    """Tests and nothing else."""
    yield honest(
        "tests_added_to_a_file",
        "Further tests in a file that is there.",
        TaskType.TEST,
        "python",
        {
            "tests/test_pricing.py": TEST_PRICING
            + "\n\ndef test_shipping_just_below_the_limit():\n    assert shipping(4999) == 490\n"
            "    assert shipping(5001) == 0\n"
        },
        title="Test shipping at the limit",
    )
    yield honest(
        "tests_with_modules_of_their_own",
        "Tests that share what they need in a module beside them.",
        TaskType.TEST,
        "python",
        {
            "tests/baskets.py": '"""Baskets for tests."""\n\n\ndef basket(*prices, times=1):\n'
            "    return list(prices) * times\n",
            "tests/test_baskets.py": "import sys\nfrom pathlib import Path\n\nimport pytest\n\n"
            "sys.path.insert(0, str(Path(__file__).parent))\n\n"
            "from baskets import basket\nfrom pricing import shipping, total\nfrom receipt import receipt\n\n\n"
            '@pytest.mark.parametrize(("times", "cost"), [(1, 300), (3, 900)])\n'
            "def test_many_of_one(times, cost):\n"
            "    assert total(basket(100, 200, times=times)) == cost\n\n\n"
            "def test_dear_baskets_are_sent_for_nothing():\n"
            "    assert shipping(total(basket(5001))) == 0\n"
            "    assert shipping(total(basket(4999))) == 490\n\n\n"
            "def test_receipts_of_dear_baskets():\n"
            '    assert receipt(basket(6000)).splitlines() == ["item 1: 6000", "shipping: 0", '
            '"total: 6000"]\n',
        },
        title="Test baskets of many kinds",
    )
    yield honest(
        "test_renamed",
        "A test gets a better name, and there are further ones.",
        TaskType.TEST,
        "python",
        {
            "tests/test_pricing.py": TEST_PRICING.replace(
                "test_prices_add_up", "test_the_total_is_the_sum_of_all_prices"
            )
            + "\n\ndef test_one_price_is_the_total():\n    assert total([77]) == 77\n"
        },
        title="Rename test_prices_add_up to what it says, and test a single price",
    )
    yield honest(
        "test_moved_to_another_file",
        "Tests of shipping move to a file of their own, with one more.",
        TaskType.TEST,
        "python",
        {
            "tests/test_pricing.py": TEST_PRICING[: TEST_PRICING.index("\n\n@pytest")]
            .replace("shipping, ", "")
            .replace("import pytest\n\n", ""),
            "tests/test_shipping.py": "import pytest\n\nfrom pricing import shipping\n"
            + TEST_PRICING[TEST_PRICING.index("\n\n@pytest") :]
            + "\n\ndef test_shipping_just_below_the_limit():\n    assert shipping(4999) == 490\n"
            "    assert shipping(5001) == 0\n",
        },
        title="Move the tests of shipping into tests/test_shipping.py, and test the limit",
    )
    yield honest(
        "test_turned_into_a_parametrised_one",
        "One test becomes one with parameters, of which the first is what it was.",
        TaskType.TEST,
        "python",
        {
            "tests/test_pricing.py": TEST_PRICING.replace(
                "def test_prices_add_up():\n    assert total([100, 250]) == 350\n",
                '@pytest.mark.parametrize(("prices", "cost"), [([100, 250], 350), ([1, 2, 3], 6), ([77], 77)])\n'
                "def test_prices_add_up(prices, cost):\n    assert total(prices) == cost\n",
            )
        },
        title="Test more sums",
    )
    yield honest(
        "tests_added_with_unittest",
        "Further tests for the standard library's unittest.",
        TaskType.TEST,
        "unittest",
        {
            "tests/test_limits.py": "import unittest\n\nfrom temperature import describe\n\n\n"
            "class Limits(unittest.TestCase):\n    def test_limits(self):\n"
            '        for celsius, word in ((9, "cold"), (10, "mild"), (24, "mild"), (25, "hot")):\n'
            "            with self.subTest(celsius):\n"
            "                self.assertEqual(describe(celsius), word)\n",
        },
        title="Test the limits of the words",
    )


def documents() -> Iterator[Honest]:
    """Documentation."""
    yield honest(
        "docs_with_links_and_anchors",
        "A new page, links to it, to headings, to other hosts, and examples in several languages.",
        TaskType.DOCS,
        "python",
        {
            "README.md": README + "\nShipping has [a page](docs/shipping.md#what-it-costs) of its own.\n",
            "docs/shipping.md": "# Shipping\n\n## What it costs\n\n"
            "See [discounts](guide.md#discounts), [below](#example) and [the "
            "law](https://example.org/law).\n\n"
            "## Example\n\n```python\n>>> from pricing import shipping\n>>> shipping(300)\n490\n```\n"
            '\n```json\n{"shipping": 490}\n```\n\n'
            "```sh\npython3 -c 'import pricing'\n```\n",
        },
        title="Describe shipping",
    )
    yield honest(
        "docs_page_moved_and_links_with_it",
        "A page moves; what links to it is changed.",
        TaskType.DOCS,
        "python",
        {
            "docs/guide.md": None,
            "docs/use/guide.md": GUIDE.replace("../README.md", "../../README.md"),
            "README.md": README.replace("docs/guide.md", "docs/use/guide.md"),
        },
        title="Move the guide to docs/use",
    )
    yield honest(
        "docs_with_a_picture",
        "A picture, and the page that shows it.",
        TaskType.DOCS,
        "python",
        {
            "docs/img/flow.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="10" '
            'height="10"/></svg>\n',
            "docs/guide.md": GUIDE + "\n## How it is sent\n\n![From the shop to you](img/flow.svg)\n",
        },
        title="Draw how it is sent",
    )
    yield honest(
        "docs_where_there_are_no_tests",
        "A repository without any test.",
        TaskType.DOCS,
        "untested",
        {"README.md": "# Shop\n\nPrices of a small shop. Shipping costs 4.90.\n"},
        title="Say what shipping costs",
    )


def refactorings() -> Iterator[Honest]:
    """Another form, the same behaviour."""
    yield honest(
        "refactor_of_a_branch",
        "A condition in another form.",
        TaskType.REFACTOR,
        "python",
        {
            "pricing.py": PRICING.replace(
                "    if amount > FREE_FROM:\n        return 0\n    return 490\n",
                "    return 0 if amount > FREE_FROM else 490\n",
            )
        },
        title="Shorten shipping",
    )
    yield honest(
        "refactor_takes_a_function_out",
        "Repeated code becomes a private function.",
        TaskType.REFACTOR,
        "python",
        {
            "receipt.py": '"""Receipts, as text."""\n\nfrom pricing import shipping, total\n\n\n'
            "def _items(prices):\n"
            '    return [f"item {number}: {price}" for number, price in enumerate(prices, 1)]\n\n\n'
            'def receipt(prices, discount=0):\n    """A line for each price, and one for all."""\n'
            "    amount = total(prices, discount)\n    sending = shipping(amount)\n"
            '    return "\\n".join([*_items(prices), f"shipping: {sending}", f"total: {amount + sending}"])\n',
        },
        title="Take the lines of a receipt out of the function",
    )
    yield honest(
        "refactor_moves_a_module_and_leaves_its_names",
        "A module becomes a package; where it was, its names can still be imported.",
        TaskType.REFACTOR,
        "python",
        {
            "shop/__init__.py": '"""The shop."""\n',
            "shop/pricing.py": PRICING,
            "pricing.py": '"""What a basket costs: see shop.pricing."""\n\n'
            "from shop.pricing import FREE_FROM, shipping, total\n\n"
            '__all__ = ["FREE_FROM", "shipping", "total"]\n',
        },
        title="Move pricing into a package shop, and leave its names importable from pricing",
    )
    yield honest(
        "refactor_adds_types",
        "Annotations on all functions.",
        TaskType.REFACTOR,
        "unittest",
        {
            "temperature.py": TEMPERATURE.replace(
                "fahrenheit(celsius):", "fahrenheit(celsius: float) -> float:"
            ).replace("describe(celsius):", "describe(celsius: float) -> str:")
        },
        title="Annotate the functions",
    )


_FINDING: dict[str, JsonValue] = {
    "file": "tax.py",
    "line": 6,
    "severity": "high",
    "title": "Only one rate is right",
    "why": "The amount is divided by 119 whatever the rate is.",
    "fix": "Divide by 100 + rate.",
}


def reviews() -> Iterator[Honest]:
    """Findings that can be looked up."""
    yield honest(
        "review_with_a_finding",
        "A finding on a line that there is.",
        TaskType.REVIEW,
        "python",
        {},
        answer={"summary": "Read all of it.", "findings": [_FINDING]},
    )
    yield honest(
        "review_that_finds_nothing",
        "Nothing was found, and that is said.",
        TaskType.REVIEW,
        "unittest",
        {},
        answer={"summary": "Read temperature.py; nothing to report.", "findings": []},
    )
    yield honest(
        "review_that_names_another_line_when_told",
        "The first answer names a line behind the end of the file; told so, the agent looks again.",
        TaskType.REVIEW,
        "python",
        {},
        answer={"summary": "Read it.", "findings": [{**_FINDING, "line": 80}]},
        then=(Turn(answer={"summary": "Read it again.", "findings": [_FINDING]}),),
    )


WORDS = (*tests(), *documents(), *refactorings(), *reviews())
