"""One test of a run, as data: which test it is, how it went, for how long, and what it said.

A test's id is the same in every run of the same test: made of its file, its class or suite, its name and its
parameters, and of nothing that differs between two checkouts. Hostile code wrote it, so all of it is bounded.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Model

MOST_CASES = 200_000
_MOST_TELLINGS = 2 * MOST_CASES
_LONGEST_PART = 500
_LONGEST_ID = 1000
_LONGEST_MESSAGE = 2000
_MOST_MESSAGES = 4 * 1024 * 1024
_MOST_SECONDS = 1_000_000.0
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_UNTOLD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class UnreadableReport(Exception):
    """The report is not what it should be; the message says in which way."""


class Outcome(StrEnum):
    """How a test went."""

    PASSED = "passed"
    SKIPPED = "skipped"
    """It did not run."""
    XFAILED = "xfailed"
    """It ran and failed, as its author said it would."""
    FAILED = "failed"
    ERRORED = "errored"
    """Something around it failed: its set-up, its tear-down, the loading of its file."""

    @property
    def bad(self) -> bool:
        """True if a run with such a test in it has failed."""
        return self in {Outcome.FAILED, Outcome.ERRORED}


_SEVERITY = {
    Outcome.SKIPPED: 0,
    Outcome.XFAILED: 1,
    Outcome.PASSED: 2,
    Outcome.FAILED: 3,
    Outcome.ERRORED: 4,
}


class TestCase(Model):
    """One test of a run."""

    __test__ = False  # keeps pytest from collecting it

    file: str = ""
    """Path from the root of the checkout; empty where the runner does not say."""
    group: str = ""
    """Class, suite or package that it belongs to."""
    name: str
    """Its name within that, parameters included."""
    outcome: Outcome
    seconds: Annotated[float, Field(ge=0)] = 0.0
    message: str = ""
    """What it said when it did not pass, shortened."""
    container: bool = False
    """True if this is no test but what should hold some: a file that did not load, a package that did not build."""
    unsteady: bool = False
    """True if the same run told of it more than once, and differently: it was tried again, or two have one name."""

    @property
    def id(self) -> str:
        """What the test is known by in every run. For pytest it is the node id."""
        return _id(self.file, self.group, self.name, container=self.container)

    @property
    def parameters(self) -> str:
        """What stands in brackets at the end of its name; empty if there is nothing."""
        start = self.name.find("[")
        return self.name[start + 1 : -1] if start > 0 and self.name.endswith("]") else ""

    def holds(self, other: "TestCase") -> bool:
        """Whether `other` is a test that cannot run while this container is broken."""
        if not self.container:
            return False
        if self.file and other.file:
            return self.file == other.file
        return bool(self.group) and (other.group == self.group or other.group.startswith(f"{self.group}."))


def _id(file: str, group: str, name: str, *, container: bool) -> str:
    if file.endswith(".py"):
        group = _beyond_module(group, file)
        container = container and not _beyond_module(name, file)
    else:
        container = container and name == file
    return "::".join([part for part in (file, group, "" if container else name) if part])[:_LONGEST_ID]


def _beyond_module(group: str, file: str) -> str:
    """`group` without the module that repeats `file`, the folders it is imported from left out, as pytest has it."""
    parts = file.removesuffix(".py").split("/")
    for start in range(len(parts)):
        module = ".".join(parts[start:])
        if group == module:
            return ""
        if group.startswith(f"{module}."):
            return group[len(module) + 1 :].replace(".", "::")
    return group


Tests = dict[str, TestCase]
"""The tests of one run by their ids, in the order in which they were told."""


@dataclass(frozen=True, slots=True)
class Told:
    """A test as a report tells of it, before anything about it is believed."""

    name: str
    outcome: Outcome
    file: str = ""
    group: str = ""
    seconds: object = 0.0
    message: str = ""
    container: bool = False
    unsteady: bool = False


def collect(told: Iterable[Told], roots: Sequence[str] = ()) -> Tests:
    """The tests of one run. `roots` are the names by which the checkout was known to it, which paths are freed of.

    Of several tellings of one test the worst counts. Raises UnreadableReport for more tests than anyone has.
    """
    sums: dict[str, _Sum] = {}
    for number, one in enumerate(told):
        file, group, name = _clean(relative(one.file, roots)), _clean(one.group), _clean(relative(one.name, roots))
        known = sums.get(id_ := _id(file, group, name, container=one.container))
        if known is not None:
            known.add(one)
        elif len(sums) >= MOST_CASES:
            raise UnreadableReport(f"the report names more than {MOST_CASES} tests")
        else:
            sums[id_] = _Sum(file, group, name, one, seconds_of(one.seconds), one.unsteady)
        if number > _MOST_TELLINGS:
            raise UnreadableReport(f"the report tells of tests more than {_MOST_TELLINGS} times")
    room = _MOST_MESSAGES
    tests: Tests = {}
    for id_, sum_ in sums.items():
        tests[id_] = sum_.case(room)
        room -= len(tests[id_].message)
    return tests


@dataclass(slots=True)
class _Sum:
    """All that was told of one test."""

    file: str
    group: str
    name: str
    worst: Told
    seconds: float
    unsteady: bool

    def add(self, other: Told) -> None:
        outcomes = {self.worst.outcome, other.outcome}
        self.unsteady = self.unsteady or other.unsteady or (len(outcomes) > 1 and Outcome.PASSED in outcomes)
        self.seconds = min(self.seconds + seconds_of(other.seconds), _MOST_SECONDS)
        if _SEVERITY[other.outcome] > _SEVERITY[self.worst.outcome]:
            self.worst = other

    def case(self, room: int) -> TestCase:
        """The test, with a message of at most `room` characters."""
        message = _UNTOLD.sub(_REPLACEMENT, self.worst.message[:_LONGEST_MESSAGE].strip())[: max(room, 0)]
        return TestCase(
            file=self.file,
            group=self.group,
            name=self.name,
            outcome=self.worst.outcome,
            seconds=self.seconds,
            message=message,
            container=self.worst.container,
            unsteady=self.unsteady,
        )


def seconds_of(value: object) -> float:
    """`value` as a number of seconds, 0 for anything that is none."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _MOST_SECONDS) if math.isfinite(seconds) else 0.0


def relative(path: str, roots: Sequence[str]) -> str:
    """`path` from the root of the checkout, if it lies in it; else as it is."""
    bare = path.removeprefix("file://")
    for root in roots:
        if root and bare.startswith(f"{root.rstrip('/')}/"):
            return bare[len(root.rstrip("/")) + 1 :]
    return path.removeprefix("./")


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub(_REPLACEMENT, text[:_LONGEST_PART])


def below(told: Iterable[Told], directory: str) -> Iterable[Told]:
    """The same tests, whose files are told from the folder `directory` of the checkout, told from its root."""
    if directory in {"", "."}:
        return told
    return (
        replace(one, file=f"{directory}/{one.file}") if one.file and not one.file.startswith("/") else one
        for one in told
    )
