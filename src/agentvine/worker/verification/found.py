"""What was found out of how a repository is set up, tested and looked through, as data."""

from dataclasses import dataclass
from enum import StrEnum

REPORT = "{report}"
"""In an argument: the file, unknown to the repository, into which the tool writes its report."""


class Reads(StrEnum):
    """How the result of a test run can be read."""

    JUNIT = "junit"
    """JUnit XML, in `REPORT` or at a place in the checkout."""
    JEST_JSON = "jest_json"
    """What `jest --json` writes to `REPORT`; vitest writes the same."""
    TAP = "tap"
    """The Test Anything Protocol, at a place in the checkout or printed."""
    GO_JSON = "go_json"
    """The events that `go test -json` prints (https://pkg.go.dev/cmd/test2json)."""
    LIBTEST = "libtest"
    """The lines that `cargo test` prints."""
    UNITTEST = "unittest"
    """The lines that `python -m unittest -v` prints."""
    EXIT_CODE = "exit_code"
    """Nothing but passed or not: no counts and no names."""

    @property
    def from_file(self) -> bool:
        """True if a run without a report file says nothing."""
        return self in {Reads.JUNIT, Reads.JEST_JSON}


class Writes(StrEnum):
    """What a linter, a type checker or a measurement of coverage leaves: in `REPORT` if it is in the command, else at
    `report_in_checkout`, else printed."""

    RUFF_JSON = "ruff_json"
    ESLINT_JSON = "eslint_json"
    MYPY_JSON = "mypy_json"
    PYRIGHT_JSON = "pyright_json"
    GOLANGCI_JSON = "golangci_json"
    CARGO_JSON = "cargo_json"
    """A line of JSON for each message (https://doc.rust-lang.org/cargo/reference/external-tools.html)."""
    COVERAGE_JSON = "coverage_json"
    """coverage.py's."""
    LCOV = "lcov"
    GO_COVER = "go_cover"
    """`go test -coverprofile`."""
    JACOCO_XML = "jacoco_xml"
    TEXT = "text"
    """Lines for people, and an exit code."""


@dataclass(frozen=True, slots=True)
class SetupCommand:
    """How the environment is made in a fresh checkout.

    `files` are what it depends on, `makes` the folders that it leaves: both empty where that is not known.
    """

    argv: tuple[str, ...]
    timeout_seconds: float = 900.0
    source: str = ""
    directory: str = "."
    network: bool = True
    files: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestCommand:
    """`runner` names the tool; `source` says why this command was taken: a file, its line, and what stands there.

    `report_in_checkout` is a path or a pattern with `*` and `**`. `network`: it downloads what it needs. `told` is the
    command as a person would type it, where that is shorter.
    """

    __test__ = False  # keeps pytest from collecting it

    runner: str
    argv: tuple[str, ...]
    reads: Reads
    source: str
    report_in_checkout: str | None = None
    timeout_seconds: float = 1800.0
    directory: str = "."
    network: bool = False
    told: str = ""

    def shown(self) -> str:
        """The command as a person would type it."""
        where = "" if self.directory == "." else f"cd {self.directory} && "
        return where + (self.told or " ".join(argument for argument in self.argv if REPORT not in argument))


@dataclass(frozen=True, slots=True)
class ToolCommand:
    """A linter, a type checker, or a test run that measures coverage. As `TestCommand` otherwise."""

    tool: str
    argv: tuple[str, ...]
    writes: Writes
    source: str
    report_in_checkout: str | None = None
    timeout_seconds: float = 900.0
    directory: str = "."
    network: bool = False


@dataclass(frozen=True, slots=True)
class Commands:
    """`test` None: nothing was found that runs tests. `hosts` are those that they want to reach.

    `remarks` say what was not read, not looked at, or found and not taken: sentences for people.
    """

    setup: SetupCommand | None = None
    test: TestCommand | None = None
    hosts: tuple[str, ...] = ()
    lint: tuple[ToolCommand, ...] = ()
    types: tuple[ToolCommand, ...] = ()
    coverage: ToolCommand | None = None
    remarks: tuple[str, ...] = ()
