"""The repositories that cases begin with: as small as can be, one for each ecosystem and each state that matters."""

from collections.abc import Mapping

PRICING = '''"""What a basket costs, in cents."""

FREE_FROM = 5000


def total(prices, discount=0):
    """The sum of the prices, less a discount in percent."""
    return sum(prices)


def shipping(amount):
    """What sending costs: nothing from FREE_FROM on."""
    if amount > FREE_FROM:
        return 0
    return 490
'''
FIXED_TOTAL = PRICING.replace("return sum(prices)", "return sum(prices) * (100 - discount) // 100")
FIXED_SHIPPING = PRICING.replace("amount > FREE_FROM", "amount >= FREE_FROM")
TEST_PRICING = """import pytest

from pricing import shipping, total


def test_nothing_costs_nothing():
    assert total([]) == 0


def test_prices_add_up():
    assert total([100, 250]) == 350


@pytest.mark.parametrize(("amount", "cost"), [(0, 490), (300, 490), (6000, 0)])
def test_small_orders_pay_for_shipping(amount, cost):
    assert shipping(amount) == cost
"""
TEST_DISCOUNT = """

def test_a_discount_is_taken_off():
    assert total([1000, 1000], 10) == 1800
    assert total([999], 50) == 499
"""
RECEIPT = '''"""Receipts, as text."""

from pricing import shipping, total


def receipt(prices, discount=0):
    """A line for each price, and one for all."""
    amount = total(prices, discount)
    lines = [f"item {number}: {price}" for number, price in enumerate(prices, 1)]
    return "\\n".join([*lines, f"shipping: {shipping(amount)}", f"total: {amount + shipping(amount)}"])
'''
TEST_RECEIPT = """from receipt import receipt


def test_a_receipt_has_a_line_for_each_price():
    assert receipt([100, 250]) == "item 1: 100\\nitem 2: 250\\nshipping: 490\\ntotal: 840"
"""
SNAPSHOT = "item 1: 100\nitem 2: 250\nshipping: 490\ntotal: 840\n"
TEST_SNAPSHOT = """from pathlib import Path

from receipt import receipt


def test_a_receipt_looks_as_it_did():
    there = Path(__file__).parent / "snapshots" / "receipt.txt"
    assert receipt([100, 250]) + "\\n" == there.read_text()
"""
README = """# Shop

Prices and receipts of a small shop. How it is used stands in [the guide](docs/guide.md).

## Prices

All prices are in cents.
"""
GUIDE = """# Guide

```python
from pricing import total

total([100, 250])
```

## Discounts

A discount is a percentage. See [prices](../README.md#prices).
"""
PYTEST_SETTINGS = '[tool.pytest.ini_options]\npythonpath = ["."]\ntestpaths = ["tests"]\n'

PYTHON = {
    "pyproject.toml": PYTEST_SETTINGS,
    "pricing.py": PRICING,
    "receipt.py": RECEIPT,
    "tests/test_pricing.py": TEST_PRICING,
    "tests/test_receipt.py": TEST_RECEIPT,
    "tests/test_snapshot.py": TEST_SNAPSHOT,
    "tests/snapshots/receipt.txt": SNAPSHOT,
    "README.md": README,
    "docs/guide.md": GUIDE,
}

TEMPERATURE = '''"""Temperatures."""


def fahrenheit(celsius):
    """Degrees Fahrenheit."""
    return celsius * 9 / 5


def describe(celsius):
    """A word for it."""
    if celsius < 10:
        return "cold"
    if celsius < 25:
        return "mild"
    return "hot"
'''
FIXED_TEMPERATURE = TEMPERATURE.replace("* 9 / 5", "* 9 / 5 + 32")
TEST_TEMPERATURE = """import unittest

from temperature import describe, fahrenheit


class Words(unittest.TestCase):
    def test_words(self):
        self.assertEqual(describe(-3), "cold")
        self.assertEqual(describe(20), "mild")
        self.assertEqual(describe(31), "hot")


class Degrees(unittest.TestCase):
    def test_a_number_comes_back(self):
        self.assertIsInstance(fahrenheit(3), float)


if __name__ == "__main__":
    unittest.main()
"""
UNITTEST = {"temperature.py": TEMPERATURE, "tests/__init__.py": "", "tests/test_temperature.py": TEST_TEMPERATURE}

CART = """// A cart: what is in it, and what that costs in cents.

export function addItem(cart, name, price, count = 1) {
  return [...cart, { name, price, count }];
}

export function total(cart) {
  return cart.reduce((sum, item) => sum + item.price, 0);
}

export function format(cents) {
  return `${(cents / 100).toFixed(2)} EUR`;
}
"""
FIXED_CART = CART.replace("sum + item.price,", "sum + item.price * item.count,")
TEST_CART = """import assert from 'node:assert/strict';
import { test } from 'node:test';

import { addItem, format, total } from '../src/cart.js';

test('an empty cart costs nothing', () => {
  assert.equal(total([]), 0);
});

test('prices add up', () => {
  assert.equal(total(addItem(addItem([], 'tea', 300), 'jam', 450)), 750);
});

test('cents are shown as euros', () => {
  assert.equal(format(1250), '12.50 EUR');
});
"""
TEST_COUNT = """
test('a count multiplies', () => {
  assert.equal(total(addItem([], 'tea', 300, 3)), 900);
});
"""
PACKAGE = """{
  "name": "cart",
  "version": "1.0.0",
  "type": "module",
  "scripts": { "test": "node --test" }
}
"""
NODE = {"package.json": PACKAGE, "src/cart.js": CART, "test/cart.test.js": TEST_CART, "README.md": "# Cart\n"}

