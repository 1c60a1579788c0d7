"""What is new of that which analysers report, and one list of it and of what Claude found. Pure.

Two remarks are one if they are about the same file and nearly the same line, and have the same rule or the same
meaning. A remark is new if the base has none with the same rule, the same words, and the same text on its line: that a
line has moved makes nothing new.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from agentvine.domain.evidence import Finding
from agentvine.worker.analysis.places import Places
from agentvine.worker.analysis.reported import Reported
from agentvine.worker.files import FileKind, kind_of

GRAVITY = ("critical", "high", "medium", "low", "info")
_NEAR = 2
"""Lines between two remarks that may be one."""
_SPEAKS_FIRST = ("bandit", "mypy", "ruff", "tsc", "eslint", "go vet", "shellcheck")
"""Whose words stay where two analysers say the same."""
_SAME_RULE = (
    {"ruff:F821", "mypy:name-defined"},
    {"ruff:F811", "mypy:no-redef"},
    {"ruff:invalid-syntax", "mypy:syntax"},
    {"eslint:syntax", "tsc:TS1005"},
)
_QUOTED = re.compile(r"[`'\"]([A-Za-z_][\w.]*)[`'\"]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}")
_EMPTY_WORDS = frozenset(
    re.findall(
        r"\w+",
        "and any are but can call called could defined does expression for from function has have identified into "
        "issue its line may method might name not now possible problem security should statement that the this use "
        "used uses using value variable was when which will with would you your",
    )
)
_SILENCED = re.compile(r"#\s*(noqa|nosec|type:\s*ignore)|eslint-disable|@ts-(ignore|expect-error)|shellcheck disable")

Lines = Mapping[str, Sequence[str]]
"""The lines of files, by path."""


def new_ones(
    before: Iterable[Reported], after: Iterable[Reported], old: Lines, new: Lines, moved: Mapping[str, str]
) -> list[Reported]:
    """Those of `after` that are not among `before`. `moved`: the new paths of files by their old ones."""
    known = Counter(_print_of(one, old, moved.get(one.file, one.file)) for one in before)
    fresh = []
    for one in after:
        fingerprint = _print_of(one, new, one.file)
        if known[fingerprint]:
            known[fingerprint] -= 1
        else:
            fresh.append(one)
    return fresh


def in_place(found: Iterable[Reported], places: Places) -> tuple[list[Reported], list[Reported]]:
    """Those that can be placed, and those that cannot."""
    good: list[Reported] = []
    elsewhere: list[Reported] = []
    for one in found:
        (elsewhere if places.problem(one.file, one.line) else good).append(one)
    return good, elsewhere


def worth_telling(found: Iterable[Reported]) -> list[Reported]:
    """Without what is no defect where it stands: assertions of tests (bandit's B101, ruff's S101)."""
    return [one for one in found if not (one.rule in {"B101", "S101"} and kind_of(one.file) is FileKind.TEST)]


def as_finding(one: Reported, lines: Lines) -> Finding:
    """A remark of an analyser as a finding of the review."""
    silenced = _SILENCED.search(_line(lines, one.file, one.line)) is not None
    note = (
        "The line carries a comment that silences analysers; whether it should is for a person to say."
        if silenced
        else ""
    )
    why = " ".join(part for part in (f"{one.tool} {one.rule}: {one.message}", one.more, note) if part)
    return Finding(
        file=one.file,
        line=one.line,
        severity="info" if silenced else one.severity,
        title=_title(one),
        why=_text(why),
        fix=_text(one.fix),
        source=_title_text(one.source),
    )


def merged(claude: Sequence[Finding], analysers: Sequence[Finding]) -> tuple[Finding, ...]:
    """One list, the gravest first, in which nothing stands twice. Claude's words go before an analyser's."""
    kept: list[Finding] = list(claude)
    for one in sorted(analysers, key=lambda each: (_SPEAKS_FIRST.index(each.source.partition(":")[0]), each.line)):
        at = next((place for place, other in enumerate(kept) if _the_same(other, one)), None)
        if at is None:
            kept.append(one)
        else:
            kept[at] = _joined(kept[at], one)
    return tuple(sorted(kept, key=lambda each: (GRAVITY.index(each.severity), each.file, each.line, each.source)))


def _joined(kept: Finding, other: Finding) -> Finding:
    gravest = min(kept.severity, other.severity, key=GRAVITY.index)
    if other.severity == "info":  # silenced where it stands: it adds no weight
        gravest = kept.severity
    also = tuple(dict.fromkeys((*kept.also, other.source, *other.also)))
    return kept.model_copy(update={"severity": gravest, "also": also, "fix": kept.fix or other.fix})


def _the_same(kept: Finding, other: Finding) -> bool:
    if kept.file != other.file or abs(kept.line - other.line) > _NEAR:
        return False
    if kept.source == other.source:
        return kept.line == other.line and kept.title == other.title
    if kept.source != "claude":
        return kept.line == other.line and _same_rule(kept.source, other.source)
    return _means(kept, other)


def _same_rule(one: str, other: str) -> bool:
    if any({one, other} <= same for same in _SAME_RULE):
        return True
    rules = sorted(source.partition(":")[2] for source in (one, other))
    return re.fullmatch(r"B\d{3}", rules[0]) is not None and rules[1] == f"S{rules[0][1:]}"


def _means(claude: Finding, analyser: Finding) -> bool:
    """Whether Claude's words name the rule, or the things that the analyser names, or most of its words."""
    said = f"{claude.title} {claude.why}"
    words, rule = _words(said), analyser.source.partition(":")[2]
    if re.search(rf"(?<![\w-]){re.escape(rule)}(?![\w-])", said):
        return True
    things = {thing.lower() for thing in _QUOTED.findall(analyser.title)}
    if things and claude.line == analyser.line and things <= {word.lower() for word in re.findall(r"[\w.]+", said)}:
        return True
    theirs = _words(analyser.title)
    shared = words & theirs
    return len(shared) >= 2 and 2 * len(shared) >= len(theirs)


def _words(text: str) -> frozenset[str]:
    found = (word.lower() for word in _WORD.findall(text))
    return frozenset(re.sub(r"(ing|ed|es|s)$", "", word) or word for word in found if word not in _EMPTY_WORDS)


def _print_of(one: Reported, lines: Lines, path: str) -> tuple[str, str, str, str]:
    said = re.sub(r"\d+", "#", one.message)
    return path, one.source, said, _line(lines, one.file, one.line).strip()


def _line(lines: Lines, file: str, number: int) -> str:
    there = lines.get(file, ())
    return there[number - 1] if 0 < number <= len(there) else ""


def _title(one: Reported) -> str:
    return _title_text(one.message) or one.source


def _title_text(text: str) -> str:
    """One line without control characters, as `Finding` wants it."""
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", " ".join(text.split()))[:500].strip()


def _text(text: str) -> str:
    return re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)[:10_000]
