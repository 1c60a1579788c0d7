"""Which command sets a repository up, and which runs its tests. Pure: paths and contents in, data out.

What `.agentvine.toml` says goes before anything found out. Otherwise the first of Python, JavaScript, Go, Rust, Maven,
Gradle and a Makefile's `test` target that is there is taken.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification.agentvine_toml import JUNIT_PLACEHOLDER, NAME, AgentvineToml, Test

REPORT = "{report}"
"""In an argument: the file outside the checkout into which the runner writes its report."""
_TEST_FILES_READ = 20
_MANIFESTS = (
    NAME,
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    "package.json",
    "Makefile",
    "requirements.txt",
    "requirements-dev.txt",
    "dev-requirements.txt",
    "requirements/dev.txt",
    "requirements/test.txt",
)


class Reads(StrEnum):
    """How the result of a test run can be read."""

    JUNIT = "junit"
    """JUnit XML, in `REPORT` or at a place in the checkout."""
    JEST_JSON = "jest_json"
    """What `jest --json` writes to `REPORT`; vitest writes the same."""
    GO_JSON = "go_json"
    """The events that `go test -json` prints (https://pkg.go.dev/cmd/test2json)."""
    UNITTEST = "unittest"
    """The lines that `python -m unittest -v` prints."""
    EXIT_CODE = "exit_code"
    """Nothing but passed or not: no counts and no names."""


@dataclass(frozen=True, slots=True)
class SetupCommand:
    argv: tuple[str, ...]
    timeout_seconds: float = 900.0
    source: str = ""


@dataclass(frozen=True, slots=True)
class TestCommand:
    """`runner` names the tool; `source` says why this command was taken."""

    __test__ = False  # keeps pytest from collecting it

    runner: str
    argv: tuple[str, ...]
    reads: Reads
    source: str
    report_in_checkout: str | None = None
    timeout_seconds: float = 1800.0

    def shown(self) -> str:
        """The command as a person would type it."""
        return " ".join(argument for argument in self.argv if REPORT not in argument)


@dataclass(frozen=True, slots=True)
class Commands:
    """`test` None: nothing was found that runs tests. `hosts` are those that they want to reach."""

    setup: SetupCommand | None = None
    test: TestCommand | None = None
    hosts: tuple[str, ...] = ()


def wanted(paths: Collection[str]) -> tuple[str, ...]:
    """Which of the repository's files `detect` wants to read."""
    there = set(paths)
    tests = sorted(path for path in there if path.endswith(".py") and kind_of(path) is FileKind.TEST)
    return (*(name for name in _MANIFESTS if name in there), *tests[:_TEST_FILES_READ])


def detect(paths: Collection[str], contents: Mapping[str, bytes], said: AgentvineToml | None = None) -> Commands:
    """The commands of a repository with the files `paths`, of which `contents` holds what `wanted` asked for."""
    texts = {path: content.decode("utf-8", "replace") for path, content in contents.items()}
    repository = _Repository(frozenset(paths), texts)
    found = next(filter(None, (look(repository) for look in _LOOKS)), Commands())
    if said is None:
        return found
    setup = SetupCommand(said.setup.command, said.setup.timeout_seconds, NAME) if said.setup else found.setup
    return Commands(setup, _as_said(said.test) if said.test else found.test, said.sandbox.hosts)


@dataclass(frozen=True, slots=True)
class _Repository:
    paths: frozenset[str]
    texts: Mapping[str, str]

    def has(self, name: str) -> bool:
        return name in self.paths

    def says(self, name: str, pattern: str) -> bool:
        return re.search(pattern, self.texts.get(name, ""), re.MULTILINE) is not None


def _as_said(test: Test) -> TestCommand:
    argv = tuple(argument.replace(JUNIT_PLACEHOLDER, REPORT) for argument in test.command)
    common = {"source": NAME, "timeout_seconds": test.timeout_seconds}
    if argv != test.command or test.junit is not None:
        return TestCommand(argv[0], argv, Reads.JUNIT, NAME, test.junit, test.timeout_seconds)
    if _is_pytest(argv):
        return TestCommand("pytest", (*argv, *_PYTEST_REPORT), Reads.JUNIT, NAME, None, test.timeout_seconds)
    if argv[:2] == ("go", "test") and "-json" in argv:
        return TestCommand("go", argv, Reads.GO_JSON, NAME, None, test.timeout_seconds)
    return TestCommand(argv[0], argv, Reads.EXIT_CODE, **common)  # type: ignore[arg-type]


def _is_pytest(argv: tuple[str, ...]) -> bool:
    if any(argument.startswith("--junit") for argument in argv):
        return False
    return argv[0] in {"pytest", "py.test"} or (argv[0].startswith("python") and argv[1:3] == ("-m", "pytest"))


_PYTEST_REPORT = (f"--junitxml={REPORT}", "-o", "junit_family=xunit2")
_PYTEST = ("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", *_PYTEST_REPORT)


def _python(repository: _Repository) -> Commands | None:
    tests = [path for path in repository.paths if path.endswith(".py") and kind_of(path) is FileKind.TEST]
    source = _pytest_source(repository)
    if source is not None and (tests or repository.says("pyproject.toml", r"python_files|testpaths")):
        return Commands(test=TestCommand("pytest", _PYTEST, Reads.JUNIT, source))
    if repository.has("noxfile.py"):
        return Commands(test=TestCommand("nox", ("python3", "-m", "nox"), Reads.EXIT_CODE, "noxfile.py"))
    if repository.says("tox.ini", r"^\[tox\]|^\[testenv") or repository.says("pyproject.toml", r"^\[tool\.tox"):
        return Commands(test=TestCommand("tox", ("python3", "-m", "tox", "-q"), Reads.EXIT_CODE, "tox.ini"))
    if not tests:
        return None
    if all(_only_unittest(repository.texts[path]) for path in tests if path in repository.texts):
        return Commands(test=_unittest(tests))
    return Commands(test=TestCommand("pytest", _PYTEST, Reads.JUNIT, f"{min(tests)} looks like a test"))


def _pytest_source(repository: _Repository) -> str | None:
    if repository.has("pytest.ini"):
        return "pytest.ini"
    for path in sorted(repository.paths):
        if path.rsplit("/", 1)[-1] == "conftest.py":
            return path
    requirements = [name for name in repository.texts if name.endswith(".txt")]
    for name, pattern in (
        ("pyproject.toml", r"^\[tool\.pytest|[\"']pytest\b|^pytest\b"),
        ("setup.cfg", r"^\[tool:pytest\]|^\s*pytest\b"),
        ("tox.ini", r"^\[pytest\]|\bpytest\b"),
        *((name, r"^pytest\b") for name in requirements),
    ):
        if repository.says(name, pattern):
            return name
    return next((path for path in sorted(repository.texts) if repository.says(path, r"^\s*import pytest\b")), None)


def _only_unittest(text: str) -> bool:
    """True if pytest is not needed: test cases as classes of unittest, or no test at all."""
    return "unittest" in text or not re.search(r"^(async )?def test_", text, re.MULTILINE)


def _unittest(tests: list[str]) -> TestCommand:
    folders = sorted({path.split("/", 1)[0] for path in tests if "/" in path})
    start = ("-s", folders[0]) if len(folders) == 1 and all("/" in path for path in tests) else ()
    argv = ("python3", "-m", "unittest", "discover", "-v", *start, *(("-t", ".") if start else ()))
    return TestCommand("unittest", argv, Reads.UNITTEST, f"{min(tests)} uses unittest")


def _javascript(repository: _Repository) -> Commands | None:
    manifest = _package_json(repository.texts.get("package.json"))
    if manifest is None:
        return None
    tool, install = _package_manager(repository)
    packages = {**_table(manifest, "dependencies"), **_table(manifest, "devDependencies")}
    setup = SetupCommand(install, source="package.json") if install and packages else None
    script = _table(manifest, "scripts").get("test")
    text = script if isinstance(script, str) and "no test specified" not in script else None
    run = {"npm": ("npx", "--no-install"), "pnpm": ("pnpm", "exec"), "yarn": ("yarn", "run"), "bun": ("bunx",)}[tool]
    if "vitest" in packages and (text is None or "vitest" in text):
        argv = (*run, "vitest", "run", "--reporter=json", f"--outputFile={REPORT}")
        return Commands(setup, TestCommand("vitest", argv, Reads.JEST_JSON, "package.json"))
    if "jest" in packages and (text is None or "jest" in text):
        argv = (*run, "jest", "--ci", "--json", f"--outputFile={REPORT}")
        return Commands(setup, TestCommand("jest", argv, Reads.JEST_JSON, "package.json"))
    if text is None:
        return None
    return Commands(setup, TestCommand(tool, (tool, "run", "test"), Reads.EXIT_CODE, "package.json"))


def _package_json(text: str | None) -> Mapping[str, object] | None:
    try:
        manifest = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _table(manifest: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = manifest.get(name)
    return value if isinstance(value, dict) else {}


def _package_manager(repository: _Repository) -> tuple[str, tuple[str, ...]]:
    """The tool, and how it installs exactly what the lock file says (nothing without one)."""
    if repository.has("pnpm-lock.yaml"):
        return "pnpm", ("pnpm", "install", "--frozen-lockfile")
    if repository.has("yarn.lock"):
        return "yarn", ("yarn", "install", "--frozen-lockfile")
    if repository.has("bun.lockb") or repository.has("bun.lock"):
        return "bun", ("bun", "install", "--frozen-lockfile")
    locked = repository.has("package-lock.json") or repository.has("npm-shrinkwrap.json")
    return "npm", ("npm", "ci", "--no-audit", "--no-fund") if locked else ()


def _go(repository: _Repository) -> Commands | None:
    if not repository.has("go.mod"):
        return None
    return Commands(test=TestCommand("go", ("go", "test", "-json", "./..."), Reads.GO_JSON, "go.mod"))


def _rust(repository: _Repository) -> Commands | None:
    if not repository.has("Cargo.toml"):
        return None
    argv = ("cargo", "test", "--quiet", *(("--workspace",) if repository.has("Cargo.lock") else ()))
    return Commands(test=TestCommand("cargo", argv, Reads.EXIT_CODE, "Cargo.toml"))


def _maven(repository: _Repository) -> Commands | None:
    if not repository.has("pom.xml"):
        return None
    tool = "./mvnw" if repository.has("mvnw") else "mvn"
    return Commands(test=TestCommand("maven", (tool, "-B", "-q", "test"), Reads.EXIT_CODE, "pom.xml"))


def _gradle(repository: _Repository) -> Commands | None:
    build = next((name for name in ("build.gradle", "build.gradle.kts") if repository.has(name)), None)
    if build is None:
        return None
    tool = "./gradlew" if repository.has("gradlew") else "gradle"
    return Commands(test=TestCommand("gradle", (tool, "--no-daemon", "-q", "test"), Reads.EXIT_CODE, build))


def _make(repository: _Repository) -> Commands | None:
    if not repository.says("Makefile", r"^test\s*:(?!=)"):
        return None
    return Commands(test=TestCommand("make", ("make", "test"), Reads.EXIT_CODE, "Makefile"))


_LOOKS = (_python, _javascript, _go, _rust, _maven, _gradle, _make)
