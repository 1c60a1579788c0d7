"""What analysers print, recorded from the real ones, is read; what of it is new and where it may stand."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from agentvine.domain.evidence import Finding
from agentvine.worker.analysis.analysers import ALL, ESLINT, MYPY, RUFF, TSC, configured, says_how
from agentvine.worker.analysis.merging import as_finding, in_place, merged, new_ones, worth_telling
from agentvine.worker.analysis.places import Places, spans
from agentvine.worker.analysis.reported import Reported, UnreadableOutput, read_reported

RECORDED = Path(__file__).parent / "recorded" / "analysers"
ROOTS = ("/workspace",)
READERS = {analyser.name: analyser.reader for analyser in ALL}
SEEN = {
    ("ruff", "ruff.json"): [
        *("app.py:1 low F401", "app.py:9 medium F821", "app.py:13 low PLW1510"),
        *("broken.py:1 high invalid-syntax", "broken.py:1 high invalid-syntax"),
    ],
    ("mypy", "mypy.jsonl"): ["app.py:9 medium name-defined", "app.py:17 medium return-value"],
    ("mypy", "mypy_syntax.jsonl"): ["broken.py:1 high syntax", "broken.py:1 high syntax"],
    ("bandit", "bandit.json"): ["app.py:2 low B404", "app.py:13 high B602"],
    ("eslint", "eslint.json"): [
        *("app.js:2 low no-unused-vars", "app.js:3 medium no-debugger"),
        *("app.js:4 medium no-undef", "app.js:6 medium no-undef"),
    ],
    ("tsc", "tsc.txt"): ["app.ts:2 medium TS2322"],
    ("go vet", "go_vet.txt"): ["shop.go:6 medium printf"],
    ("shellcheck", "shellcheck.json"): [
        *("run.sh:2 medium SC2045", "run.sh:2 info SC2035", "run.sh:3 low SC2115", "run.sh:3 info SC2086"),
    ],
}


def recorded(tool: str, file: str) -> tuple[Reported, ...]:
    return read_reported(READERS[tool], (RECORDED / file).read_text(), "", ROOTS)


@pytest.mark.parametrize(("tool", "file"), SEEN, ids=" ".join)
def test_what_an_analyser_printed_is_read(tool: str, file: str) -> None:
    found = [one for one in recorded(tool, file) if one.rule != "E999"]
    assert [f"{one.file}:{one.line} {one.severity} {one.rule}" for one in found] == SEEN[tool, file]
    assert all(one.message and one.tool == tool for one in found)


@pytest.mark.parametrize(
    ("tool", "printed"),
    [
        ("ruff", "error: no such option"),
        ("ruff", '[{"code": "F401"}]'),
        ("bandit", "[]"),
        ("eslint", '{"a": 1}'),
        ("mypy", '{"severity": "error"}'),
        ("shellcheck", "{}"),
        ("go vet", "{not json"),
        ("ruff", "[" * 100_000),
    ],
)
def test_what_no_analyser_prints_is_not_taken_for_nothing_found(tool: str, printed: str) -> None:
    with pytest.raises(UnreadableOutput):
        read_reported(READERS[tool], printed, "", ROOTS)


def test_settings_are_known_and_called_with_once_they_are_the_base_s() -> None:
    assert configured(RUFF, {"pyproject.toml": "[tool.ruff.lint]\n"})
    assert configured(MYPY, {"setup.cfg": "[mypy]\n"})
    assert not configured(MYPY, {"pyproject.toml": "[tool.ruff]\n"})
    assert all(map(says_how, ("pyproject.toml", "a/ruff.toml", "eslint.config.mjs", "tsconfig.base.json", ".eslintrc")))
    assert not says_how("src/app.py")
    alone = RUFF.commands(["a.py"], configured=False)
    assert [command[-1] for command in alone] == ["./a.py"]
    assert "--isolated" in alone[0]
    first, second = RUFF.commands(["a.py"], configured=True)
    assert "--isolated" not in first
    assert second == alone[0]
    assert len(ESLINT.commands(["a.js"], configured=True)) == 1
    assert TSC.files(["b.ts", "a.tsx", "c.js"]) == ("a.tsx", "b.ts")


def reported(rule: str = "F821", line: int = 3, message: str = "Undefined name `totl`", file: str = "a.py") -> Reported:
    return Reported("ruff", rule, file, line, "medium", message)


def test_what_moved_with_its_line_or_its_file_is_not_new() -> None:
    old = {"old.py": ["x = 1", "y = totl"]}
    new = {"a.py": ["import os", "x = 1", "y = totl", "z = totl"]}
    before = [reported(line=2, file="old.py")]
    after = [reported(line=3), reported(line=4)]
    assert new_ones(before, after, old, new, {"old.py": "a.py"}) == [after[1]]
    assert new_ones(before, after, old, new, {}) == after
    again = {"a.py": ["y = totl", "y = totl"]}
    twice = [reported(line=1), reported(line=2)]
    assert new_ones([reported(line=1)], twice, {"a.py": ["y = totl"]}, again, {}) == [twice[1]], "one more of the same"


def test_places_are_lines_that_the_diff_shows() -> None:
    places = Places({"a.py": 20, "b.py": 5, "c.py": None}, {"a.py": frozenset({1, 2, 3, 9})})
    assert places.problem("a.py", 9) == ""
    assert "it shows lines 1-3, 9" in places.problem("a.py", 4)
    assert "the file has 20 lines" in places.problem("a.py", 21)
    assert "does not touch this file" in places.problem("b.py", 1)
    assert "there is no such file" in places.problem("c.py", 1)
    assert "there is no such file" in places.problem("d.py", 1)
    assert Places({"b.py": 5}).problem("b.py", 5) == ""
    assert spans(range(0, 60, 2)).endswith("…")
    good, elsewhere = in_place([reported(line=9), reported(line=4)], places)
    assert (good, elsewhere) == ([reported(line=9)], [reported(line=4)])


def test_assertions_of_tests_are_no_defects() -> None:
    found = [
        reported("B101", file="tests/test_a.py"),
        reported("B101", file="a.py"),
        reported("S101", file="test_b.py"),
    ]
    assert worth_telling(found) == [found[1]]


def claude(title: str, why: str = "Because.", line: int = 3, severity: str = "low") -> Finding:
    return Finding(file="a.py", line=line, severity=severity, title=title, why=why)


LINES: Mapping[str, list[str]] = {"a.py": ["", "", "y = totl", "run(x, shell=True)  # nosec"]}
TOTL = as_finding(reported(), LINES)
SHELL = Finding(
    file="a.py",
    line=4,
    severity="high",
    title="subprocess call with shell=True identified, security issue.",
    why="bandit B602",
    source="bandit:B602",
)


@pytest.mark.parametrize(
    ("mine", "theirs", "one"),
    [
        (claude("The sum is lost", "`totl` is a typo of `total`."), TOTL, True),
        (claude("A name that is not there", "See F821."), TOTL, True),
        (claude("A typo", "`totl` is a typo of `total`.", line=4), TOTL, False),
        (claude("Strangers run commands", "subprocess.run takes a string with shell=True.", line=5), SHELL, True),
        (claude("Strangers run commands", "subprocess.run takes a string with shell=True.", line=9), SHELL, False),
        (claude("The total is rounded", "It loses cents."), TOTL, False),
    ],
)
def test_claude_s_words_stay_where_both_mean_the_same(mine: Finding, theirs: Finding, one: bool) -> None:
    together = merged([mine], [theirs])
    if one:
        assert [found.title for found in together] == [mine.title]
        assert together[0].also == (theirs.source,)
        assert together[0].severity == theirs.severity
    else:
        assert {found.source for found in together} == {"claude", theirs.source}


def test_analysers_that_say_the_same_are_one_and_the_gravest_comes_first() -> None:
    mypy = TOTL.model_copy(update={"source": "mypy:name-defined", "severity": "high"})
    unused = as_finding(reported("F401", 1, "`os` imported but unused"), LINES)
    together = merged([], [unused.model_copy(update={"severity": "low"}), TOTL, mypy, SHELL])
    assert [one.source for one in together] == ["mypy:name-defined", "bandit:B602", "ruff:F401"]
    assert together[0].also == ("ruff:F821",)
    assert len(merged([], [TOTL, TOTL])) == 1


def test_a_comment_that_silences_makes_it_a_matter_for_people() -> None:
    found = as_finding(reported("S602", 4, "shell\x00 \ud800true"), LINES)
    assert found.severity == "info"
    assert "silences" in found.why
    assert found.title == "shell   true"
    grave = claude("Strangers run commands", "S602", line=4, severity="high")
    assert merged([grave], [found])[0].severity == "high"
