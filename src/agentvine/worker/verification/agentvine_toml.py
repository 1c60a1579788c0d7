"""`.agentvine.toml`: how a repository is set up, tested and looked through. Read from the base branch only.

[setup]
command = "pip install -e ."          # a line for `sh -c`, or a list of arguments
timeout_seconds = 900
files = ["requirements.txt"]          # what the environment depends on, and
makes = [".venv"]                     # the folders that make it up: it is made once for each state of the files

[test]
command = ["python3", "-m", "pytest", "-q"]
junit = "build/junit.xml"             # where the command writes JUnit XML, if it does; `{junit}` in the command
timeout_seconds = 1800                # instead names a file outside the checkout
format = "tap"                        # what it writes there, or prints, if that is not JUnit XML
directory = "backend"                 # where it is run, if that is not the root

[lint]                                # [types] and [coverage] alike: command, timeout_seconds, directory
command = ["make", "lint"]

[sandbox]
hosts = ["packages.example.org:443"]  # what set-up and tests have to reach; open only if the worker offers it
"""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from agentvine.domain.base import Strict
from agentvine.domain.errors import InvalidInput
from agentvine.domain.task import Hosts
from agentvine.worker.verification.found import Reads
from agentvine.worker.verification.tree import read_toml

NAME = ".agentvine.toml"
JUNIT_PLACEHOLDER = "{junit}"
_LARGEST = 64 * 1024

_Argument = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$")]
_Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
_Path = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^/\x00-\x1f\x7f-][^\x00-\x1f\x7f]*$")]
"""Inside the checkout."""


def _stays_inside(path: str | None) -> str | None:
    if path is not None and ".." in path.split("/"):
        raise ValueError("a path inside the checkout, without '..'")
    return path


class _Command(Strict):
    command: Annotated[tuple[_Argument, ...], Field(min_length=1, max_length=200)]
    directory: _Path = "."

    @field_validator("command", mode="before")
    @classmethod
    def _line_for_the_shell(cls, value: object) -> object:
        if isinstance(value, str):
            if not value.strip():
                raise ValueError("the command is empty; leave the table out instead")
            return ("sh", "-c", value)
        return value

    _inside = field_validator("directory")(_stays_inside)


class Setup(_Command):
    """What has to run once in a fresh checkout before its tests can."""

    timeout_seconds: _Seconds = 900.0
    files: Annotated[tuple[_Path, ...], Field(max_length=200)] = ()
    makes: Annotated[tuple[_Path, ...], Field(max_length=20)] = ()

    @field_validator("files", "makes")
    @classmethod
    def _all_inside(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            _stays_inside(path)
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.files) != bool(self.makes):
            raise ValueError("'files' and 'makes' belong together")
        return self


class Test(_Command):
    """How the tests are run."""

    __test__ = False  # keeps pytest from collecting it

    junit: Annotated[str, StringConstraints(max_length=500, pattern=r"^[^/\x00][^\x00]*$")] | None = None
    format: Reads | None = None
    timeout_seconds: _Seconds = 1800.0

    @model_validator(mode="after")
    def _one_report(self) -> Self:
        if self.junit is not None and any(JUNIT_PLACEHOLDER in argument for argument in self.command):
            raise ValueError(f"either 'junit' or {JUNIT_PLACEHOLDER} in the command, not both")
        if self.junit is not None and ".." in self.junit.split("/"):
            raise ValueError("'junit' is a path inside the checkout, without '..'")
        return self


class Look(_Command):
    """How the code is looked through, or its coverage measured."""

    timeout_seconds: _Seconds = 900.0


class Sandbox(Strict):
    """What the sandbox shall let through."""

    hosts: Hosts = ()


class AgentvineToml(Strict):
    """What a repository says of itself."""

    sandbox: Sandbox = Sandbox()
    setup: Setup | None = None
    test: Test | None = None
    lint: Look | None = None
    types: Look | None = None
    coverage: Look | None = None


def parse(content: bytes) -> AgentvineToml:
    """The file's meaning. Raises InvalidInput, whose message names every place that must be mended."""
    if len(content) > _LARGEST:
        raise InvalidInput(f"{NAME} on the base branch is larger than {_LARGEST} bytes")
    try:
        table = read_toml(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also a number that is too long for an int
        raise InvalidInput(f"{NAME} on the base branch is no TOML: {str(error)[:500]}") from error
    try:
        return AgentvineToml.model_validate(table)
    except ValidationError as error:
        places = [
            {"pointer": "".join(f"/{part}" for part in one["loc"]), "message": one["msg"]}
            for one in error.errors(include_url=False)
        ]
        lines = "".join(f"\n  {place['pointer'] or 'the file'}: {place['message']}" for place in places)
        raise InvalidInput(f"{NAME} on the base branch cannot be used:{lines}", errors=places) from error
