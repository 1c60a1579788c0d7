"""How a Python repository is set up, tested and looked through."""

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification.found import (
    REPORT,
    Commands,
    Reads,
    SetupCommand,
    TestCommand,
    ToolCommand,
    Writes,
)
from agentvine.worker.verification.tree import Tree, printable, strings, table

REQUIREMENTS = (
    "requirements.txt",
    "requirements-dev.txt",
    "dev-requirements.txt",
    "requirements-test.txt",
    "test-requirements.txt",
    "requirements_dev.txt",
    "requirements/dev.txt",
    "requirements/test.txt",
)
MANIFESTS = ("pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "mypy.ini", ".flake8", *REQUIREMENTS)
PYTEST_REPORT = (f"--junitxml={REPORT}", "-o", "junit_family=xunit1")
"""xunit1 is the family that names each test's file."""
_PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
_VENV = ".venv"
_MARK = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
_TEST_EXTRAS = ("test", "tests", "testing", "dev")


def python(tree: Tree, *, prepare: bool) -> Commands | None:
    """The commands, or None if nothing here is Python's. `prepare`: tests run in an environment of their own."""
    tests = sorted(path for path in tree.paths if path.endswith(".py") and kind_of(path) is FileKind.TEST)
    if not tests and not any(tree.has(name) for name in (*MANIFESTS, "noxfile.py", "pytest.ini")):
        return None
    setup = _setup(tree) if prepare else None
    interpreter = f"{_VENV}/bin/python" if setup is not None else "python3"
    test = _test(tree, tests, interpreter)
    return Commands(
        setup,
        test,
        lint=tuple(_linters(tree, interpreter)),
        types=tuple(_type_checkers(tree, interpreter)),
        coverage=_coverage(tree, test, interpreter),
    )


def _test(tree: Tree, tests: list[str], interpreter: str) -> TestCommand | None:
    pytest = (interpreter, *_PYTEST, *PYTEST_REPORT)
    source = _asks_for_pytest(tree)
    if source is not None and (tests or tree.find("pyproject.toml", r"python_files|testpaths")):
        return TestCommand("pytest", pytest, Reads.JUNIT, source)
    if tree.has("noxfile.py"):
        return TestCommand("nox", (interpreter, "-m", "nox"), Reads.EXIT_CODE, tree.place("noxfile.py"), network=True)
    tox = tree.find("tox.ini", r"^\[(?:tox|testenv)[^\]\n]*\]") or tree.find("pyproject.toml", r"^\[tool\.tox[.\]]")
    if tox is not None:
        return TestCommand("tox", (interpreter, "-m", "tox", "-q"), Reads.EXIT_CODE, tox, network=True)
    if not tests:
        return None
    if all(_only_unittest(tree.text(path)) for path in tests if path in tree.texts):
        return _unittest(tree, tests, interpreter)
    return TestCommand("pytest", pytest, Reads.JUNIT, f"{tree.place(tests[0])} looks like a test")


def _asks_for_pytest(tree: Tree) -> str | None:
    """Where it says so: the tool's own files, then its table, then a requirement, then an import."""
    for name in ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"):
        if tree.has(name):
            return tree.place(name)
    conftest = next((path for path in sorted(tree.paths) if path.rsplit("/", 1)[-1] == "conftest.py"), None)
    if conftest is not None:
        return tree.place(conftest)
    for name, pattern in (
        ("pyproject.toml", r"^\[tool\.pytest[^\]\n]*\]"),
        ("pyproject.toml", r"[\"']pytest\b[^\"'\n]*[\"']|^pytest\b"),
        ("setup.cfg", r"^\[tool:pytest\]|^[ \t]*pytest\b"),
        ("tox.ini", r"^\[pytest\]|\bpytest\b"),
        *((name, r"^pytest\b") for name in REQUIREMENTS),
    ):
        if (source := tree.find(name, pattern)) is not None:
            return source
    imports = (tree.find(path, r"^[ \t]*(?:import|from) pytest\b") for path in sorted(tree.texts))
    return next(filter(None, imports), None)


def _only_unittest(text: str) -> bool:
    """True if pytest is not needed: test cases as classes of unittest, or no test at all."""
    return "unittest" in text or not re.search(r"^(?:async )?def test_", text, re.MULTILINE)


def _unittest(tree: Tree, tests: list[str], interpreter: str) -> TestCommand:
    folders = sorted({path.split("/", 1)[0] for path in tests if "/" in path})
    start = ("-s", folders[0]) if len(folders) == 1 and all("/" in path for path in tests) else ()
    argv = (interpreter, "-m", "unittest", "discover", "-v", *start, *(("-t", ".") if start else ()))
    return TestCommand("unittest", argv, Reads.UNITTEST, f"{tree.place(tests[0])} uses unittest")


def _linters(tree: Tree, interpreter: str) -> Iterator[ToolCommand]:
    ruff = _configured(tree, "ruff", "ruff.toml", ".ruff.toml")
    if ruff is not None:
        argv = (interpreter, "-m", "ruff", "check", "--no-fix", "--no-cache", "--output-format=json")
        yield ToolCommand("ruff", (*argv, f"--output-file={REPORT}"), Writes.RUFF_JSON, ruff)
    flake8 = tree.place(".flake8") if tree.has(".flake8") else None
    flake8 = flake8 or tree.find("setup.cfg", r"^\[flake8\]") or tree.find("tox.ini", r"^\[flake8\]")
    if flake8 is not None:
        yield ToolCommand("flake8", (interpreter, "-m", "flake8"), Writes.TEXT, flake8)


def _type_checkers(tree: Tree, interpreter: str) -> Iterator[ToolCommand]:
    mypy = _configured(tree, "mypy", "mypy.ini", ".mypy.ini") or tree.find("setup.cfg", r"^\[mypy\]")
    if mypy is not None:
        settings = table(tree.toml("pyproject.toml"), "tool", "mypy")
        in_ini = tree.find("mypy.ini", r"^(?:files|packages|modules)[ \t]*=")
        in_ini = in_ini or tree.find("setup.cfg", r"^(?:files)[ \t]*=")
        named = in_ini is not None or bool(settings.keys() & {"files", "packages", "modules"})
        argv = (interpreter, "-m", "mypy", "--output=json", "--no-error-summary", *(() if named else (".",)))
        yield ToolCommand("mypy", argv, Writes.MYPY_JSON, mypy)
    pyright = _configured(tree, "pyright", "pyrightconfig.json")
    if pyright is not None:
        yield ToolCommand("pyright", ("pyright", "--outputjson"), Writes.PYRIGHT_JSON, pyright)


def _coverage(tree: Tree, test: TestCommand | None, interpreter: str) -> ToolCommand | None:
    source = tree.place(".coveragerc") if tree.has(".coveragerc") else None
    source = source or tree.find("pyproject.toml", r"^\[tool\.coverage[^\]\n]*\]|[\"'](?:pytest-cov|coverage)\b")
    source = source or tree.find("setup.cfg", r"^\[coverage:[^\]\n]*\]") or tree.find("tox.ini", r"^\[coverage:")
    for name in REQUIREMENTS:
        source = source or tree.find(name, r"^(?:pytest-cov|coverage)\b")
    return measuring(test, source, interpreter) if source is not None else None


def measuring(test: TestCommand | None, source: str = "", interpreter: str = "") -> ToolCommand | None:
    """The measurement of these tests by coverage.py; None if it does not know how.

    `source` says why; empty: nobody asked for it, so it measures all that lies in the repository, loaded or not.
    """
    if test is None or test.runner not in {"pytest", "unittest"}:
        return None
    own, *rest = (argument for argument in test.argv if argument not in PYTEST_REPORT)
    if PurePosixPath(own).name in {"pytest", "py.test"}:
        own, rest = str(PurePosixPath(own).with_name("python3")), ["-m", "pytest", *rest]
    if rest[:1] != ["-m"]:
        return None
    python, runs = shlex.quote(interpreter or own), shlex.join(rest)
    of = "" if source else " --source=."
    line = (
        f"{python} -m coverage run{of} {runs}; ended=$?; "
        f"{python} -m coverage combine -q >/dev/null 2>&1; "
        f"{python} -m coverage json -q -i -o {REPORT} && exit $ended"
    )
    return ToolCommand(
        "coverage",
        ("sh", "-c", line),
        Writes.COVERAGE_JSON,
        source or test.source,
        timeout_seconds=1800.0,
        directory=test.directory,
        network=test.network,
    )


def _configured(tree: Tree, tool: str, *files: str) -> str | None:
    """Where it says that `tool` is used: a file of its own, its table in pyproject.toml, or a requirement."""
    own = tree.first(*files)
    if own is not None:
        return tree.place(own)
    source = tree.find("pyproject.toml", rf"^\[\[?tool\.{tool}(?=[.\]])[^\]\n]*\]")
    source = source or tree.find("pyproject.toml", rf"[\"']{tool}(?![-\w])[^\"'\n]*[\"']")
    for name in REQUIREMENTS:
        source = source or tree.find(name, rf"^{tool}(?![-\w])")
    return source


def _setup(tree: Tree) -> SetupCommand | None:
    """How the environment is made: by the tool whose lock file is there, else by pip in `.venv`."""
    for lock, argv in (
        ("uv.lock", ("uv", "sync", "--frozen", "--all-extras", "--all-groups")),
        ("poetry.lock", ("env", "POETRY_VIRTUALENVS_IN_PROJECT=true", "poetry", "install", "-n", "--all-extras")),
        ("pdm.lock", ("pdm", "install", "--frozen-lockfile", "-G:all")),
    ):
        if tree.has(lock) and tree.has("pyproject.toml"):
            files = tuple(name for name in ("pyproject.toml", lock, ".python-version") if tree.has(name))
            return SetupCommand(argv, source=tree.place(lock), files=files, makes=(_VENV,))
    return _pip(tree)


def _pip(tree: Tree) -> SetupCommand | None:
    requirements = [name for name in REQUIREMENTS if tree.has(name)]
    project = tree.toml("pyproject.toml")
    builds = tree.has("setup.py") or bool(table(project, "project")) or bool(table(project, "build-system"))
    if not requirements and not builds:
        return None
    extras = [name for name in _TEST_EXTRAS if name in table(project, "project", "optional-dependencies")]
    groups = [name for name in _TEST_EXTRAS if name in table(project, "dependency-groups")]
    words = [f"-r {name}" for name in requirements]
    words += [f"-e '.[{','.join(extras)}]'" if extras else "-e ."] if builds else []
    words += [f"--group {name}" for name in groups]
    if not _names_pytest(tree, [*extras, *groups]):
        words.append("pytest")
    line = f"python3 -m venv {_VENV} && {_VENV}/bin/python -m pip install {' '.join(words)}"
    found = tree.first(*requirements, "pyproject.toml", "setup.py") or ""
    files = (*requirements, *(name for name in ("pyproject.toml", "setup.py", "setup.cfg") if tree.has(name)))
    return SetupCommand(("sh", "-c", line), source=tree.place(found), files=files, makes=(_VENV,))


def _names_pytest(tree: Tree, extras: list[str]) -> bool:
    """Whether what will be installed brings pytest."""
    project = tree.toml("pyproject.toml")
    named = list(strings(table(project, "project").get("dependencies")))
    for extra in extras:
        named += strings(table(project, "project", "optional-dependencies").get(extra))
        named += strings(table(project, "dependency-groups").get(extra))
    named += (line for name in REQUIREMENTS for line in tree.text(name).splitlines())
    return any((mark := _MARK.match(printable(one.strip()))) and mark[0].lower() == "pytest" for one in named)
