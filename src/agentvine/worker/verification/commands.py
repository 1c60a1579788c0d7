"""Which commands set a repository up, test it and look through it. Pure: paths and contents in, data out.

What `.agentvine.toml` says goes before anything found out. Otherwise the first of Python, JavaScript, Go, Rust, Maven,
Gradle and a Makefile that has tests is taken, at the root; where the root has none, the one folder below it that has.
The files are hostile: whatever they hold, nothing here raises, and what was not understood stands in the remarks.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification import look_compiled, look_javascript, look_python
from agentvine.worker.verification.agentvine_toml import JUNIT_PLACEHOLDER, NAME, AgentvineToml, Look, Test
from agentvine.worker.verification.found import (
    REPORT,
    Commands,
    Reads,
    SetupCommand,
    TestCommand,
    ToolCommand,
    Writes,
)
from agentvine.worker.verification.tree import Tree, printable

__all__ = ["REPORT", "Commands", "Reads", "SetupCommand", "TestCommand", "ToolCommand", "Writes", "detect", "wanted"]

_TEST_FILES_READ = 20
_FOLDERS_READ = 20
_DEEPEST_FOLDER = 3
_MANIFESTS = (*look_python.MANIFESTS, *look_javascript.MANIFESTS, *look_compiled.MANIFESTS)
_PROJECTS = ("pyproject.toml", "setup.py", "package.json", "go.mod", "Cargo.toml", "pom.xml", "build.gradle")
_PROJECT_NAMES = frozenset({*_PROJECTS, "build.gradle.kts"})
_TESTS = frozenset({"test", "tests", "spec", "testdata", "e2e"})
_NO_PROJECTS = _TESTS | {"node_modules", "vendor", "third_party", "examples", "example", "fixtures", "docs", "bench"}
_LOOKS = (
    look_python.python,
    look_javascript.javascript,
    look_compiled.go,
    look_compiled.rust,
    look_compiled.maven,
    look_compiled.gradle,
    look_compiled.make,
)
_OF_THE_WHOLE = {"Cargo.toml": "cargo", "pom.xml": "maven", "build.gradle": "gradle", "build.gradle.kts": "gradle"}
"""Manifests below the root that a runner at the root sees to."""


def wanted(paths: Collection[str]) -> tuple[str, ...]:
    """Which of the repository's files `detect` wants to read."""
    there = set(paths)
    names = [NAME, *_MANIFESTS]
    for folder in _folders(there)[:_FOLDERS_READ]:
        names += [f"{folder}/{name}" for name in _MANIFESTS]
    tests = sorted(path for path in there if path.endswith(".py") and kind_of(path) is FileKind.TEST)
    return tuple(dict.fromkeys([*(name for name in names if name in there), *tests[:_TEST_FILES_READ]]))


def detect(
    paths: Collection[str], contents: Mapping[str, bytes], said: AgentvineToml | None = None, *, prepare: bool = False
) -> Commands:
    """The commands of a repository with the files `paths`, of which `contents` holds what `wanted` asked for.

    `prepare`: an environment of its own is wanted, also where that needs the network, and tests are to be run in it.
    Without it, only what a lock file pins is set up, and Python's tests run with the worker's own interpreter.
    """
    tree = Tree.of(paths, contents, wanted(paths))
    found = _at_the_root(tree, prepare=prepare)
    if found.test is None and (said is None or said.test is None):
        found = _below_the_root(tree, found, prepare=prepare)
    if said is not None:
        found = _as_said(found, said)
    if found.test is not None and found.test.reads is Reads.EXIT_CODE:
        tree.remarks.add(f"`{printable(found.test.shown())}` tells only whether all tests passed, not which there are")
    _not_looked_at(tree, found)
    return replace(found, remarks=tuple(tree.remarks.said))


def _at_the_root(tree: Tree, *, prepare: bool) -> Commands:
    """The first look's commands that has tests, with what a Makefile adds. The others' tests are mentioned."""
    all_found = [found for look in _LOOKS if (found := look(tree, prepare=prepare)) is not None]
    testing = [found for found in all_found if found.test is not None]
    for passed_over in testing[1:]:
        if passed_over.test is not None:
            shown, source = passed_over.test.shown(), passed_over.test.source
            tree.remarks.add(f"found and not run: `{printable(shown)}` ({source}); {NAME} can name it")
    if not testing:
        return _merged(all_found)
    return testing[0]


def _merged(all_found: list[Commands]) -> Commands:
    """What is left to look at where there are no tests: the linters and type checkers of all."""
    return Commands(
        lint=tuple(one for found in all_found for one in found.lint),
        types=tuple(one for found in all_found for one in found.types),
    )


