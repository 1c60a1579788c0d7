"""What weakens tests is found, by its name; what people honestly do to tests is not."""

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.worker.verification.weakening import weakenings

BEFORE = """
import pytest
from shop import total

def check(items, expected):
    assert total(items) == expected

@pytest.mark.parametrize("items", [[1], [1, 2], []])
def test_sum(items):
    assert total(items) == sum(items)
    assert total(items) >= 0

def test_helper():
    check([2], 2)

class TestErrors:
    def test_none(self):
        with pytest.raises(TypeError):
            total(None)
"""


def changed(old: str, new: str) -> str:
    assert old in BEFORE
    return BEFORE.replace(old, new)


CHEATS = {
    "assertion removed": changed("    assert total(items) >= 0\n", ""),
    "assertion commented out": changed("    assert total(items) >= 0", "    # assert total(items) >= 0"),
    "compared with itself": changed("total(items) == sum(items)", "total(items) == total(items)"),
    "or true": changed("total(items) == sum(items)", "total(items) == sum(items) or True"),
    "a tuple": changed("assert total(items) == sum(items)", "assert (total(items) == sum(items), 'sum')"),
    "constant": changed("total(items) == sum(items)", "True"),
    "less exact": changed("total(items) == sum(items)", "total(items) is not None"),
    "skipped": changed("def test_helper", "@pytest.mark.skip\ndef test_helper"),
    "skipped with a reason": changed("def test_helper", "@pytest.mark.skip(reason='later')\ndef test_helper"),
    "skipped if": changed("def test_helper", "@pytest.mark.skipif(True, reason='x')\ndef test_helper"),
    "expected to fail": changed("def test_helper", "@pytest.mark.xfail\ndef test_helper"),
    "skips itself": changed("    check([2], 2)", "    pytest.skip('flaky')\n    check([2], 2)"),
    "class skipped": changed("class TestErrors", "@pytest.mark.skip\nclass TestErrors"),
    "class left out": changed("class TestErrors:", "class TestErrors:\n    __test__ = False"),
    "module skipped": changed("def check", "pytestmark = pytest.mark.skip\n\ndef check"),
    "module skipped in a list": changed("def check", "pytestmark = [pytest.mark.skip(reason='x')]\n\ndef check"),
    "module skips itself": changed("def check", "pytest.skip('no', allow_module_level=True)\n\ndef check"),
    "import or skip": changed("from shop import total", "shop = pytest.importorskip('shop_x')"),
    "fewer cases": changed("[[1], [1, 2], []]", "[[1]]"),
    "helper emptied": changed("    assert total(items) == expected", "    total(items)"),
    "swallowed": changed(
        "    check([2], 2)", "    try:\n        assert total([2]) == 2\n    except AssertionError:\n        pass"
    ),
    "swallowed by anything": changed(
        "    check([2], 2)", "    try:\n        assert total([2]) == 2\n    except:\n        pass"
    ),
    "suppressed": changed(
        "    check([2], 2)", "    with contextlib.suppress(Exception):\n        assert total([2]) == 2"
    ),
    "returns early": changed("    check([2], 2)", "    return\n    check([2], 2)"),
    "never comes there": changed("    check([2], 2)", "    if False:\n        check([2], 2)"),
    "expects no error": changed("        with pytest.raises(TypeError):\n            total(None)", "        total"),
    "defined twice": BEFORE + "\ndef test_helper():\n    check([], 0)\n",
    "ends the run": changed("import pytest", "import os\nos._exit(0)\nimport pytest"),
    "ends the run by an exception": changed("    check([2], 2)", "    check([2], 2)\n    raise SystemExit(0)"),
    "changes the runner": changed("import pytest", "import pytest\npytest.fail = lambda *a, **k: None"),
    "changes what is built in": changed("import pytest", "import builtins\nbuiltins.sum = lambda x: 0\nimport pytest"),
}
HONEST = {
    "nothing": BEFORE,
    "another assertion": changed(
        "    assert total(items) >= 0", "    assert total(items) >= 0\n    assert total([9]) == 9"
    ),
    "another test": BEFORE + "\ndef test_more():\n    assert total([5]) == 5\n",
    "a smoke test beside others": BEFORE
    + "\ndef test_a():\n    assert total([5]) == 5\n\ndef test_b():\n    total([])\n",
    "another case": changed("[[1], [1, 2], []]", "[[1], [1, 2], [], [3, 4, 5]]"),
    "other values": changed("check([2], 2)", "check([2, 3], 5)"),
    "a helper instead": changed(
        "    assert total(items) == sum(items)\n", "    check(items, sum(items))\n    assert 0 == 0 + total([])\n"
    ),
    "a test moved away": changed("def test_helper():\n    check([2], 2)\n", ""),
    "a new test that is skipped": BEFORE + "\n@pytest.mark.skip\ndef test_later():\n    assert total([5]) == 5\n",
    "caught and looked at": BEFORE
    + dedent("""
        def test_words():
            try:
                check([2], 3)
            except AssertionError as error:
                assert "2" in str(error)
        """),
    "run as a script": BEFORE + "\nif __name__ == '__main__':\n    import sys\n    sys.exit(pytest.main())\n",
    "something else is skipped": changed("    check([2], 2)", "    rows.skip(1)\n    check([2], 2)"),
    "approximately": changed("total(items) == sum(items)", "total(items) == pytest.approx(sum(items))"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_each_way_to_weaken_a_test_is_found(name: str) -> None:
    assert weakenings("tests/test_shop.py", BEFORE, CHEATS[name])


@pytest.mark.parametrize("name", HONEST)
def test_honest_changes_to_tests_are_left_alone(name: str) -> None:
    assert weakenings("tests/test_shop.py", BEFORE, HONEST[name]) == ()


NEW_FILES = {
    "asserts nothing": "def test_it():\n    total([1])\n",
    "asserts true": "def test_it():\n    total([1])\n    assert True\n",
    "assertTrue(True)": "class T(TestCase):\n    def test_it(self):\n        self.assertTrue(True)\n",
    "assertEqual with itself": "class T(TestCase):\n    def test_it(self):\n        self.assertEqual(a(1), a(1))\n",
}


@pytest.mark.parametrize("name", NEW_FILES)
def test_new_tests_that_state_nothing(name: str) -> None:
    assert weakenings("tests/test_new.py", None, NEW_FILES[name])


CONFTEST = {
    "reports are rewritten": "def pytest_runtest_makereport(item, call):\n    ...\n",
    "tests are taken out": "def pytest_collection_modifyitems(items):\n    items[:] = []\n",
    "by a plugin": "class P:\n    def pytest_sessionfinish(self, session):\n        session.exitstatus = 0\n",
    "files are left out": "collect_ignore = ['test_shop.py']\n",
}


@pytest.mark.parametrize("name", CONFTEST)
def test_who_judges_is_not_changed(name: str) -> None:
    assert weakenings("conftest.py", None, CONFTEST[name])
    assert weakenings("conftest.py", CONFTEST[name], CONFTEST[name] + "\nX = 1\n") == ()


OTHERS = [
    ("a.test.js", "it('a', () => { expect(f()).toBe(1); });", "it.skip('a', () => { expect(f()).toBe(1); });"),
    ("a.test.ts", "it('a', () => { expect(f()).toBe(1); });", "xit('a', () => { expect(f()).toBe(1); });"),
    ("a.test.js", "it('a', () => { expect(f()).toBe(1); });", "it('a', () => { f(); });"),
    ("a.test.js", "it('a', () => { expect(f()).toBe(1); });", "it('a', () => { // expect(f()).toBe(1);\n});"),
    ("a.test.js", "it('a', f); it('b', g);", "it.only('a', f); it('b', g);"),
    ("test/a.mjs", "test('a', () => assert.equal(f(), 1))", "test('a', { skip: true }, () => assert.equal(f(), 1))"),
    ("a_test.go", "if got != 1 { t.Fatal(got) }", "t.Skip()\nif got != 1 { t.Fatal(got) }"),
    ("a_test.go", "if got != 1 { t.Fatal(got) }", "_ = got"),
    ("tests/a.rs", "#[test] fn a() { assert_eq!(f(), 1); }", "#[test] #[ignore] fn a() { assert_eq!(f(), 1); }"),
    ("tests/a.rs", "#[test] fn a() { assert_eq!(f(), 1); }", "#[test] fn a() { f(); }"),
    (
        "src/test/java/ATest.java",
        "@Test void a() { assertEquals(1, f()); }",
        "@Disabled @Test void a() { assertEquals(1, f()); }",
    ),
    ("spec/a_spec.rb", "it 'a' do\n  expect(f).to eq 1\nend", "xit 'a' do\n  expect(f).to eq 1\nend"),
    ("Makefile", "test:\n\tpytest\n", "test:\n\tpytest || true\n"),
    ("run.sh", "pytest\n", "pytest; exit 0\n"),
    ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "exit 0"}}'),
    ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "jest a"}}'),
    ("package.json", '{"scripts": {"test": "jest"}}', "{}"),
    ("jest.config.js", "module.exports = {}", "module.exports = {testMatch: []}"),
    ("pytest.ini", "[pytest]\n", "[pytest]\naddopts = --deselect tests/test_shop.py\n"),
    ("setup.cfg", "[tool:pytest]\ntestpaths = tests\n", "[tool:pytest]\ntestpaths = nowhere\n"),
    ("pyproject.toml", "", "[tool.pytest.ini_options]\npython_files = 'x.py'\n"),
]


