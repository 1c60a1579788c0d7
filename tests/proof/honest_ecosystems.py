"""Honest work in other ecosystems: Node.js, Go, make."""

from collections.abc import Iterator

from agentvine.domain.worker_types import TaskType
from tests.proof.case import Honest, honest
from tests.proof.repositories import (
    CART,
    FIXED_CART,
    FIXED_SLUG,
    FIXED_STACK,
    STACK,
    TEST_CART,
    TEST_COUNT,
    TEST_ORDER,
    TEST_SLUG,
    TEST_STACK,
)


def node() -> Iterator[Honest]:
    """With node --test."""
    yield honest(
        "node_bug_fixed",
        "The code is mended, and a test shows the bug.",
        TaskType.BUGFIX,
        "node",
        {"src/cart.js": FIXED_CART, "test/cart.test.js": TEST_CART + TEST_COUNT},
        title="The count of an item is ignored",
    )
    yield honest(
        "node_feature_in_a_module_of_its_own",
        "A module and its tests, in a suite.",
        TaskType.FEATURE,
        "node",
        {
            "src/coupon.js": "// Coupons.\n\nexport function redeem(cents, percent) {\n"
            "  if (percent < 0 || percent > 100) throw new RangeError(`no percentage: ${percent}`);\n"
            "  return Math.floor((cents * (100 - percent)) / 100);\n}\n",
            "test/coupon.test.js": "import assert from 'node:assert/strict';\n"
            "import { describe, it } from 'node:test';\n\n"
            "import { redeem } from '../src/coupon.js';\n\n"
            "describe('coupons', () => {\n  it('take a percentage off', () => {\n"
            "    assert.equal(redeem(999, 50), 499);\n    assert.equal(redeem(200, 0), 200);\n"
            "    assert.equal(redeem(200, 100), 0);\n  });\n\n"
            "  it('refuse what is none', () => {\n"
            "    assert.throws(() => redeem(1, 101), RangeError);\n"
            "    assert.throws(() => redeem(1, -1), RangeError);\n  });\n});\n",
        },
        title="Add coupons",
    )
    yield honest(
        "node_tests_added",
        "Further tests.",
        TaskType.TEST,
        "node",
        {
            "test/format.test.js": "import assert from 'node:assert/strict';\nimport { test } from 'node:test';\n\n"
            "import { addItem, format } from '../src/cart.js';\n\n"
            "test('less than an euro', () => {\n  assert.equal(format(5), '0.05 EUR');\n"
            "  assert.equal(format(0), '0.00 EUR');\n});\n\n"
            "test('adding leaves the old cart alone', () => {\n  const cart = [];\n"
            "  assert.deepEqual(addItem(cart, 'tea', 300), [{ name: 'tea', price: 300, count: 1 "
            "}]);\n  assert.equal(cart.length, 0);\n});\n",
        },
        title="Test how prices are shown",
    )
    yield honest(
        "node_refactor",
        "Another form of the same.",
        TaskType.REFACTOR,
        "node",
        {
            "src/cart.js": CART.replace(
                "  return cart.reduce((sum, item) => sum + item.price, 0);\n",
                "  let sum = 0;\n  for (const { price } of cart) sum += price;\n  return sum;\n",
            )
        },
        title="Write total as a loop",
    )
    yield honest(
        "node_docs",
        "A README with an example.",
        TaskType.DOCS,
        "node",
        {
            "README.md": "# Cart\n\n```js\nimport { total } from './src/cart.js';\n\ntotal([]);\n```\n\n"
            "See [the source](src/cart.js).\n"
        },
        title="Show how it is used",
    )


