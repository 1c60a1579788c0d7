import json
import re

import pytest

from agentvine.worker.verification.agentvine_toml import parse
from agentvine.worker.verification.commands import REPORT, Commands, Reads, Writes, detect, wanted


def found(files: dict[str, str], said: str | None = None, *, prepare: bool = False) -> Commands:
    contents = {name: files[name].encode() for name in wanted(files)}
    return detect(files, contents, parse(said.encode()) if said else None, prepare=prepare)


def package(**fields: object) -> str:
    return json.dumps(fields)


JEST = package(devDependencies={"jest": "^29"}, scripts={"test": "jest"})
VITEST = package(devDependencies={"vitest": "^1"}, scripts={"test": "vitest"})
PLAIN = package(scripts={"test": "node --test"})
OWN = package(scripts={"test": "./run-tests.sh | tee log"})
NEXTEST = '[profile.ci.junit]\npath = "junit.xml"\n'
NODE = f"--test-reporter=junit --test-reporter-destination={REPORT}"
MOCHA = f"--reporter xunit --reporter-option output={REPORT}"
JACOCO = "<artifactId>jacoco-maven-plugin</artifactId>"
TARGETS = "test:\nlint:\ntypes:\ncoverage:\n"
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
        ({"package.json": PLAIN}, "node", Reads.JUNIT),
        ({"package.json": package(scripts={"test": "mocha"})}, "mocha", Reads.JUNIT),
        ({"package.json": package(devDependencies={"mocha": "^11"})}, "mocha", Reads.JUNIT),
        ({"package.json": package(scripts={"test": "bun test"})}, "bun", Reads.JUNIT),
        ({"package.json": OWN}, "npm", Reads.EXIT_CODE),
        ({"package.json": OWN, "pnpm-lock.yaml": ""}, "pnpm", Reads.EXIT_CODE),
        ({"package.json": OWN, "yarn.lock": ""}, "yarn", Reads.EXIT_CODE),
        ({"package.json": package(scripts={"test": "./t"}, packageManager="pnpm@9.1.0")}, "pnpm", Reads.EXIT_CODE),
        ({"Cargo.toml": ""}, "cargo", Reads.LIBTEST),
        ({"Cargo.toml": "", ".config/nextest.toml": NEXTEST}, "nextest", Reads.JUNIT),
        ({"go.mod": ""}, "go", Reads.GO_JSON),
        ({"pom.xml": ""}, "maven", Reads.JUNIT),
        ({"build.gradle.kts": "", "gradlew": ""}, "gradle", Reads.JUNIT),
        ({"Makefile": "all:\n\ntest: all\n\techo\n"}, "make", Reads.EXIT_CODE),
        ({"GNUmakefile": "test:\n"}, "make", Reads.EXIT_CODE),
    ],
)
def test_the_way_to_run_tests_is_found(files: dict[str, str], runner: str, reads: Reads) -> None:
    command = found(files).test
    assert command is not None
    assert (command.runner, command.reads) == (runner, reads)
    assert command.source
    assert (REPORT in " ".join(command.argv)) != (command.report_in_checkout is not None or not reads.from_file)


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


@pytest.mark.parametrize(
    ("script", "run"),
    [
        ("node --test", f"node {NODE} --test"),
        ("node --import tsx --test 'test/**/*.ts'", f"node {NODE} --import tsx --test 'test/**/*.ts'"),
        ("tsc && node --test dist", f"tsc && node {NODE} --test dist"),
        ("NODE_ENV=test mocha --recursive", f"NODE_ENV=test mocha --recursive {MOCHA}"),
        ("cross-env A=1 npx mocha", f"cross-env A=1 npx mocha {MOCHA}"),
        ("npm run build&&./node_modules/.bin/_mocha", f"npm run build && ./node_modules/.bin/_mocha {MOCHA}"),
        ("jest --config j.js", f"jest --config j.js --ci --json --outputFile={REPORT}"),
        ("vitest", f"vitest --run --reporter=json --outputFile={REPORT}"),
        ("c8 mocha", f"c8 mocha {MOCHA}"),
    ],
)
def test_a_script_is_run_as_it_is_but_for_its_report(script: str, run: str) -> None:
    command = found({"package.json": package(scripts={"test": script, "pretest": "x"}), "yarn.lock": ""}).test
    assert command is not None
    assert command.argv[:2] == ("sh", "-c")
    assert command.argv[2].endswith(f"export PATH; yarn run pretest && {run}")
    assert command.shown() == "yarn test"
    assert re.match(r'package\.json:1 "test":', command.source)


