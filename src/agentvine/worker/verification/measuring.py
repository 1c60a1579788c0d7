"""How a run of some tests is measured: which lines of which files it executed. Commands and readings, nothing is run.

Measured is Python under pytest and unittest, by coverage.py, and JavaScript in node's own engine, by what V8 counts.
Both follow into processes that the tests start. What is found lies in files of the checkout whose name the repository
does not know; what they say is a stranger's word like any report.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from agentvine.worker.verification.found import Reads, TestCommand

Lines = Mapping[str, frozenset[int]]
"""Path from the root of the checkout → lines that were executed."""
_MOST_SELECTED = 60
_SELECTABLE = re.compile(r"^[\w./-]+\.py(::\w+)+$")
_PYTHON = re.compile(r"^(?:.*/)?python[\d.]*$")
_DRIVER = """
import json, os, runpy, sys
place, root, module = sys.argv[1:4]
del sys.argv[1:4]
try:
    import coverage
except ImportError:
    measure = None
else:
    with open(place + ".rc", "w") as file:
        file.write("[run]\\npatch = subprocess\\nparallel = true\\n")
    with open(place + ".root", "w") as file:
        file.write(root)
    measure = coverage.Coverage(data_file=place + ".data", config_file=place + ".rc")
    measure.start()
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    if measure is not None:
        measure.stop()
        measure.save()
        measure.combine()
        data, top = measure.get_data(), os.path.realpath(root)
        names = {os.path.relpath(os.path.realpath(name), top): name for name in data.measured_files()}
        lines = {path: sorted(data.lines(name) or ()) for path, name in names.items() if not path.startswith("..")}
        with open(place + ".lines", "w") as file:
            json.dump(lines, file)
"""
"""Runs a module as `python -m` does, measured. Where there is no coverage.py, it is run all the same."""
_WITH_COVERAGE = (
    'place="$PWD/$1"; python="$2"; driver="$3"; into="$4"; root="$PWD"; shift 4; '
    'cd -- "$into" || exit 127; exec "$python" -c "$driver" "$place" "$root" "$@"'
)
_WITH_V8 = 'printf "%s" "$PWD" > "$1.root"; NODE_V8_COVERAGE="$PWD/$1.v8"; export NODE_V8_COVERAGE; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Measurement:
    """A command, to be run at the root of the checkout, and where it leaves what it measured: paths or patterns."""

    command: TestCommand
    found: str
    root: str
    """Where it leaves the name that the checkout has for it, if it is able to measure."""
    suffixes: frozenset[str]
    """Of the files that are measured."""


def only(command: TestCommand, tests: Sequence[str], files: Sequence[str]) -> TestCommand:
    """`command`, for `tests` (ids) alone, or at least for the `files` they are in; as it is where it cannot be told."""
    here = command.directory in {"", "."}
    if command.runner == "pytest" and here and "--" not in command.argv:
        plain = [re.sub(r"\[.*\]$", "", test, flags=re.DOTALL) for test in tests]
        wanted = list(dict.fromkeys(plain)) if all(map(_SELECTABLE.match, plain)) else []
        chosen = wanted if 0 < len(wanted) <= _MOST_SELECTED else [file for file in files if file.endswith(".py")]
        return replace(command, argv=(*command.argv, *chosen), told="") if chosen else command
    if command.runner == "unittest" and here and command.argv[1:4] == ("-m", "unittest", "discover"):
        modules = [file for file in files if file.endswith(".py")]
        return replace(command, argv=(*command.argv[:3], "-v", *modules)) if modules else command
    if command.runner == "go" and here and command.argv[-1:] == ("./...",):
        packages = sorted({f"./{PurePosixPath(file).parent}" for file in files if file.endswith(".go")})
        return replace(command, argv=(*command.argv[:-1], *packages)) if packages else command
    return command


def measured(command: TestCommand, name: str) -> Measurement | None:
    """`command` with a measurement; `name` begins the names of the files it leaves. None: not known how."""
    if _is_python(command):
        python, _, *rest = _as_module(command.argv)
        into = command.directory or "."
        argv = ("sh", "-c", _WITH_COVERAGE, "sh", name, python, _DRIVER, into, *_up(rest, into))
        return Measurement(
            replace(command, argv=argv, directory="."), f"{name}.lines", f"{name}.root", frozenset({".py"})
        )
    if command.runner in {"node", "mocha"} and command.directory in {"", "."}:
        argv = ("sh", "-c", _WITH_V8, "sh", name, *command.argv)
        scripts = frozenset({".js", ".mjs", ".cjs"})
        return Measurement(replace(command, argv=argv), f"{name}.v8/*.json", f"{name}.root", scripts)
    return None


def _is_python(command: TestCommand) -> bool:
    argv = command.argv
    if (
        command.runner == "pytest"
        and command.reads is Reads.JUNIT
        and PurePosixPath(argv[0]).name in {"pytest", "py.test"}
    ):
        return True
    return command.runner in {"pytest", "unittest"} and bool(_PYTHON.match(argv[0])) and argv[1:2] == ("-m",)


def _as_module(argv: Sequence[str]) -> tuple[str, ...]:
    """The interpreter, and what it is to run."""
    path = PurePosixPath(argv[0])
    if _PYTHON.match(argv[0]):
        return tuple(argv)
    python = "python3" if len(path.parts) == 1 else str(path.with_name("python"))
    return (python, "-m", "pytest", *argv[1:])


def _up(words: Sequence[str], into: str) -> list[str]:
    """The report is named from the root, and the command is run in a folder."""
    up = "../" * len([part for part in into.split("/") if part not in {"", "."}])
    return [word.replace("{report}", up + "{report}") for word in words]


def executed(measurement: Measurement, reports: Sequence[bytes], root: str, texts: Mapping[str, str]) -> Lines | None:
    """The lines that were executed; None if the reports do not say.

    `root` is the name that the checkout had, `texts` the files that are of interest: V8 counts characters, not lines.
    """
    try:
        told = [json.loads(report) for report in reports]
        if ".py" in measurement.suffixes:
            return _of_coverage(told)
        return _of_v8(told, root, texts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _of_coverage(told: Sequence[Mapping[str, Sequence[int]]]) -> Lines | None:
    if not told:
        return None
    return {str(path): frozenset(map(int, lines)) for path, lines in told[0].items()}


def _of_v8(told: Sequence[Mapping[str, object]], root: str, texts: Mapping[str, str]) -> Lines | None:
    """What any of the processes executed (https://nodejs.org/api/cli.html#node_v8_coveragedir)."""
    if not told or not root:
        return None
    found: dict[str, set[int]] = {}
    for report in told:
        scripts = report["result"]
        for script in scripts if isinstance(scripts, list) else []:
            path = str(script["url"]).removeprefix("file://").removeprefix(f"{root.rstrip('/')}/")
            if path in texts:
                ranges = [one for function in script["functions"] for one in function["ranges"]]
                found.setdefault(path, set()).update(_counted(texts[path], ranges))
    return {path: frozenset(lines) for path, lines in found.items()}


def _counted(text: str, ranges: Collection[Mapping[str, int]]) -> set[int]:
    """The lines whose first character lies in a range that was executed; of several ranges the innermost says so."""
    spans = sorted((int(one["startOffset"]), -int(one["endOffset"]), int(one["count"])) for one in ranges)
    lines, place = set(), 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        first = place + len(line) - len(line.lstrip())
        count = 0
        for start, end, times in spans:
            if start <= first < -end:
                count = times
        if count and line.strip():
            lines.add(number)
        place += len(line.encode("utf-16-le")) // 2
    return lines