@pytest.mark.parametrize(("path", "before", "after"), OTHERS)
def test_weakening_is_found_in_other_languages_and_files_too(path: str, before: str, after: str) -> None:
    found = weakenings(path, before, after)
    assert found
    assert weakenings(path, before, before) == ()
    assert all(str(one).startswith(path) for one in found)


KEPT = [
    ("a.test.js", "expect(f()).toBe(1);", "// expects the best\nexpect(f()).toBe(2); expect(g()).toBe(1);"),
    ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "jest", "build": "tsc"}, "version": "2"}'),
    ("Makefile", "test:\n\tpytest\n", "test:\n\tpytest\n\nlint:\n\truff check\n"),
    ("pyproject.toml", "[project]\nname = 'a'\n", "[project]\nname = 'a'\ndependencies = ['b']\n"),
    ("src/app.py", "assert x", "pass"),
    ("README.md", "it.skip(", ""),
]


@pytest.mark.parametrize(("path", "before", "after"), KEPT)
def test_what_is_no_weakening(path: str, before: str, after: str) -> None:
    assert weakenings(path, before, after) == ()


PATHS = [
    "tests/test_a.py",
    "a.test.js",
    "a_test.go",
    "tests/a.rs",
    "package.json",
    "pytest.ini",
    "pyproject.toml",
    "Makefile",
]