@pytest.mark.parametrize(
    "script",
    [
        "mocha | tee log",
        "mocha; true",
        "mocha || true",
        "mocha &",
        "mocha > log",
        "mocha `x`",
        "mocha $(x)",
        "mocha && mocha b",
        "mocha # all of it",
        "mocha -- a",
        "mocha --watch",
        "node --test --test-reporter=dot",
        "node test.js",
        "lerna run test",
        "mocha " + "x" * 3000,
        "",
    ],
)
def test_a_script_that_is_not_understood_is_left_alone(script: str) -> None:
    commands = found({"package.json": package(scripts={"test": script})})
    assert commands.test is not None
    assert (commands.test.argv, commands.test.reads) == (("npm", "run", "test"), Reads.EXIT_CODE)
    assert "`npm run test` tells only whether all tests passed" in commands.remarks[0]


def test_packages_are_installed_as_locked() -> None:
    assert found({"package.json": JEST}).setup is None
    for lock, argv in (
        ("package-lock.json", ("npm", "ci")),
        ("pnpm-lock.yaml", ("pnpm", "install", "--frozen-lockfile")),
        ("yarn.lock", ("yarn", "install", "--frozen-lockfile")),
        ("bun.lock", ("bun", "install", "--frozen-lockfile")),
    ):
        setup = found({"package.json": JEST, lock: "{}", "packages/a/package.json": "{}"}).setup
        assert setup is not None
        assert setup.argv[: len(argv)] == argv
        assert (setup.source, setup.makes, setup.network) == (lock, ("node_modules",), True)
        assert setup.files == ("package.json", "packages/a/package.json", lock)
    berry = found({"package.json": JEST, "yarn.lock": "", ".yarnrc.yml": ""}).setup
    assert berry is not None
    assert berry.argv == ("yarn", "install", "--immutable")


PROJECT = """[project]
name = "x"
[project.optional-dependencies]
dev = ["pytest-cov>=5", "ruff"]
[tool.mypy]
strict = true
[tool.ruff]
[tool.coverage.run]
"""


@pytest.mark.parametrize(
    ("files", "argv", "reads"),
    [
        ({"uv.lock": ""}, "uv sync --frozen", ("pyproject.toml", "uv.lock")),
        (
            {"poetry.lock": ""},
            "env POETRY_VIRTUALENVS_IN_PROJECT=true poetry install",
            ("pyproject.toml", "poetry.lock"),
        ),
        ({"pdm.lock": ""}, "pdm install --frozen-lockfile", ("pyproject.toml", "pdm.lock")),
        ({}, "sh -c python3 -m venv .venv && .venv/bin/python -m pip install -e '.[dev]' pytest", ("pyproject.toml",)),
        (
            {"requirements.txt": "pytest==8\n", "setup.cfg": ""},
            "sh -c python3 -m venv .venv && .venv/bin/python -m pip install -r requirements.txt -e '.[dev]'",
            ("requirements.txt", "pyproject.toml", "setup.cfg"),
        ),
    ],
)
def test_a_python_environment_is_made_where_one_is_wanted(files: dict[str, str], argv: str, reads: tuple[str]) -> None:
    files = {"pyproject.toml": PROJECT, "tests/test_a.py": PYTEST, **files}
    assert found(files).setup is None
    commands = found(files, prepare=True)
    assert commands.setup is not None
    assert " ".join(commands.setup.argv).startswith(argv)
    assert (commands.setup.files, commands.setup.makes) == (reads, (".venv",))
    assert commands.test is not None
    assert commands.test.argv[:3] == (".venv/bin/python", "-m", "pytest")


def test_how_code_is_looked_through_and_measured_is_found_with_its_place() -> None:
    commands = found({"pyproject.toml": PROJECT, "tests/test_a.py": PYTEST})
    assert [(one.tool, one.writes, one.source) for one in (*commands.lint, *commands.types)] == [
        ("ruff", Writes.RUFF_JSON, "pyproject.toml:7 [tool.ruff]"),
        ("mypy", Writes.MYPY_JSON, "pyproject.toml:5 [tool.mypy]"),
    ]
    assert commands.types[0].argv[-1] == "."
    assert commands.coverage is not None
    assert "coverage run -m pytest -q -p no:cacheprovider; ended=$?" in commands.coverage.argv[2]
    assert commands.test is not None
    assert commands.test.source == 'pyproject.toml:4 "pytest-cov>=5"'
    typescript = package(devDependencies={"typescript": "5", "eslint": "9", "jest": "30"})
    commands = found({"package.json": typescript, "tsconfig.json": "", "src/a.ts": ""})
    assert [one.tool for one in (*commands.lint, *commands.types)] == ["eslint", "tsc"]
    assert commands.coverage is not None
    assert commands.coverage.writes is Writes.LCOV
    tools = {}
    for files in ({"go.mod": "", ".golangci.yml": ""}, {"Cargo.toml": ""}, {"pom.xml": JACOCO}, {"Makefile": TARGETS}):
        commands = found(files)
        looks = (*commands.lint, *commands.types, *((commands.coverage,) if commands.coverage else ()))
        tools[next(iter(files))] = [one.tool for one in looks]
    assert tools == {
        "go.mod": ["go vet", "golangci-lint", "go build", "go"],
        "Cargo.toml": ["clippy", "cargo check"],
        "pom.xml": ["javac", "jacoco"],
        "Makefile": ["make lint", "make types", "make coverage"],
    }


