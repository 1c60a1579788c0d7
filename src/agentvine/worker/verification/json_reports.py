"""Reports in JSON: what jest and vitest write to a file, and the events that `go test -json` prints."""

import json
from collections.abc import Iterator, Mapping

from agentvine.worker.verification.cases import Outcome, Told, UnreadableReport

_MOST_OUTPUT = 4000
_LARGEST = 16 * 1024 * 1024
"""Bytes of a document that is read at once: in memory it may come to twenty times as much."""

_JEST = {
    "passed": Outcome.PASSED,
    "failed": Outcome.FAILED,
    "pending": Outcome.SKIPPED,
    "skipped": Outcome.SKIPPED,
    "todo": Outcome.SKIPPED,
    "disabled": Outcome.SKIPPED,
}


def read_jest(report: bytes) -> Iterator[Told]:
    """The tests of `jest --json` (https://jestjs.io/docs/configuration#testresultsprocessor-string), also vitest's.

    Raises UnreadableReport.
    """
    if len(report) > _LARGEST:
        raise UnreadableReport(f"the report is larger than {_LARGEST} bytes")
    try:
        for file in json.loads(report)["testResults"]:
            yield from _jest_file(file)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableReport(f"the report is not what jest writes: {error!r}"[:500]) from error


def _jest_file(file: Mapping[str, object]) -> Iterator[Told]:
    path = str(file.get("name", ""))
    tests = file.get("assertionResults", [])
    if not isinstance(tests, list):
        raise TypeError("assertionResults is no list")
    if not tests and file.get("status") == "failed":
        yield Told(
            path, Outcome.ERRORED, file=path, message=str(file.get("message", ""))[:_MOST_OUTPUT], container=True
        )
    for one in tests:
        outcome = _JEST.get(str(one.get("status")), Outcome.FAILED)
        if one.get("failing") is True and outcome is Outcome.PASSED:  # test.failing
            outcome = Outcome.XFAILED
        group, name = _jest_name(one)
        said = one.get("failureMessages") or [""]
        duration = one.get("duration")
        yield Told(
            name,
            outcome,
            file=path,
            group=group,
            seconds=duration / 1000 if isinstance(duration, int | float) else 0.0,
            message=str(said[0])[:_MOST_OUTPUT] if isinstance(said, list) else "",
            unsteady=bool(one.get("retryReasons")),
        )


def _jest_name(one: Mapping[str, object]) -> tuple[str, str]:
    above, title = one.get("ancestorTitles"), one.get("title")
    if isinstance(above, list) and isinstance(title, str):
        return " > ".join(map(str, above[:100])), title
    return "", str(one["fullName"])


_GO = {"pass": Outcome.PASSED, "fail": Outcome.FAILED, "skip": Outcome.SKIPPED}


def read_go(output: str) -> Iterator[Told]:
    """The tests of `go test -json` (https://pkg.go.dev/cmd/test2json). Lines that are no events are passed over.

    Raises UnreadableReport if there are none at all.
    """
    said: dict[tuple[str, str], str] = {}
    failed: set[str] = set()
    any_event = False
    for event in _events(output):
        package, test = str(event.get("Package", "")), str(event.get("Test") or "")
        action, output_ = event.get("Action"), event.get("Output")
        any_event = any_event or bool(package)
        if action == "output" and isinstance(output_, str):
            known = said.get((package, test), "")
            said[package, test] = known if len(known) > _MOST_OUTPUT else known + output_
            continue
        outcome = _GO.get(str(action))
        if outcome is None:
            continue
        message = said.pop((package, test), "") if outcome is not Outcome.PASSED else ""
        if test:
            failed |= {package} if outcome.bad else set()
            yield Told(test, outcome, group=package, seconds=event.get("Elapsed"), message=message)
        elif outcome is Outcome.FAILED and package not in failed:  # it did not build, or ended before its tests did
            yield Told("", Outcome.ERRORED, group=package, message=message, container=True)
    if not any_event:
        raise UnreadableReport("go printed no events of tests")


def _events(output: str) -> Iterator[Mapping[str, object]]:
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