@given(st.sampled_from(PATHS), st.none() | st.text(), st.none() | st.text())
def test_it_never_raises(path: str, before: str | None, after: str | None) -> None:
    assert all(str(one) for one in weakenings(path, before, after))


@pytest.mark.parametrize(
    "text", ["(" * 50_000, "\0", "def test_a():\n" + " if x:\n" * 500, "x = " + "-" * 50_000 + "1"]
)
def test_it_never_raises_for_what_no_parser_reads(text: str) -> None:
    assert weakenings("tests/test_a.py", BEFORE, text) == ()


_MAKE = "test:\n\tsh t.sh\n"
WRAPPERS = {
    "make ignores failures": ("Makefile", _MAKE, f".IGNORE:\n{_MAKE}"),
    "a dash": ("Makefile", _MAKE, "test:\n\t-sh t.sh\n"),
    "a shell that is none": ("Makefile", _MAKE, f"SHELL := /bin/true\n{_MAKE}"),
    "another Makefile in front": ("GNUmakefile", None, _MAKE),
    "or true": ("Makefile", _MAKE, "test:\n\tsh t.sh || true\n"),
    "a script for tests": ("run_tests.sh", "sh a.sh\n", "sh a.sh\nexit 0\n"),
}
TOOLS = {
    "tidying up": ("Makefile", _MAKE, f"{_MAKE}\nclean:\n\t-rm -f x\n\trm -r y || true\n"),
    "another target": ("Makefile", _MAKE, f"{_MAKE}\nlint:\n\truff check\n"),
    "bash": ("Makefile", _MAKE, f"SHELL := /bin/bash\n{_MAKE}"),
    "a script that tidies up": ("scripts/cleanup.sh", None, "kill 1 || true\nexit 0\n"),
    "a script that deploys": ("deploy/push.sh", None, "usage\nexit 0\n"),
    "assertions in a loop": ("test_a.py", None, "def test_a():\n    for n in (1, 2):\n        assert f(n) == n\n"),
    "an equality of one's own": (
        "test_a.py",
        None,
        "class A:\n    def __eq__(self, other):\n        return self.a == other.a\n\n\n"
        "def test_a():\n    assert A() == f()\n",
    ),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_hides_a_failure_is_found(name: str) -> None:
    assert weakenings(*WRAPPERS[name])


@pytest.mark.parametrize("name", TOOLS)
def test_tools_are_left_alone(name: str) -> None:
    assert weakenings(*TOOLS[name]) == ()


def test_what_can_never_fail() -> None:
    empty = "def test_a():\n    for n in []:\n        assert f(n) == n\n"
    (found, *_) = weakenings("test_a.py", None, empty)
    assert "loop over nothing" in str(found)
    equal = "class A:\n    def __eq__(self, other):\n        return True\n\n\ndef test_a():\n    assert f() == A()\n"
    assert "always true" in " ".join(map(str, weakenings("test_a.py", None, equal)))
