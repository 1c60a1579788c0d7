"""What analysers report, read from their own formats. Pure: what was printed in, remarks out.

The formats are those that each tool documents: `ruff check --output-format=json`, `mypy --output=json`,
`bandit -f json`, `eslint --format json`, `tsc --pretty false`, `go vet -json`, `shellcheck -f json1`. What they were
pointed at is a stranger's code, so the texts may hold anything.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

LARGEST_OUTPUT = 16 * 1024 * 1024
"""Characters of an output that are read."""
MOST = 20_000
"""Remarks of one run that are read."""
_LONGEST = 2_000
_TSC_LINE = re.compile(
    r"^(?P<file>[^(\n]+)\((?P<line>\d+),\d+\): error (?P<rule>TS\d+): (?P<message>.+)$", re.MULTILINE
)
_POSITION = re.compile(r"^(?P<file>.+?):(?P<line>\d+)(?::\d+)?$")
_UNDEFINED = frozenset({"F821", "F822", "F823"})


class UnreadableOutput(ValueError):
    """What an analyser printed is not what it prints when it did its work."""


@dataclass(frozen=True, slots=True)
class Reported:
    """One remark of an analyser. `file` is relative to the checkout; `rule` is never empty."""

    tool: str
    rule: str
    file: str
    line: int
    severity: str
    """As in `evidence.Finding`."""
    message: str
    more: str = ""
    """Where the rule is explained, or what else there is to say."""
    fix: str = ""

    @property
    def source(self) -> str:
        """As in `evidence.Finding`."""
        return f"{self.tool}:{self.rule}"


Reader = Callable[[str, str], Iterable[Reported]]
"""From what was printed to standard output and standard error. Raises ValueError, KeyError, TypeError."""


def read_reported(reader: Reader, stdout: str, stderr: str, roots: Iterable[str]) -> tuple[Reported, ...]:
    """The remarks of one run, with paths relative to the checkout, which had one of the names `roots`.

    Raises UnreadableOutput.
    """
    if len(stdout) > LARGEST_OUTPUT or len(stderr) > LARGEST_OUTPUT:
        raise UnreadableOutput("it printed too much")
    found: list[Reported] = []
    try:
        for one in reader(stdout, stderr):
            found.append(
                replace(one, file=_relative(one.file, roots), line=max(one.line, 1), message=one.message[:_LONGEST])
            )
            if len(found) == MOST:
                break
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableOutput(f"what it printed was not understood ({type(error).__name__})") from error
    return tuple(found)


def read_ruff(stdout: str, _: str) -> Iterator[Reported]:
    """`ruff check --output-format=json`."""
    for one in json.loads(stdout):
        rule = one["code"] or "invalid-syntax"
        fix = one["fix"]["message"] if one.get("fix") else ""
        severity = "high" if rule == "invalid-syntax" else "medium" if rule in _UNDEFINED or _secure(rule) else "low"
        yield Reported(
            "ruff",
            rule,
            one["filename"],
            one["location"]["row"],
            severity,
            one["message"],
            one.get("url") or "",
            fix or "",
        )


def read_mypy(stdout: str, _: str) -> Iterator[Reported]:
    """`mypy --output=json`: an object for each line. Notes are left out."""
    for line in stdout.splitlines():
        if not line.startswith("{"):
            continue
        one = json.loads(line)
        if one["severity"] != "error":
            continue
        rule = one["code"] or "misc"
        severity = "high" if rule == "syntax" else "medium"
        yield Reported("mypy", rule, one["file"], one["line"], severity, one["message"], one.get("hint") or "")


def read_bandit(stdout: str, _: str) -> Iterator[Reported]:
    """`bandit -f json`. What it is not sure of counts for less."""
    for one in json.loads(stdout)["results"]:
        severity = {"HIGH": "high", "MEDIUM": "medium"}.get(one["issue_severity"], "low")
        if one["issue_confidence"] == "LOW":
            severity = {"high": "medium", "medium": "low"}.get(severity, "info")
        cwe = one.get("issue_cwe") or {}
        more = f"CWE-{cwe['id']}. {one['more_info']}" if cwe.get("id") else one["more_info"]
        yield Reported("bandit", one["test_id"], one["filename"], one["line_number"], severity, one["issue_text"], more)


def read_eslint(stdout: str, _: str) -> Iterator[Reported]:
    """`eslint --format json`. A message without a rule is one of the parser, or about the file."""
    for file in json.loads(stdout):
        for one in file["messages"]:
            rule = one["ruleId"] or ("syntax" if one.get("fatal") else "")
            if not rule:
                continue
            severity = "high" if one.get("fatal") else "medium" if one["severity"] == 2 else "low"
            fix = "; ".join(each["desc"] for each in one.get("suggestions") or ())
            yield Reported("eslint", rule, file["filePath"], one.get("line") or 1, severity, one["message"], fix=fix)


def read_tsc(stdout: str, _: str) -> Iterator[Reported]:
    """`tsc --pretty false`."""
    for found in _TSC_LINE.finditer(stdout):
        yield Reported("tsc", found["rule"], found["file"], int(found["line"]), "medium", found["message"])


def read_go_vet(stdout: str, stderr: str) -> Iterator[Reported]:
    """`go vet -json`: for each package a comment and an object of packages, of analysers, of remarks."""
    text = "\n".join(line for line in f"{stdout}\n{stderr}".splitlines() if not line.startswith("#")).strip()
    decoder, start = json.JSONDecoder(), 0
    while start < len(text):
        packages, start = decoder.raw_decode(text, start)
        for analysers in packages.values():
            for rule, remarks in analysers.items():
                yield from _vetted(rule, remarks)
        while start < len(text) and text[start].isspace():
            start += 1


def _vetted(rule: str, remarks: object) -> Iterator[Reported]:
    if not isinstance(remarks, list):  # an analyser that could not do its work says so in an object
        return
    for one in remarks:
        place = _POSITION.match(one["posn"])
        if place is not None:
            yield Reported("go vet", rule, place["file"], int(place["line"]), "medium", one["message"])


def read_shellcheck(stdout: str, _: str) -> Iterator[Reported]:
    """`shellcheck -f json1`."""
    for one in json.loads(stdout)["comments"]:
        severity = _SHELLCHECK.get(one["level"], "info")
        rule = f"SC{one['code']}"
        more = f"https://www.shellcheck.net/wiki/{rule}"
        yield Reported("shellcheck", rule, one["file"], one["line"], severity, one["message"], more)


_SHELLCHECK: Mapping[str, str] = {"error": "medium", "warning": "low", "info": "info", "style": "info"}


def _secure(rule: str) -> bool:
    """Whether it is one of ruff's rules that come from bandit."""
    return re.fullmatch(r"S\d{3}", rule) is not None


def _relative(path: str, roots: Iterable[str]) -> str:
    for root in roots:
        path = path.removeprefix(f"{root.rstrip('/')}/")
    while path.startswith("./"):
        path = path.removeprefix("./")
    return path
