"""JUnit XML, in the dialects of those who write it: pytest, unittest runners, node, mocha, jest, vitest, nextest,
Surefire, Gradle.

There is no one standard; what they have in common is in https://github.com/testmoapp/junitxml, Surefire's schema in
https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd. Read with expat as a stream: no
tree is built, and document types, and with them all entities, are refused, so that nothing in it grows or reaches out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from agentvine.worker.verification.cases import MOST_CASES, Outcome, Told, UnreadableReport

_DEEPEST = 100
_LONGEST_TEXT = 4000
_LONGEST_SUITE = 500
_NO_GROUP = frozenset({"", "test"})
"""node writes `test` as the class of every test."""
_RERUN_BAD = frozenset({"rerunFailure", "rerunError"})
_RERUN_GOOD = frozenset({"flakyFailure", "flakyError"})
"""Surefire's, for tests that were tried again: the first two of one that never passed, the others of one that did."""


@dataclass(slots=True)
class _Open:
    """The test case whose element is being read."""

    attributes: dict[str, str]
    suite: str
    failed: str | None = None
    """failure or error"""
    skipped: str | None = None
    """The type of the skip."""
    flaky: bool = False
    message: str = ""
    text: list[str] = field(default_factory=list)
    room: int = _LONGEST_TEXT


class _Reader:
    def __init__(self) -> None:
        self.told: list[Told] = []
        self.roots = 0
        self._depth = 0
        self._suites: list[str] = []
        """Of each open suite, its name behind those of the suites around it."""
        self._open: _Open | None = None
        self._listening = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableReport(f"the report is nested more than {_DEEPEST} deep")
        tag = tag.rpartition(":")[2]
        if tag in {"testsuite", "testsuites"}:
            self.roots += 1
            self._suites.append(self._within(attributes.get("name", "") if tag == "testsuite" else ""))
        elif tag == "testcase":
            self._open = _Open(attributes, self._within(""))
        elif self._open is not None:
            self._inside(tag, attributes, self._open)

    def _within(self, suite: str) -> str:
        above = self._suites[-1] if self._suites else ""
        return " > ".join(part for part in (above, suite[:_LONGEST_SUITE]) if part)[:_LONGEST_SUITE]

    def _inside(self, tag: str, attributes: dict[str, str], case: _Open) -> None:
        if tag in {"failure", "error"}:
            case.failed = "error" if tag == "error" else case.failed or "failure"
        elif tag == "skipped":
            case.skipped = attributes.get("type", "")
        elif tag in _RERUN_GOOD | _RERUN_BAD:
            case.flaky = case.flaky or tag in _RERUN_GOOD
            return
        else:
            return
        case.message = case.message or attributes.get("message", "")[:_LONGEST_TEXT]
        self._listening = True

    def text(self, data: str) -> None:
        if self._listening and self._open is not None and self._open.room > 0:
            self._open.text.append(data[: self._open.room])
            self._open.room -= len(data)

    def end(self, tag: str) -> None:
        self._depth -= 1
        tag = tag.rpartition(":")[2]
        if tag in {"failure", "error", "skipped"}:
            self._listening = False
        elif tag in {"testsuite", "testsuites"}:
            self._suites.pop()
        elif tag == "testcase" and self._open is not None:
            if len(self.told) > 2 * MOST_CASES:
                raise UnreadableReport(f"the report tells of more than {2 * MOST_CASES} tests")
            self.told.append(_told(self._open))
            self._open, self._listening = None, False


def read_junit(report: bytes) -> Iterator[Told]:
    """The tests that the document tells of. Raises UnreadableReport."""
    reader, parser = _Reader(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(report, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the others: of an encoding that nobody knows
        raise UnreadableReport(f"the report is no XML: {error}") from error
    if not reader.roots:
        raise UnreadableReport("the report is XML, but not JUnit's")
    yield from reader.told


def _refuse(*_: object) -> None:
    raise UnreadableReport("the report declares a document type or entities")


def _told(case: _Open) -> Told:
    attributes = case.attributes
    given, name, file = (attributes.get(key, "") for key in ("classname", "name", "file"))
    group = case.suite if given in _NO_GROUP else given
    collected = "collection failure" in case.message and given == ""  # pytest's: the file could not be loaded
    container = collected or (case.failed is not None and given in _NO_GROUP and _is_file(name, file))
    message = "\n".join(part for part in (case.message, "".join(case.text).strip()) if part)
    return Told(
        name=name,
        outcome=_outcome(case),
        file=file or (name if container and not collected else ""),
        group="" if container else group,
        seconds=attributes.get("time", "0").replace(",", ""),
        message=message,
        container=container,
        unsteady=case.flaky,
    )


def _is_file(name: str, file: str) -> bool:
    """Whether that is what node calls a file that it could not load: by its path, since version 22 from the root."""
    return name.startswith("/") or ("/" in name and file.endswith(f"/{name}")) or (bool(name) and name == file)


def _outcome(case: _Open) -> Outcome:
    expected = case.skipped is not None and (case.skipped.endswith("xfail") or case.skipped == "todo")
    if case.failed is not None:  # node writes a failing to-do so; it does not make the run fail
        return Outcome.XFAILED if expected else _FAILED[case.failed]
    if case.skipped is None:
        return Outcome.PASSED
    return Outcome.XFAILED if case.skipped.endswith("xfail") else Outcome.SKIPPED


_FAILED = {"failure": Outcome.FAILED, "error": Outcome.ERRORED}
