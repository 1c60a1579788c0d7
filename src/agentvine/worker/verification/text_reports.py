"""What runners print for people, where they have nothing better: libtest, unittest. And TAP, which is meant to be read.

Tests print as well, on the same streams. So what is counted line by line has to agree with the sum at the end; where it
does not, nothing is believed.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from agentvine.worker.verification.cases import Outcome, Told, UnreadableReport, seconds_of

_LONGEST_LINE = 4000
_LONGEST_VERDICT = 500
_LONGEST_GROUP = 1000
_DEEPEST = 50

_LIBTEST_SECTION = re.compile(r"^\s*Running (?:unittests )?(\S+) \((?:[^()]*/)?([^/()]+?)(?:-[0-9a-f]{16})?\)$")
_LIBTEST_DOCS = re.compile(r"^\s*Doc-tests (\S+)$")
_LIBTEST_TEST = re.compile(r"^test (.+?)(?: - should panic| - compile(?: fail)?)? \.\.\. (ok|FAILED|ignored)(?:, .*)?$")
_LIBTEST_SUM = re.compile(r"^test result: (?:ok|FAILED)\. (\d{1,9}) passed; (\d{1,9}) failed; (\d{1,9}) ignored; ")
_LIBTEST = {"ok": Outcome.PASSED, "FAILED": Outcome.FAILED, "ignored": Outcome.SKIPPED}


def read_libtest(output: str) -> Iterator[Told]:
    """The tests that `cargo test` prints, both of its streams in one (https://doc.rust-lang.org/rustc/tests/).

    Raises UnreadableReport if a binary's tests are not what it sums up, or if nothing is summed up at all.
    """
    file = group = ""
    told: list[Told] = []
    summed_up = False
    for line in _lines(output):
        if section := _LIBTEST_SECTION.match(line):
            _nothing_open(told)
            file, group = section[1], section[2]
        elif docs := _LIBTEST_DOCS.match(line):
            _nothing_open(told)
            file, group = "", f"doc {docs[1]}"
        elif (sum_ := _LIBTEST_SUM.match(line)) is not None:
            _agrees(told, [int(number) for number in sum_.groups()])
            yield from told
            told, summed_up = [], True
        elif test := _LIBTEST_TEST.match(line):
            told.append(Told(test[1], _LIBTEST[test[2]], file=file, group=group))
    _nothing_open(told)
    if not summed_up:
        raise UnreadableReport("cargo printed no result of tests: they did not build, or did not run")


def _nothing_open(told: list[Told]) -> None:
    if told:
        raise UnreadableReport(f"the tests around {told[-1].name[:200]!r} have no result: their process ended early")


def _agrees(told: list[Told], said: list[int]) -> None:
    outcomes = [one.outcome for one in told]
    counted = [outcomes.count(outcome) for outcome in (Outcome.PASSED, Outcome.FAILED, Outcome.SKIPPED)]
    if counted != said:
        raise UnreadableReport(
            "the lines of tests do not add up to the result that was printed:"
            f" {counted[0]} passed, {counted[1]} failed, {counted[2]} ignored against {said[0]}, {said[1]}, {said[2]}"
        )


_UNITTEST_NAME = re.compile(r"^(\w+) \(([\w.]+)\)")
_UNITTEST_VERDICT = re.compile(
    r"(?:^|\.\.\. )(ok|FAIL|ERROR|skipped|expected failure|unexpected success)(?: '(.*)'| \"(.*)\")?$"
)
_UNITTEST_BLOCK = re.compile(r"^(FAIL|ERROR): (\w+) \(([\w.]+)\)")
_UNITTEST_END = re.compile(r"^(OK|FAILED|NO TESTS RAN)(?: \(.*\))?$")
_UNITTEST = {
    "ok": Outcome.PASSED,
    "expected failure": Outcome.XFAILED,
    "skipped": Outcome.SKIPPED,
    "ERROR": Outcome.ERRORED,
}
_FAILED_TO_LOAD = "unittest.loader._FailedTest"


def read_unittest(output: str) -> Iterator[Told]:
    """The tests that `python -m unittest -v` prints (https://docs.python.org/3/library/unittest.html).

    A line names a test; that line, or a later one if the test has a description or prints, ends with its verdict.
    Raises UnreadableReport if the last word does not agree with the verdicts, or is missing.
    """
    named: tuple[str, str] | None = None
    counted, bad, end = False, False, ""
    for line in _lines(output):
        if name := _UNITTEST_NAME.match(line):
            named = (name[1], name[2])
        elif block := _UNITTEST_BLOCK.match(line):
            bad = True
            yield _unittest(block[2], block[3], Outcome.ERRORED if block[1] == "ERROR" else Outcome.FAILED)
        counted = counted or line.startswith("Ran ")
        if counted and (last := _UNITTEST_END.match(line)):
            end = last[1]
        verdict = _UNITTEST_VERDICT.search(line[-_LONGEST_VERDICT:]) if named else None
        if named and verdict:
            outcome = _UNITTEST.get(verdict[1], Outcome.FAILED)
            bad = bad or outcome.bad
            yield _unittest(*named, outcome, verdict[2] or verdict[3] or "")
            named = None
    if not counted or not end:
        raise UnreadableReport("unittest did not say how many tests it ran and how that ended")
    if bad is not (end == "FAILED"):
        raise UnreadableReport(f"unittest says {end}, and its lines say {'otherwise' if bad else 'that none failed'}")


def _unittest(name: str, group: str, outcome: Outcome, message: str = "") -> Told:
    """Before Python 3.11 the group is the class, since then it ends with the test's name, too."""
    group = group.removesuffix(f".{name}")
    if group == _FAILED_TO_LOAD:
        return Told("", Outcome.ERRORED, group=name, message="it could not be loaded", container=True)
    return Told(name, outcome, group=group, message=message)


_TAP_POINT = re.compile(r"^(not )?ok\b(?:[ \t]+(\d{1,9}))?(?:[ \t]+(.*))?$")
_TAP_PLAN = re.compile(r"^1\.\.(\d{1,9})(?:[ \t]*#[ \t]*(.*))?$")
_TAP_DIRECTIVE = re.compile(r"(?<!\\)#[ \t]*(skip|todo)\S*[ \t]*(.*)$", re.IGNORECASE)
_TAP_SECONDS = re.compile(r"^duration_ms:[ \t]*([0-9.]{1,20})$")
_TAP_ERROR = re.compile(r"^(?:error|message):[ \t]*(.*)$")


class _Tap:
    """Reads TAP 13 and 14 (https://testanything.org/tap-version-14-specification.html), subtests by their indentation.

    A test point after a block of deeper ones is their sum, and no test of its own.
    """

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.plan: int | None = None
        self._waiting: dict[int, list[Told]] = {}
        self._yaml: int | None = None

    def line(self, line: str) -> None:
        text = line.lstrip(" ")
        depth = (len(line) - len(text)) // 4
        if self._yaml is not None:
            self._diagnostic(text)
        elif text.startswith("---") and self._last(depth) is not None:
            self._yaml = depth
        elif depth > _DEEPEST:
            raise UnreadableReport(f"the report is nested more than {_DEEPEST} deep")
        elif text.startswith("Bail out!"):
            raise UnreadableReport(f"the tests gave up: {text[9:200].strip()}")
        elif (point := _TAP_POINT.match(text)) is not None:
            self._point(depth, point)
        elif depth == 0 and (plan := _TAP_PLAN.match(text)):
            if self.plan is not None:
                raise UnreadableReport("the report has two plans")
            self.plan = int(plan[1])

    def _point(self, depth: int, point: re.Match[str]) -> None:
        self.seen[depth] = self.seen.get(depth, 0) + 1
        text = (point[3] or "").removeprefix("- ")
        directive = _TAP_DIRECTIVE.search(text)
        word = directive[1].lower() if directive else ""
        name = (text[: directive.start()] if directive else text).replace("\\#", "#").replace("\\\\", "\\").strip()
        outcome = Outcome.FAILED if point[1] else Outcome.PASSED
        if word == "skip" or (word == "todo" and not outcome.bad):
            outcome = Outcome.SKIPPED
        elif word == "todo":
            outcome = Outcome.XFAILED
        name = name or f"test {point[2] or self.seen[depth]}"
        inner = self._waiting.pop(depth + 1, [])
        self.seen.pop(depth + 1, None)
        if inner and (not outcome.bad or any(one.outcome.bad for one in inner)):
            mine = [_beneath(name, one) for one in inner]
        else:
            mine = [*(_beneath(name, one) for one in inner), _tap_told(name, outcome, directive)]
        self._waiting.setdefault(depth, []).extend(mine)

    def _diagnostic(self, text: str) -> None:
        if text.startswith("..."):
            self._yaml = None
            return
        depth = self._yaml or 0
        last = self._last(depth)
        if last is None:
            return
        if seconds := _TAP_SECONDS.match(text):
            self._waiting[depth][-1] = replace(last, seconds=seconds_of(seconds[1]) / 1000)
        elif error := _TAP_ERROR.match(text):
            self._waiting[depth][-1] = replace(last, message=last.message or error[1].strip("'\""))

    def _last(self, depth: int) -> Told | None:
        waiting = self._waiting.get(depth)
        return waiting[-1] if waiting else None

    def finish(self) -> list[Told]:
        if self.plan is None:
            raise UnreadableReport("the report has no plan: it is no TAP, or breaks off")
        if self.plan != self.seen.get(0, 0):
            raise UnreadableReport(f"{self.plan} tests were planned and {self.seen.get(0, 0)} told of")
        if any(told for depth, told in self._waiting.items() if depth > 0):
            raise UnreadableReport("the report ends within a subtest")
        return self._waiting.get(0, [])


def read_tap(output: str) -> list[Told]:
    """The tests of a TAP document. Raises UnreadableReport, also if they are not as many as were planned."""
    tap = _Tap()
    for line in _lines(output):
        tap.line(line)
    return tap.finish()


def _beneath(above: str, one: Told) -> Told:
    return replace(one, group=(f"{above} > {one.group}" if one.group else above)[:_LONGEST_GROUP])


def _tap_told(name: str, outcome: Outcome, directive: re.Match[str] | None) -> Told:
    container = outcome is Outcome.FAILED and name.startswith("/")  # node's, for a file that ended badly
    message = directive[2] if directive else ""
    return Told(name, outcome, file=name if container else "", message=message, container=container)


def _lines(output: str) -> Iterator[str]:
    return (line[:_LONGEST_LINE] for line in output.splitlines())
