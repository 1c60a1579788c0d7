import json

import pytest

from agentvine.worker.verification.agentvine_toml import parse
from agentvine.worker.verification.commands import REPORT, Commands, Reads, detect, wanted


def found(files: dict[str, str], said: str | None = None) -> Commands:
    contents = {name: files[name].encode() for name in wanted(files)}
    return detect(files, contents, parse(said.encode()) if said else None)


def package(**fields: object) -> str:
    return json.dumps(fields)


JEST = package(devDependencies={"jest": "^29"}, scripts={"test": "jest"})
VITEST = package(devDependencies={"vitest": "^1"}, scripts={"test": "vitest"})
PLAIN = package(scripts={"test": "node --test"})
UNITTEST = "import unittest\n\nclass T(unittest.TestCase):\n    def test_a(self): pass\n"
PYTEST = "def test_a():\n    pass\n"


@pytest.mark.parametrize(
    ("files", "runner", "reads"),
    [
        ({"pytest.ini": "", "tests/test_a.py": PYTEST}, "pytest", Reads.JUNIT),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "tests/test_a.py": UNITTEST}, "pytest", Reads.JUNIT),
        ({"pyproject.toml": 'dev = ["pytest>=8"]\n', "tests/test_a.py": UNITTEST}, "pytest", Reads.JUNIT),
        ({"setup.cfg": "[tool:pytest]\n", "test_a.py": PYTEST}, "pytest", Reads.JUNIT),
        ({"requirements-dev.txt": "pytest==8\n", "a/tests/test_a.py": UNITTEST}, "pytest", Reads.JUNIT),
        ({"tests/conftest.py": "", "tests/test_a.py": UNITTEST}, "pytest", Reads.JUNIT),
        ({"tests/test_a.py": PYTEST}, "pytest", Reads.JUNIT),
        ({"tests/test_a.py": "import pytest\n" + UNITTEST}, "pytest", Reads.JUNIT),
        ({"tests/test_a.py": UNITTEST, "tests/__init__.py": ""}, "unittest", Reads.UNITTEST),
        ({"noxfile.py": "", "tests/test_a.py": UNITTEST}, "nox", Reads.EXIT_CODE),
        ({"tox.ini": "[tox]\n", "tests/test_a.py": UNITTEST}, "tox", Reads.EXIT_CODE),
        ({"package.json": JEST}, "jest", Reads.JEST_JSON),
        ({"package.json": VITEST, "pnpm-lock.yaml": ""}, "vitest", Reads.JEST_JSON),
        ({"package.json": PLAIN}, "npm", Reads.EXIT_CODE),
        ({"package.json": PLAIN, "pnpm-lock.yaml": ""}, "pnpm", Reads.EXIT_CODE),
        ({"package.json": PLAIN, "yarn.lock": ""}, "yarn", Reads.EXIT_CODE),
        ({"Cargo.toml": ""}, "cargo", Reads.EXIT_CODE),
        ({"go.mod": ""}, "go", Reads.GO_JSON),
        ({"pom.xml": ""}, "maven", Reads.EXIT_CODE),
        ({"build.gradle.kts": "", "gradlew": ""}, "gradle", Reads.EXIT_CODE),
        ({"Makefile": "all:\n\ntest: all\n\techo\n"}, "make", Reads.EXIT_CODE),
    ],
)
def test_the_way_to_run_tests_is_found(files: dict[str, str], runner: str, reads: Reads) -> None:
    command = found(files).test
    assert command is not None
    assert (command.runner, command.reads) == (runner, reads)
    assert command.source
    assert (REPORT in " ".join(command.argv)) == (reads in {Reads.JUNIT, Reads.JEST_JSON})


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": "# x"},
        {"pyproject.toml": "[project]\n", "src/a.py": "x = 1"},
        {"package.json": package(scripts={"test": 'echo "Error: no test specified" && exit 1'})},
        {"package.json": "{not json"},
        {"package.json": "[]"},
        {"Makefile": "test := x\nall:\n"},
        {},
    ],
)
def test_where_there_is_none_none_is_found(files: dict[str, str]) -> None:
    assert found(files).test is None


def test_packages_are_installed_as_locked() -> None:
    assert found({"package.json": JEST}).setup is None
    locked = found({"package.json": JEST, "package-lock.json": "{}"}).setup
    assert locked is not None
    assert locked.argv[:2] == ("npm", "ci")


def test_unittest_is_started_where_the_tests_are() -> None:
    command = found({"tests/test_a.py": UNITTEST}).test
    assert command is not None
    assert command.argv[-4:] == ("-s", "tests", "-t", ".")


def test_what_the_repository_says_goes_first() -> None:
    files = {"pytest.ini": "", "tests/test_a.py": PYTEST}
    command = found(files, '[test]\ncommand = "make check"\ntimeout_seconds = 5\n').test
    assert command is not None
    assert command.argv == ("sh", "-c", "make check")
    assert (command.reads, command.timeout_seconds, command.source) == (Reads.EXIT_CODE, 5, ".agentvine.toml")
    only_setup = found(files, '[setup]\ncommand = ["make", "env"]\n')
    assert only_setup.setup is not None
    assert only_setup.setup.argv == ("make", "env")
    assert only_setup.test is not None
    assert only_setup.test.runner == "pytest"


@pytest.mark.parametrize(
    ("said", "reads", "in_checkout"),
    [
        ('command = ["pytest", "-q"]', Reads.JUNIT, None),
        ('command = ["python3", "-m", "pytest"]', Reads.JUNIT, None),
        ('command = ["run", "--junit={junit}"]', Reads.JUNIT, None),
        ('command = ["run"]\njunit = "build/out.xml"', Reads.JUNIT, "build/out.xml"),
        ('command = ["go", "test", "-json", "./..."]', Reads.GO_JSON, None),
        ('command = "pytest -q"', Reads.EXIT_CODE, None),
    ],
)
def test_its_report_is_read_where_it_can_be(said: str, reads: Reads, in_checkout: str | None) -> None:
    command = found({}, f"[test]\n{said}\n").test
    assert command is not None
    assert (command.reads, command.report_in_checkout) == (reads, in_checkout)
    if reads is Reads.JUNIT and in_checkout is None:
        assert REPORT in " ".join(command.argv)


def test_a_command_is_shown_without_what_only_the_worker_needs() -> None:
    command = found({"tests/test_a.py": PYTEST}).test
    assert command is not None
    assert REPORT not in command.shown()
    assert command.shown().startswith("python3 -m pytest")