def _below_the_root(tree: Tree, root: Commands, *, prepare: bool) -> Commands:
    """The commands of the one folder that has tests. Where several have, none is taken: it would be a guess."""
    testing = []
    for folder in _folders(tree.paths)[:_FOLDERS_READ]:
        found = _at_the_root(tree.below(folder), prepare=prepare)
        if found.test is not None:
            testing.append(_in_folder(found, folder))
    if len(testing) == 1:
        return testing[0]
    if testing:
        places = ", ".join(printable(found.test.directory) for found in testing if found.test is not None)
        tree.remarks.add(f"several folders have tests of their own, and none was taken: {places}; {NAME} can name one")
    return root


def _in_folder(found: Commands, folder: str) -> Commands:
    setup, test, coverage = found.setup, found.test, found.coverage
    if setup is not None:
        files = tuple(f"{folder}/{path}" for path in setup.files)
        setup = replace(setup, directory=folder, files=files, makes=tuple(f"{folder}/{path}" for path in setup.makes))
    if test is not None:
        test = replace(test, directory=folder, report_in_checkout=_beneath(folder, test.report_in_checkout))
    return replace(
        found,
        setup=setup,
        test=test,
        lint=tuple(replace(one, directory=folder) for one in found.lint),
        types=tuple(replace(one, directory=folder) for one in found.types),
        coverage=replace(coverage, directory=folder) if coverage else None,
    )


def _beneath(folder: str, report: str | None) -> str | None:
    return None if report is None else f"{folder}/{report}"


def _folders(paths: Collection[str]) -> list[str]:
    """Folders below the root that look like projects of their own, the nearest first."""
    folders: set[str] = set()
    for path in paths:
        *above, name = path.split("/")
        near = name in _PROJECT_NAMES and 0 < len(above) <= _DEEPEST_FOLDER
        if near and _NO_PROJECTS.isdisjoint(above):
            folders.add("/".join(above))
    return sorted(folders, key=lambda folder: (folder.count("/"), folder))


def _not_looked_at(tree: Tree, found: Commands) -> None:
    """Say which projects below the root the commands do not reach."""
    test = found.test
    runner = test.runner if test is not None else ""
    directory = test.directory if test is not None else "."
    left = sorted(_left(tree, {"nextest": "cargo"}.get(runner, runner), directory))
    if left and test is not None:
        more = f" and {len(left) - 10} more" if len(left) > 10 else ""
        tree.remarks.add(f"not looked at: {', '.join(map(printable, left[:10]))}{more}")


def _left(tree: Tree, runner: str, directory: str) -> Iterator[str]:
    for folder in _folders(tree.paths):
        for name in sorted(_PROJECT_NAMES):
            path = f"{folder}/{name}"
            if path in tree.paths and folder != directory and _OF_THE_WHOLE.get(name, "none") != runner:
                yield path


def _as_said(found: Commands, said: AgentvineToml) -> Commands:
    """`found`, with what the repository says in the place of what was found."""
    setup, test, online = found.setup, found.test, bool(said.sandbox.hosts)
    if said.setup is not None:
        one = said.setup
        setup = SetupCommand(
            one.command, one.timeout_seconds, NAME, one.directory, network=online, files=one.files, makes=one.makes
        )
    if said.test is not None:
        test = _test_as_said(said.test, online=online)
    elif test is not None:
        test = replace(test, network=test.network or online)
    return Commands(
        setup,
        test,
        said.sandbox.hosts,
        lint=(_look_as_said("lint", said.lint, online=online),) if said.lint else found.lint,
        types=(_look_as_said("types", said.types, online=online),) if said.types else found.types,
        coverage=_look_as_said("coverage", said.coverage, online=online) if said.coverage else found.coverage,
    )


def _look_as_said(tool: str, look: Look, *, online: bool) -> ToolCommand:
    seconds, directory = look.timeout_seconds, look.directory
    return ToolCommand(tool, look.command, Writes.TEXT, NAME, None, seconds, directory, network=online)


def _test_as_said(test: Test, *, online: bool) -> TestCommand:
    argv = tuple(argument.replace(JUNIT_PLACEHOLDER, REPORT) for argument in test.command)
    runner, reads = argv[0], Reads.EXIT_CODE
    if argv != test.command or test.junit is not None:
        reads = Reads.JUNIT
    elif test.format is None and _is_pytest(argv):
        runner, reads, argv = "pytest", Reads.JUNIT, (*argv, *look_python.PYTEST_REPORT)
    elif argv[:2] == ("go", "test") and "-json" in argv:
        runner, reads = "go", Reads.GO_JSON
    seconds, directory = test.timeout_seconds, test.directory
    return TestCommand(
        runner, argv, test.format or reads, NAME, test.junit, seconds, directory=directory, network=online
    )


def _is_pytest(argv: tuple[str, ...]) -> bool:
    if any(argument.startswith("--junit") for argument in argv):
        return False
    return argv[0] in {"pytest", "py.test"} or (argv[0].startswith("python") and argv[1:3] == ("-m", "pytest"))