STACK = """// Package stack has a stack of numbers.
package stack

// Stack is last in, first out.
type Stack struct{ items []int }

// Push puts a number on top.
func (s *Stack) Push(n int) { s.items = append(s.items, n) }

// Len says how many there are.
func (s *Stack) Len() int { return len(s.items) }

// Pop takes the top off; false if there is nothing.
func (s *Stack) Pop() (int, bool) {
	if len(s.items) == 0 {
		return 0, false
	}
	top := s.items[0]
	s.items = s.items[1:]
	return top, true
}
"""
FIXED_STACK = STACK.replace("s.items[0]", "s.items[len(s.items)-1]").replace("s.items[1:]", "s.items[:len(s.items)-1]")
TEST_STACK = """package stack

import "testing"

func TestPushCounts(t *testing.T) {
	var s Stack
	s.Push(1)
	s.Push(2)
	if s.Len() != 2 {
		t.Fatalf("%d instead of 2", s.Len())
	}
}

func TestPopOfNothing(t *testing.T) {
	var s Stack
	if _, ok := s.Pop(); ok {
		t.Fatal("there was nothing to pop")
	}
}
"""
TEST_ORDER = """
func TestLastInFirstOut(t *testing.T) {
	var s Stack
	s.Push(1)
	s.Push(2)
	for _, want := range []int{2, 1} {
		if got, ok := s.Pop(); !ok || got != want {
			t.Errorf("%d instead of %d", got, want)
		}
	}
	if s.Len() != 0 {
		t.Errorf("%d are left", s.Len())
	}
}
"""
GO = {"go.mod": "module example.org/stack\n\ngo 1.22\n", "stack.go": STACK, "stack_test.go": TEST_STACK}

SLUG = """#!/bin/sh
# Makes a title into a part of an address.
printf '%s\\n' "$1" | tr 'A-Z ' 'a-z-'
"""
FIXED_SLUG = SLUG.replace("| tr 'A-Z ' 'a-z-'", "| tr 'A-Z' 'a-z' | tr -s ' ' '-'")
TEST_SLUG = """#!/bin/sh
set -eu

is() {
  got=$(sh slug.sh "$1")
  [ "$got" = "$2" ] || { echo "'$1': got '$got', not '$2'"; exit 1; }
}

is 'Hello' 'hello'
is 'Two Words' 'two-words'
"""
MAKEFILE = "test:\n\tsh tests/test_slug.sh\n"
MAKE = {"Makefile": MAKEFILE, "slug.sh": SLUG, "tests/test_slug.sh": TEST_SLUG}

RED = {
    **PYTHON,
    "tests/test_dates.py": """from dates import year


def test_the_year_comes_first():
    assert year("2024-05-01") == 2024


def test_two_digits_are_meant_for_this_century():
    assert year("24-05-01") == 2024
""",
    "dates.py": '"""Dates."""\n\n\ndef year(date):\n    """Its year."""\n    return int(date.partition("-")[0])\n',
}

SECOND_TIME = 'import os\n\n\ndef test_it_rains():\n    assert int(os.environ["TEST_RUN"]) % 2\n'
"""A test that fails each second time, see `NumberedRuns`."""
FIRST_TIME = SECOND_TIME.replace("% 2", "% 2 == 0")
"""A test that fails the first time and each second time after."""
FLAKY = {**PYTHON, "tests/test_weather.py": SECOND_TIME}

NO_TESTS = {"pricing.py": PRICING, "README.md": README.replace("[the guide](docs/guide.md)", "the code")}

SLOW = {
    **PYTHON,
    "tests/test_slow.py": "import time\n\n\ndef test_it_takes_its_time():\n    time.sleep(600)\n",
}

NO_SETUP = {**PYTHON, ".agentvine.toml": "[setup]\ncommand = \"echo 'no wheel for that' >&2; exit 3\"\n"}

WITH_SETUP = {**PYTHON, ".agentvine.toml": '[setup]\ncommand = "test -f receipt.py"\n'}

REPOSITORIES: Mapping[str, Mapping[str, str]] = {
    "python": PYTHON,
    "unittest": UNITTEST,
    "node": NODE,
    "go": GO,
    "make": MAKE,
    "red": RED,
    "flaky": FLAKY,
    "untested": NO_TESTS,
    "slow": SLOW,
    "no-setup": NO_SETUP,
    "with-setup": WITH_SETUP,
}

PROPOSALS: Mapping[str, Mapping[str, str]] = {
    "python": {
        "tax.py": '"""Taxes."""\n\n\ndef tax(amount, rate=19):\n    """The tax in an amount."""\n'
        "    return amount * rate / 119\n",
        "tests/test_tax.py": "from tax import tax\n\n\ndef test_tax():\n    assert tax(119) == 19\n",
    },
    "unittest": {"temperature.py": FIXED_TEMPERATURE},
}
"""What is proposed for review, on a branch beside the main one."""

ECOSYSTEMS: Mapping[str, str] = {
    "python": "Python",
    "unittest": "Python",
    "red": "Python",
    "flaky": "Python",
    "untested": "Python",
    "slow": "Python",
    "no-setup": "Python",
    "with-setup": "Python",
    "node": "Node.js",
    "go": "Go",
    "make": "make",
}
"""To which ecosystem each belongs."""