def test_what_is_there_and_not_taken_is_said() -> None:
    files = {"tests/test_a.py": PYTEST, "package.json": JEST, "web/package.json": "{}", "go/api/go.mod": ""}
    commands = found({**files, "node_modules/a/package.json": "{}", "tests/data/go.mod": ""})
    assert commands.test is not None
    assert commands.test.runner == "pytest"
    assert commands.remarks == (
        'found and not run: `npm test` (package.json:1 "test":); .agentvine.toml can name it',
        "not looked at: go/api/go.mod, web/package.json",
    )
    assert found({"Cargo.toml": "", "crates/a/Cargo.toml": ""}).remarks == ()


def test_below_the_root_one_folder_with_tests_is_taken() -> None:
    files = {"README.md": "", "api/go.mod": "", "web/package.json": package(name="x")}
    commands = found(files)
    assert commands.test is not None
    assert (commands.test.runner, commands.test.directory) == ("go", "api")
    assert commands.test.shown() == "cd api && go test -json ./..."
    assert commands.remarks == ("not looked at: web/package.json",)
    two = found({**files, "web/package.json": JEST})
    assert two.test is None
    assert two.remarks == (
        "several folders have tests of their own, and none was taken: api, web; .agentvine.toml can name one",
    )
    java = found({"server/pom.xml": ""}).test
    assert java is not None
    assert java.report_in_checkout == "server/**/target/surefire-reports/TEST-*.xml"


def test_what_could_not_be_read_is_said() -> None:
    paths = ["package.json", "pyproject.toml", "Cargo.toml", "Makefile", "tests/test_a.py"]
    contents = {
        "package.json": b"{not json",
        "Cargo.toml": b"[[[[",
        "tests/test_a.py": b"\xff\xfe",
        "Makefile": b"test:",
    }
    remarks = " ".join(detect(paths, contents, prepare=True).remarks)
    assert "pyproject.toml was not read: it is no file, or larger than 1048576 bytes" in remarks
    assert "package.json was not understood, it is no sound JSON" in remarks
    assert "Cargo.toml was not understood, it is no sound TOML" in remarks


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
        ('command = "prove"\nformat = "tap"', Reads.TAP, None),
        ('command = "x"\nformat = "jest_json"\njunit = "out.json"', Reads.JEST_JSON, "out.json"),
        ('command = "ctest"\njunit = "build/**/*.xml"', Reads.JUNIT, "build/**/*.xml"),
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


def test_each_command_can_be_said() -> None:
    said = """[setup]
command = "make env"
files = ["lock.txt"]
makes = [".env"]
directory = "api"
[test]
command = ["./t", "--out={junit}"]
directory = "api"
[lint]
command = "make lint"
timeout_seconds = 7
[types]
command = ["mypy", "src"]
[coverage]
command = "make cov"
directory = "api"
"""
    commands = found({"pyproject.toml": PROJECT, "tests/test_a.py": PYTEST}, said)
    assert commands.setup is not None
    assert commands.test is not None
    assert commands.coverage is not None
    assert (commands.setup.directory, commands.setup.files, commands.setup.makes) == ("api", ("lock.txt",), (".env",))
    assert commands.test.directory == "api"
    assert [(one.argv, one.timeout_seconds) for one in commands.lint] == [(("sh", "-c", "make lint"), 7)]
    assert [one.argv for one in commands.types] == [("mypy", "src")]
    assert commands.coverage.directory == "api"
    assert {commands.setup.source, commands.test.source, commands.lint[0].source} == {".agentvine.toml"}
    assert not commands.test.network
    online = found({}, f'{said}[sandbox]\nhosts = ["packages.example.org:443"]\n')
    assert online.test is not None
    assert online.test.network
