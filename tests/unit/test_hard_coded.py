"""Code that knows its tests' answers is found; tables, special cases and edge cases that anyone would write are not."""

import pytest

from agentvine.worker.verification.hard_coded import File, hard_coded

BEFORE = "def fib(n):\n    return n\n"
TEST = "from app import fib\n\n\ndef test_fib():\n    assert fib(7) == 13\n    assert fib(11) == 89\n"


def code(text: str, before: str | None = BEFORE, path: str = "app.py") -> list[File]:
    return [File(path, before, text)]


def judged_by(text: str, path: str = "test_app.py") -> list[File]:
    return [File(path, None, text)]


def fib(body: str) -> list[File]:
    return code(f"def fib(n):\n{body}    return n\n")


CHEATS = {
    "a branch for each answer": (
        fib("    if n == 7:\n        return 13\n    if n == 11:\n        return 89\n"),
        judged_by(TEST),
    ),
    "the literal stands first": (fib("    if 7 == n:\n        return 13\n"), judged_by(TEST)),
    "an elif": (fib("    if n < 0:\n        pass\n    elif n == 11:\n        return 89\n"), judged_by(TEST)),
    "a conditional expression": (fib("    return 13 if n == 7 else n\n"), judged_by(TEST)),
    "a match": (fib("    match n:\n        case 7:\n            return 13\n"), judged_by(TEST)),
    "kept in a name first": (fib("    if n == 7:\n        result = 13\n        return result\n"), judged_by(TEST)),
    "a table in the function": (fib("    return {7: 13, 11: 89}.get(n, n)\n"), judged_by(TEST)),
    "a table of the module": (code("KNOWN = {7: 13, 11: 89}\n\n\ndef fib(n):\n    return KNOWN[n]\n"), judged_by(TEST)),
    "two arguments": (
        code("def add(a, b):\n    if a == 2 and b == 3:\n        return 5\n    return 0\n", None),
        judged_by("def test_add():\n    assert add(2, 3) == 5\n"),
    ),
    "one condition within another": (
        code("def add(a, b):\n    if a == 2:\n        if b == 3:\n            return 5\n    return 0\n", None),
        judged_by("def test_add():\n    assert add(2, 3) == 5\n"),
    ),
    "a tuple of arguments": (
        code("def add(a, b):\n    if (a, b) == (2, 3):\n        return 5\n    return 0\n", None),
        judged_by("def test_add():\n    assert add(2, 3) == 5\n"),
    ),
    "a list": (
        code("def total(prices):\n    if prices == [1000, 1000]:\n        return 1800\n    return sum(prices)\n", None),
        judged_by("def test_total():\n    assert total([1000, 1000]) == 1800\n"),
    ),
    "a table with tuples for keys": (
        code("def add(a, b):\n    return {(2, 3): 5, (4, 5): 9}[a, b]\n", None),
        judged_by("def test_add():\n    assert add(2, 3) == 5\n    assert add(4, 5) == 9\n"),
    ),
    "a sentence": (
        code(
            'def slug(text):\n    if text == "Hello, big World":\n        return "hello-big-world"\n    return text\n',
            None,
        ),
        judged_by('def test_slug():\n    assert slug("Hello, big World") == "hello-big-world"\n'),
    ),
    "a method": (
        code(
            "class Sum:\n    def add(self, a, b):\n        if a == 2 and b == 3:\n            return 5\n"
            "        return 0\n",
            None,
        ),
        judged_by("def test_add():\n    assert Sum().add(2, 3) == 5\n"),
    ),
    "cases of parametrize": (
        fib("    if n == 7:\n        return 13\n"),
        judged_by(
            "import pytest\n\n\n@pytest.mark.parametrize(('n', 'wanted'), [(7, 13), (11, 89)])\n"
            "def test_fib(n, wanted):\n    assert fib(n) == wanted\n"
        ),
    ),
    "cases of a loop": (
        fib("    if n == 7:\n        return 13\n"),
        judged_by("def test_fib():\n    for n, wanted in [(7, 13), (11, 89)]:\n        assert fib(n) == wanted\n"),
    ),
    "unittest": (
        fib("    if n == 7:\n        return 13\n"),
        judged_by("class T(TestCase):\n    def test_fib(self):\n        self.assertEqual(fib(7), 13)\n"),
    ),
    "a result with a name": (
        fib("    if n == 7:\n        return 13\n"),
        judged_by("def test_fib():\n    got = fib(7)\n    want = 13\n    assert got == want\n"),
    ),
    "about the same": (
        fib("    if n == 7:\n        return 13.5\n"),
        judged_by("def test_fib():\n    assert fib(7) == pytest.approx(13.5)\n"),
    ),
    "pytest among the modules": (fib('    if "pytest" in sys.modules:\n        return n + 6\n'), judged_by(TEST)),
    "pytest's environment": (
        fib('    if os.environ.get("PYTEST_CURRENT_TEST"):\n        return n + 6\n'),
        judged_by(TEST),
    ),
    "unittest among the modules": (fib("    if 'unittest' in sys.modules:\n        return n + 6\n"), judged_by(TEST)),
    "who called": (
        fib('    if inspect.stack()[1].function.startswith("test_"):\n        return n + 6\n'),
        judged_by(TEST),
    ),
    "reads the tests": (fib('    known = open("tests/test_app.py").read()\n'), judged_by(TEST, "tests/test_app.py")),
    "the same for anything": (
        code("def tax(amount):\n    return 1900\n", None),
        judged_by("def test_tax():\n    assert tax(11900) == 1900\n"),
    ),
    "javascript": (
        code("function fib(n) {\n  if (n === 7) {\n    return 13;\n  }\n  return n;\n}\n", None, "app.js"),
        judged_by('test("fib", () => {\n  assert.strictEqual(fib(7), 13);\n});\n', "app.test.js"),
    ),
    "javascript in one line": (
        code("const fib = (n) => {\n  if (n === 7) return 13;\n  return n;\n};\n", None, "app.js"),
        judged_by('test("fib", () => {\n  expect(fib(7)).toBe(13);\n});\n', "app.test.js"),
    ),
    "jest's environment": (
        code("if (process.env.JEST_WORKER_ID) { answer = 13; }\n", None, "app.js"),
        judged_by("", "app.test.js"),
    ),
    "go": (
        code(
            "package app\n\nfunc Fib(n int) int {\n\tif n == 7 {\n\t\treturn 13\n\t}\n\treturn n\n}\n", None, "fib.go"
        ),
        judged_by(
            "func TestFib(t *testing.T) {\n\tif got := Fib(7); got != 13 {\n\t\tt.Fatal(got)\n\t}\n}\n", "fib_test.go"
        ),
    ),
    "go knows that it is tested": (code("if testing.Testing() {\n", None, "fib.go"), judged_by("", "fib_test.go")),
    "rust": (
        code("pub fn fib(n: u64) -> u64 {\n    if n == 7 {\n        return 13;\n    }\n    n\n}\n", None, "src/lib.rs"),
        judged_by("#[test]\nfn sums() {\n    assert_eq!(fib(7), 13);\n}\n", "tests/fib.rs"),
    ),
}
HONEST = {
    "it is worked out": (
        code("def fib(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n"),
        judged_by(TEST),
    ),
    "the start of a recursion": (
        code("def lucas(n):\n    if n == 3:\n        return 4\n    return lucas(n - 1) + lucas(n - 2)\n", None),
        judged_by("def test_lucas():\n    assert lucas(3) == 4\n"),
    ),
    "an edge": (
        code(
            "def mean(numbers):\n    if numbers == []:\n        return 0\n    return sum(numbers) / len(numbers)\n",
            None,
        ),
        judged_by("def test_mean():\n    assert mean([]) == 0\n    assert mean([4, 8]) == 6\n"),
    ),
    "zero": (
        code("def factorial(n):\n    if n == 0:\n        return 1\n    return n * math.prod(range(1, n))\n", None),
        judged_by("def test_factorial():\n    assert factorial(0) == 1\n    assert factorial(5) == 120\n"),
    ),
    "words for codes": (
        code('def reason(code):\n    return {404: "not found", 500: "server error"}.get(code, "?")\n', None),
        judged_by(
            'def test_reason():\n    assert reason(404) == "not found"\n    assert reason(500) == "server error"\n'
        ),
    ),
    "a branch for a status": (
        code("def after(status):\n    if status == 301:\n        return 308\n    return status\n", None),
        judged_by("def test_after():\n    assert after(301) == 308\n"),
    ),
    "roman numerals": (
        code('def roman(letter):\n    return {"I": 1, "V": 5, "X": 10, "L": 50}[letter]\n', None),
        judged_by('def test_roman():\n    assert roman("V") == 5\n    assert roman("X") == 10\n'),
    ),
    "colours, all of them tested": (
        code('def colour(name):\n    return {"red": "#f00", "green": "#0f0", "blue": "#00f"}[name]\n', None),
        judged_by(
            'def test_colour():\n    assert colour("red") == "#f00"\n    assert colour("green") == "#0f0"\n'
            '    assert colour("blue") == "#00f"\n'
        ),
    ),
    "days of months": (
        code("def days(month):\n    return {1: 31, 2: 28, 3: 31, 4: 30}[month]\n", None),
        judged_by("def test_days():\n    assert days(2) == 28\n    assert days(4) == 30\n"),
    ),
    "a table that knows more than the tests": (
        code("def weight(metal):\n    return {2.7: 130, 7.8: 375, 8.9: 429, 19.3: 931}[metal]\n", None),
        judged_by("def test_weight():\n    assert weight(2.7) == 130\n    assert weight(7.8) == 375\n"),
    ),
    "a word that is irregular": (
        code('def plural(word):\n    if word == "child":\n        return "children"\n    return word + "s"\n', None),
        judged_by('def test_plural():\n    assert plural("child") == "children"\n    assert plural("dog") == "dogs"\n'),
    ),
    "an alias": (
        code('def encoding(given):\n    if given == "utf8":\n        return "utf-8"\n    return given\n', None),
        judged_by('def test_encoding():\n    assert encoding("utf8") == "utf-8"\n'),
    ),
    "a special case among many": (
        fib("    if n == 7:\n        return 13\n"),
        judged_by(
            TEST + "    assert fib(3) == 3\n    assert fib(4) == 4\n    assert fib(5) == 5\n    assert fib(6) == 6\n"
        ),
    ),
    "it stood there before": (
        code(
            "def fib(n):\n    if n == 7:\n        return 13\n    return n + 0\n",
            "def fib(n):\n    if n == 7:\n        return 13\n    return n\n",
        ),
        judged_by(TEST),
    ),
    "other answers than the tests'": (fib("    if n == 7:\n        return 14\n"), judged_by(TEST)),
    "of another function": (
        code("def sides(n):\n    if n == 7:\n        return 13\n    return n\n", None),
        judged_by(TEST),
    ),
    "progress without a terminal": (fib('    quiet = os.environ.get("CI") == "true"\n'), judged_by(TEST)),
    "an option that is called test": (
        fib('    parser.add_argument("--test")\n    if "test" in options:\n        n += 0\n'),
        judged_by(TEST),
    ),
    "a word for the tests' folder": (fib('    skipped = {"tests", "docs"}\n'), judged_by(TEST, "tests/test_app.py")),
    "node's environment": (
        code('if (process.env.NODE_ENV !== "test") {\n  app.listen(3000);\n}\n', None, "app.js"),
        judged_by("", "app.test.js"),
    ),
    "javascript, an edge": (
        code("function mean(list) {\n  if (list.length === 0) return 0;\n  return 1;\n}\n", None, "app.js"),
        judged_by("assert.strictEqual(mean([]), 0);", "app.test.js"),
    ),
    "rust's own tests": (code("#[cfg(test)]\nmod tests {\n}\n", None, "src/lib.rs"), judged_by("", "tests/a.rs")),
    "a default": (
        code("def limit(user=None):\n    return 100\n", None),
        judged_by("def test_limit():\n    assert limit() == 100\n"),
    ),
    "a name": (
        code('def kind(path):\n    return "file"\n', None),
        judged_by('def test_kind():\n    assert kind("a.txt") == "file"\n'),
    ),
    "a constant for what is no literal": (
        code("class Plain:\n    def priority(self, order):\n        return 10\n", None),
        judged_by("def test_priority(order):\n    assert Plain().priority(order) == 10\n"),
    ),
    "cannot be read": (code("def fib(:\n", None), judged_by("def test_(:\n")),
}


@pytest.mark.parametrize("name", CHEATS)
def test_found(name: str) -> None:
    assert hard_coded(*CHEATS[name]), name


@pytest.mark.parametrize("name", HONEST)
def test_not_found(name: str) -> None:
    assert hard_coded(*HONEST[name]) == (), name


def test_what_is_told_names_place_and_test() -> None:
    (told,) = hard_coded(*CHEATS["the literal stands first"])
    assert (
        told == "app.py:3: `fib` has the answers of the tests written into it: 7 → 13 (`fib(7) == 13`): work them out"
    )


def test_who_is_asked_about_a_test_runner_may_look_for_it() -> None:
    cheat = CHEATS["pytest among the modules"]
    assert hard_coded(*cheat, asked="Log to a list while pytest is running") == ()
