"""Whether a change makes tests state less, or changes who judges them. Texts in, sentences out; nothing is run.

It is a net with known holes, not a proof: what a test is worth is shown by running it, here is found what a run cannot
show. Python is read as a syntax tree, other languages by their usual words. What cannot be read is passed over, because
a file that no parser reads does not run either.
"""

import configparser
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.worker.files import FileKind, kind_of
from agentvine.worker.verification import weakening_python, weakening_words

LARGEST = 1024 * 1024
"""Bytes of a file that is looked at."""
_PLACES = frozenset({"testpaths", "python_files", "python_classes", "python_functions", "norecursedirs", "addopts"})
_RUNNER_FILES = frozenset(
    {"makefile", "gnumakefile", "package.json", "tox.ini", "noxfile.py", "justfile", "taskfile.yml"}
)
_SETTINGS = frozenset({"pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml"})
_CONFIGURATIONS = re.compile(
    r"^(jest|vitest|karma|playwright|cypress)\.config\.\w+$|^\.mocharc(\.\w+)?$|^\.coveragerc$"
)
_HUSHED = re.compile(
    r"\|\|\s*(true|:|exit\s+0)\b|[;&]\s*(true|exit\s+0)\s*[\"']?,?\s*$|^\s*exit\s+0\s*$|\bset\s+\+e\b|--passWithNoTests"
)
_HUSHED_MAKE = re.compile(
    r"^\.IGNORE\b|^\s*(?:export\s+|override\s+)?SHELL\s*[:?]?:?=(?!\s*\S*(?:bash|\bsh|zsh|dash)\b)|^\t@?-\s*\S"
)
_TIDYING = re.compile(
    r"^\s*[@-]*\s*(?:sudo\s+)?(?:rm|rmdir|mkdir|docker|kill|killall|pkill|git|cp|mv|touch|ln|command|which|find)\b"
)
"""Commands that are let fail everywhere, because what they want may be so already."""
_MAKE = frozenset({"makefile", "gnumakefile"})
_RUNS_TESTS = re.compile(r"test|check|ci|verify|spec|lint|run|all", re.IGNORECASE)
"""Names of scripts that may be what tests are run by."""


@dataclass(frozen=True, slots=True)
class Weakening:
    """One thing found. `line` 0: the file as a whole."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}" if self.line else f"{self.path}: {self.what}"


def is_looked_at(path: str) -> bool:
    """Whether `weakenings` has anything to say of a file at `path`."""
    name = PurePosixPath(path).name.lower()
    return kind_of(path) is FileKind.TEST or _is_runner(name) or name in _SETTINGS or bool(_CONFIGURATIONS.match(name))


def weakenings(path: str, before: str | None, after: str | None) -> tuple[Weakening, ...]:
    """What was weakened in one file, whose text was `before` and is `after` (None: there is none). Never raises."""
    if after is None:
        return ()  # that its tests are gone is seen where tests are run
    found: list[Weakening] = []
    name = PurePosixPath(path).name.lower()
    looks: list[Callable[[str | None, str], Iterator[tuple[int, str]]]] = []
    if kind_of(path) is FileKind.TEST:
        looks.append(
            _python if path.endswith(".py") else weakening_words.of_language(PurePosixPath(path).suffix.lower())
        )
    if name in _SETTINGS:
        looks.append(_toml_settings if name.endswith(".toml") else _ini_settings)
    if _is_runner(name) and (kind_of(path) is FileKind.TEST or name in _RUNNER_FILES or _RUNS_TESTS.search(path)):
        looks.append(_hushed_in_make if name in _MAKE or name.endswith(".mk") else _hushed)
    if path in {"GNUmakefile", "makefile"} and before is None:
        found.append(Weakening(path, 0, "make takes it in the place of the Makefile: leave it out"))
    if name == "package.json":
        looks.append(_scripts)
    if _CONFIGURATIONS.match(name) and before is not None and before != after:
        found.append(Weakening(path, 0, "it steers which tests are run and how: leave it as it was"))
    for look in looks:
        found += [Weakening(path, line, what) for line, what in look(before, after)]
    return tuple(found)


def _is_runner(name: str) -> bool:
    return name in _RUNNER_FILES or name.endswith((".sh", ".mk", ".bash"))


def _python(before: str | None, after: str) -> Iterator[tuple[int, str]]:
    try:
        findings = list(weakening_python.compared(before, after))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from ((finding.line, finding.what) for finding in findings)


def _hushed_in_make(before: str | None, after: str) -> Iterator[tuple[int, str]]:
    yield from _hushed(before, after, (_HUSHED, _HUSHED_MAKE))


def _hushed(
    before: str | None, after: str, patterns: tuple[re.Pattern[str], ...] = (_HUSHED,)
) -> Iterator[tuple[int, str]]:
    """Lines that make a failure look like success."""
    known = {line.strip() for line in (before or "").splitlines()}
    for number, line in enumerate(after.splitlines(), 1):
        hushed = any(pattern.search(line) for pattern in patterns) and not _TIDYING.match(line)
        if hushed and line.strip() not in known:
            yield number, f"`{line.strip()[:100]}` makes a failure look like success"


def _scripts(before: str | None, after: str) -> Iterator[tuple[int, str]]:
    """Scripts of package.json that run tests."""
    try:
        old, new = (_test_scripts(json.loads(text)) for text in (before or "{}", after))
    except (ValueError, RecursionError):
        return
    for name in old:
        if new.get(name) != old[name]:
            yield 0, f"the script {name!r} runs tests: leave it as it was ({old[name]!r})"


def _test_scripts(package: object) -> dict[str, object]:
    scripts = package.get("scripts") if isinstance(package, dict) else None
    return {name: one for name, one in scripts.items() if "test" in name} if isinstance(scripts, dict) else {}


def _ini_settings(before: str | None, after: str) -> Iterator[tuple[int, str]]:
    try:
        old, new = (_ini(text) for text in (before or "", after))
    except configparser.Error:
        return
    yield from _settings(before, old, new)


def _toml_settings(before: str | None, after: str) -> Iterator[tuple[int, str]]:
    try:
        old, new = (_toml(text) for text in (before or "", after))
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    yield from _settings(before, old, new)


def _settings(before: str | None, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Settings of pytest that say which tests there are."""
    for name in sorted(_PLACES & (old.keys() | new.keys())):
        if old.get(name) != new.get(name):
            was = f"leave it at {old[name][:100]!r}" if name in old else "leave it out"
            yield 0, f"pytest's `{name}` steers which tests are run and how: {was}"


def _ini(text: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    parser.read_string(text)
    sections = [section for section in ("pytest", "tool:pytest") if parser.has_section(section)]
    return {name: str(value) for section in sections for name, value in parser.items(section)}


def _toml(text: str) -> dict[str, str]:
    table: object = tomllib.loads(text)
    for step in ("tool", "pytest", "ini_options"):
        table = table.get(step, {}) if isinstance(table, dict) else {}
    return {name: str(value) for name, value in table.items()} if isinstance(table, dict) else {}
