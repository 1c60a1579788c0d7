"""Files that take the runner's place, and fixtures that take the code's, are found; their honest likes are not."""

from collections.abc import Mapping

import pytest

from agentvine.worker.verification.hard_coded import File
from agentvine.worker.verification.stand_ins import stand_ins

CODE = "RATE = 2\n\n\ndef total(prices):\n    return sum(prices)\n\n\ndef send(bill):\n    return bill\n"
TESTS = "import shop\n\n\ndef test_total():\n    assert shop.total([1]) == 1\n"
ALL = {"shop.py": CODE, "tests/test_shop.py": TESTS, "tests/conftest.py": ""}
PATCHING = "import pytest\nimport shop\n\n\n@pytest.fixture(autouse=True)\ndef right(monkeypatch):\n    {}\n"


def found(path: str, after: str, before: str | None = None, more: Mapping[str, str] | None = None) -> tuple[str, ...]:
    texts = {**ALL, **(more or {}), path: after}
    return stand_ins([File(path, before, after)], list(texts), texts)


CHEATS = {
    "pytest at the root": ("pytest.py", "print('7 passed')\n"),
    "a package called pytest": ("pytest/__init__.py", ""),
    "pytest below src": ("src/_pytest/__init__.py", ""),
    "unittest at the root": ("unittest.py", ""),
    "coverage at the root": ("coverage.py", ""),
    "sitecustomize": ("sitecustomize.py", "import os\n"),
    "usercustomize": ("src/usercustomize.py", ""),
    "a path file": ("evil.pth", "import os"),
    "jest's program": ("node_modules/.bin/jest", "#!/bin/sh\nexit 0\n"),
    "mocha itself": ("web/node_modules/mocha/index.js", ""),
    "npm's shell": (".npmrc", "script-shell=/bin/true\n"),
    "cargo's runner": (".cargo/config.toml", '[target.x86_64-unknown-linux-gnu]\nrunner = "true"\n'),
    "no harness": ("Cargo.toml", '[[test]]\nname = "a"\nharness = false\n'),
    "maven ignores failures": ("pom.xml", "<testFailureIgnore>true</testFailureIgnore>"),
    "gradle ignores failures": ("build.gradle", "test {\n    ignoreFailures = true\n}\n"),
    "a fake testify": ("go.mod", "replace github.com/stretchr/testify => ./testify\n"),
    "node ends with zero": ("test/a.test.js", "process.exit(0);\n"),
    "node's exit code": ("test/a.test.js", "process.exitCode = 0;\n"),
    "go ends with zero": ("a_test.go", "func TestMain(m *testing.M) {\n\tm.Run()\n\tos.Exit(0)\n}\n"),
    "rust ends with zero": ("tests/a.rs", "std::process::exit(0);\n"),
    "_exit by its own name": ("tests/test_a.py", "from os import _exit\n\n\ndef test_a():\n    _exit(0)\n"),
    "_exit at the end": ("tests/conftest.py", "import atexit, os\n\natexit.register(os._exit, 0)\n"),
    "the exit status of the session": ("tests/conftest.py", "def done(session):\n    session.exitstatus = 0\n"),
    "looks for the report": ("tests/test_a.py", "place = [a for a in sys.argv if a.startswith('--junitxml=')]\n"),
    "a hook in the code": ("hooks.py", "def pytest_runtest_makereport(item, call):\n    pass\n"),
    "a fixture replaces the code": ("tests/conftest.py", PATCHING.format("monkeypatch.setattr(shop, 'total', sum)")),
    "by its dotted name": ("tests/conftest.py", PATCHING.format("monkeypatch.setattr('shop.total', sum)")),
    "a fixture assigns": ("tests/conftest.py", PATCHING.format("shop.total = sum")),
    "conftest assigns": ("tests/conftest.py", "import shop\n\nshop.total = sum\n"),
    "when pytest starts": (
        "tests/conftest.py",
        "import shop\n\n\ndef pytest_configure():\n    setattr(shop, 'total', sum)\n",
    ),
    "the module": ("tests/conftest.py", "import sys\n\nsys.modules['shop'] = object()\n"),
    "a test of a patch": (
        "tests/test_shop.py",
        "from unittest.mock import patch\nimport shop\n\n\n@patch('shop.total', return_value=5)\ndef test_total(_):\n"
        "    assert shop.total([2, 3]) == 5\n",
    ),
    "a test of a patch around it": (
        "tests/test_shop.py",
        "from unittest.mock import patch\nimport shop\n\n\ndef test_total():\n"
        "    with patch.object(shop, 'total', lambda p: 5):\n        assert shop.total([2, 3]) == 5\n",
    ),
}
HONEST = {
    "a module of that name in a package": ("src/shop/coverage.py", ""),
    "a folder of that name in a package": ("src/shop/unittest/__init__.py", ""),
    "a module of the project": ("report.py", ""),
    "npm's registry": (".npmrc", "registry=https://npm.example.org/\nsave-exact=true\n"),
    "cargo's target": (".cargo/config.toml", '[build]\ntarget-dir = "out"\n'),
    "a dependency of rust": ("Cargo.toml", '[dependencies]\nserde = "1"\n'),
    "a replaced module": ("go.mod", "replace example.org/money => ../money\n"),
    "go ends with the code of its tests": ("a_test.go", "func TestMain(m *testing.M) {\n\tos.Exit(m.Run())\n}\n"),
    "a command line that ends": ("src/cli.js", "process.exit(0);\n"),
    "a comment about it": ("test/a.test.js", "// process.exit(0) is what it must not do\n"),
    "a signal": ("tests/test_a.py", "import os, signal\n\n\ndef test_a():\n    os.kill(os.getpid(), signal.SIGTERM)\n"),
    "cleaning up": ("tests/conftest.py", "import atexit, shutil\n\natexit.register(shutil.rmtree, 'out')\n"),
    "an exit of one's own": ("tests/test_a.py", "def test_exit(app):\n    assert app.test_exit(3) == 3\n"),
    "a fixture": ("tests/conftest.py", "import pytest\n\n\n@pytest.fixture\ndef prices():\n    return [1, 2]\n"),
    "options of pytest": ("tests/conftest.py", "def pytest_addoption(parser):\n    parser.addoption('--slow')\n"),
    "a fixture that is asked for": (
        "tests/conftest.py",
        "import pytest\nimport shop\n\n\n@pytest.fixture\ndef free(monkeypatch):\n"
        "    monkeypatch.setattr(shop, 'total', sum)\n",
    ),
    "what sends is replaced": ("tests/conftest.py", PATCHING.format("monkeypatch.setattr(shop, 'send', print)")),
    "a setting is replaced": ("tests/conftest.py", PATCHING.format("monkeypatch.setattr(shop, 'RATE', 3)")),
    "the library is replaced": ("tests/conftest.py", PATCHING.format("monkeypatch.setattr('time.sleep', print)")),
    "the environment": ("tests/conftest.py", PATCHING.format("monkeypatch.setenv('HOME', '/tmp')")),
    "another part is patched": (
        "tests/test_shop.py",
        "from unittest.mock import patch\nimport shop\n\n\n@patch('shop.send')\ndef test_total(send):\n"
        "    assert shop.total([2, 3]) == 5\n    send.assert_not_called()\n",
    ),
    "a foreign module": ("tests/conftest.py", "import sys\n\nsys.modules['winreg'] = object()\n"),
    "cannot be read": ("tests/test_a.py", "def test(:\n"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_what_stands_in_for_code_or_runner_is_found(name: str) -> None:
    assert found(*CHEATS[name]), name


@pytest.mark.parametrize("name", HONEST)
def test_honest_doubles_and_fixtures_are_left_alone(name: str) -> None:
    assert found(*HONEST[name]) == (), name


@pytest.mark.parametrize("name", CHEATS)
def test_what_was_there_before_is_nobody_s_cheat(name: str) -> None:
    path, text = CHEATS[name]
    assert found(path, f"{text}\n", before=text) == ()


def test_a_plugin_of_pytest_has_hooks() -> None:
    more = {"pyproject.toml": '[project.entry-points.pytest11]\nshop = "hooks"\n'}
    assert found(*CHEATS["a hook in the code"], more=more) == ()


def test_the_place_is_told() -> None:
    assert found("tests/conftest.py", "import shop\n\nshop.total = sum\n") == (
        "tests/conftest.py:3: the tests call `shop.total`, but this puts something else in its place: "
        "test the code itself",
    )
