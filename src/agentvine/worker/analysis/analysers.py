"""Which analysers there are, for which files, and how each is called. Pure: it builds commands, others run them.

Each is called so that nothing in the checkout decides what it finds: with the settings that the base has, else with
those given here; without the comments that silence it, where it can be told so; and never from the checkout's own
modules, which is what `-I` is for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.worker.analysis.reported import (
    Reader,
    read_bandit,
    read_eslint,
    read_go_vet,
    read_mypy,
    read_ruff,
    read_shellcheck,
    read_tsc,
)

MOST_FILES = 500
"""Files that one analyser is given at most."""
_PYTHON = frozenset({".py", ".pyi"})
_JAVASCRIPT = frozenset({".js", ".jsx", ".mjs", ".cjs"})
_TYPESCRIPT = frozenset({".ts", ".tsx", ".mts", ".cts"})
_MODULE = ("python3", "-I", "-m")


@dataclass(frozen=True, slots=True)
class Analyser:
    """One analyser. `done` are the exit codes of a run that came to its end."""

    name: str
    suffixes: frozenset[str]
    version: tuple[str, ...]
    """The command that tells its version; it fails where the analyser is not there."""
    command: tuple[str, ...]
    reader: Reader
    done: frozenset[int] = frozenset({0, 1})
    own: tuple[str, ...] = ()
    """What is added where the base has no settings for it."""
    takes_files: bool = True
    comes_with: str = "worker"
    """Who has to bring it: the worker, the host, or the repository, whose set-up is run first."""

    def files(self, paths: Collection[str]) -> tuple[str, ...]:
        """Those of `paths` that it reads, in order."""
        return tuple(sorted(path for path in paths if PurePosixPath(path).suffix in self.suffixes))

    def commands(self, files: Sequence[str], *, configured: bool) -> tuple[tuple[str, ...], ...]:
        """How it is called, in the order to try: with the base's settings if there are some, and without them."""
        given = tuple(f"./{path}" for path in files[:MOST_FILES]) if self.takes_files else ()
        alone = (*self.command, *self.own, *given)
        return ((*self.command, *given), alone) if configured and self.own else (alone,)


RUFF = Analyser(
    "ruff",
    _PYTHON,
    (*_MODULE, "ruff", "--version"),
    (*_MODULE, "ruff", "check", "--no-fix", "--no-cache", "--ignore-noqa", "--force-exclude", "--output-format=json"),
    read_ruff,
    own=("--isolated", "--select=E9,F,B,PLE,ASYNC", "--ignore=B008"),
)
MYPY = Analyser(
    "mypy",
    _PYTHON,
    (*_MODULE, "mypy", "--version"),
    (
        *(*_MODULE, "mypy", "--output=json", "--no-error-summary", "--cache-dir=/dev/null", "--follow-imports=silent"),
        "--ignore-missing-imports",
    ),
    read_mypy,
    own=("--config-file=", "--explicit-package-bases", "--namespace-packages", "--check-untyped-defs"),
)
BANDIT = Analyser(
    "bandit",
    _PYTHON,
    (*_MODULE, "bandit", "--version"),
    # B404 remarks on every import of subprocess, whatever is done with it.
    (*_MODULE, "bandit", "--quiet", "--ignore-nosec", "--skip=B404", "--format=json"),
    read_bandit,
)
ESLINT = Analyser(
    "eslint",
    _JAVASCRIPT | _TYPESCRIPT,
    ("node_modules/.bin/eslint", "--version"),
    ("node_modules/.bin/eslint", "--no-inline-config", "--format=json", "--no-warn-ignored"),
    read_eslint,
    comes_with="repository",
)
TSC = Analyser(
    "tsc",
    _TYPESCRIPT,
    ("node_modules/.bin/tsc", "--version"),
    ("node_modules/.bin/tsc", "--noEmit", "--pretty", "false", "--incremental", "false"),
    read_tsc,
    done=frozenset({0, 1, 2}),
    takes_files=False,
    comes_with="repository",
)
GO_VET = Analyser(
    "go vet",
    frozenset({".go"}),
    ("go", "version"),
    ("go", "vet", "-json", "./..."),
    read_go_vet,
    done=frozenset({0}),
    takes_files=False,
    comes_with="host",
)
SHELLCHECK = Analyser(
    "shellcheck",
    frozenset({".sh", ".bash"}),
    ("shellcheck", "--version"),
    ("shellcheck", "--norc", "--format=json1"),
    read_shellcheck,
    comes_with="host",
)
ALL = (RUFF, MYPY, BANDIT, ESLINT, TSC, GO_VET, SHELLCHECK)

_SETTINGS = frozenset(
    {
        *("pyproject.toml", "setup.cfg", "tox.ini", "ruff.toml", ".ruff.toml", "mypy.ini", ".mypy.ini", ".bandit"),
        *(".eslintignore", "package.json", ".shellcheckrc", "shellcheckrc"),
    }
)
_SETTINGS_START = ("eslint.config.", ".eslintrc", "tsconfig")


def says_how(path: str) -> bool:
    """Whether the file at `path` may hold an analyser's settings: it is taken from the base."""
    name = PurePosixPath(path).name
    return name in _SETTINGS or name.startswith(_SETTINGS_START)


def configured(analyser: Analyser, texts: Mapping[str, str]) -> bool:
    """Whether the base has settings for it; `texts` are the files at the base's root that may hold them."""
    if analyser is RUFF:
        return bool(texts.keys() & {"ruff.toml", ".ruff.toml"}) or "[tool.ruff" in texts.get("pyproject.toml", "")
    if analyser is MYPY:
        if texts.keys() & {"mypy.ini", ".mypy.ini"} or "[tool.mypy" in texts.get("pyproject.toml", ""):
            return True
        return "[mypy" in texts.get("setup.cfg", "")
    return False


ROOT_SETTINGS = ("ruff.toml", ".ruff.toml", "mypy.ini", ".mypy.ini", "pyproject.toml", "setup.cfg")
"""The files whose texts `configured` wants."""