def go() -> Iterator[Honest]:
    """With go test."""
    yield honest(
        "go_bug_fixed",
        "The code is mended, and a test shows the bug.",
        TaskType.BUGFIX,
        "go",
        {"stack.go": FIXED_STACK, "stack_test.go": TEST_STACK + TEST_ORDER},
        title="The wrong end is popped",
    )
    yield honest(
        "go_feature_with_a_table_of_cases",
        "A method, tested by a table with subtests.",
        TaskType.FEATURE,
        "go",
        {
            "sum.go": "package stack\n\n// Sum adds all numbers up.\nfunc (s *Stack) Sum() int {\n\tsum := 0\n"
            "\tfor _, n := range s.items {\n\t\tsum += n\n\t}\n\treturn sum\n}\n",
            "sum_test.go": 'package stack\n\nimport "testing"\n\nfunc TestSum(t *testing.T) {\n'
            "\tcases := map[string]struct {\n\t\tnumbers []int\n\t\twant    int\n\t}{\n"
            '\t\t"nothing": {nil, 0},\n\t\t"one":     {[]int{7}, 7},\n'
            '\t\t"many":    {[]int{1, 2, -5}, -2},\n\t}\n\tfor name, c := range cases {\n'
            "\t\tt.Run(name, func(t *testing.T) {\n"
            "\t\t\tvar s Stack\n\t\t\tfor _, n := range c.numbers {\n\t\t\t\ts.Push(n)\n\t\t\t}\n"
            "\t\t\tif got := s.Sum(); got != c.want {\n"
            '\t\t\t\tt.Errorf("%d instead of %d", got, c.want)\n\t\t\t}\n\t\t})\n\t}\n}\n',
        },
        title="Add the numbers up",
    )
    yield honest(
        "go_tests_added",
        "A further test.",
        TaskType.TEST,
        "go",
        {
            "pop_test.go": 'package stack\n\nimport "testing"\n\nfunc TestPopTakesOneAway(t *testing.T) {\n'
            "\tvar s Stack\n\ts.Push(4)\n\tif got, ok := s.Pop(); !ok || got != 4 {\n"
            '\t\tt.Fatalf("got %d, %v", got, ok)\n\t}\n\tif s.Len() != 0 {\n'
            '\t\tt.Fatalf("%d are left", s.Len())\n\t}\n}\n',
        },
        title="Test pop",
    )
    yield honest(
        "go_refactor",
        "Another form of the same.",
        TaskType.REFACTOR,
        "go",
        {"stack.go": STACK.replace("\tif len(s.items) == 0 {", "\tif s.Len() == 0 {")},
        title="Use Len",
    )


_TEST_SPACES = TEST_SLUG + "is 'Two  Spaces' 'two-spaces'\n"


def make() -> Iterator[Honest]:
    """With make, which names no tests."""
    yield honest(
        "make_bug_fixed",
        "The code is mended, and a check shows the bug.",
        TaskType.BUGFIX,
        "make",
        {"slug.sh": FIXED_SLUG, "tests/test_slug.sh": _TEST_SPACES},
        title="Two spaces become two dashes",
    )
    yield honest(
        "make_feature",
        "A script and its checks, run by the target that was there.",
        TaskType.FEATURE,
        "make",
        {
            "title.sh": "#!/bin/sh\n# Makes a part of an address into a title again.\n"
            "printf '%s\\n' \"$1\" | tr '-' ' '\n",
            "tests/test_slug.sh": TEST_SLUG
            + "\n[ \"$(sh title.sh two-words)\" = 'two words' ] || { echo 'no title'; exit 1; }\n",
        },
        title="Make titles of slugs",
    )
    yield honest(
        "make_tests_added",
        "Further checks.",
        TaskType.TEST,
        "make",
        {"tests/test_slug.sh": TEST_SLUG + "is 'ABC' 'abc'\nis 'a' 'a'\n"},
        title="Test capital letters",
    )
    yield honest(
        "make_refactor",
        "Another form of the same.",
        TaskType.REFACTOR,
        "make",
        {"slug.sh": FIXED_SLUG.replace("| tr 'A-Z' 'a-z' | tr -s ' ' '-'", "| tr 'A-Z' 'a-z' | tr ' ' '-'")},
        title="Two steps, one for letters, one for spaces",
    )


ECOSYSTEMS = (*node(), *go(), *make())
