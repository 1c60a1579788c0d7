"""What the CLI prints: harmless whatever strangers wrote, short for people, exact for programs."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue
from rich.console import Console

from agentvine.cli import transcript
from agentvine.cli.audit import draw as draw_entry
from agentvine.cli.render import Column, Screen, block, console, cut, line, plain_json, to_json
from agentvine.cli.repositories import list_of
from agentvine.cli.results import print_diff, summed_up
from agentvine.cli.text import ago, clean, clean_line, count, duration, money, short_id, shortened, until
from agentvine.domain.audit import GENESIS, AuditEntry, AuditKind
from agentvine.domain.evidence import TestSummary
from agentvine.domain.repository_settings import Repository, RepositorySettings
from agentvine.wire.messages import Reply

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DANGEROUS = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\r\x08\x7f\x00"
FORBIDDEN = [
    chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x2028, 0x200F) if code not in (0x09, 0x0A)
]


def screen(*, terminal: bool = False, width: int = 80) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    if terminal:
        drawn = Console(
            file=out, force_terminal=True, width=width, color_system=None, markup=False, emoji=False, highlight=False
        )
    else:
        drawn = console(out)
    return Screen(drawn, console(io.StringIO())), out


def harmless(text: str) -> bool:
    return not any(character in text for character in FORBIDDEN)


# ── narrow terminals ─────────────────────────────────────────────────────────────────────────────────────────────

URL = "https://git.example/a-rather-long-owner/a-rather-long-name-of-a-repository.git"


@pytest.mark.parametrize("width", [70, 80, 120, 400])
def test_repositories_and_what_troubles_them_are_shown_whole_however_narrow(width: int) -> None:
    settings = RepositorySettings(repository=URL, budget_per_day_usd=20.0)
    at, id_ = NOW, "rep_01k9zq4r8w6x5v3n2m1b0c9d8f"
    trouble = "nobody looks at its forge: no worker is there"
    found = Repository(id=id_, settings=settings, created_at=at, created_by="k", updated_at=at, trouble=trouble)
    drawn, out = screen(terminal=True, width=width)
    list_of(drawn, [found])
    rows = out.getvalue().splitlines()
    assert all(len(row) <= width for row in rows)
    assert "\u2026" not in out.getvalue()
    first = rows[0].index("REPOSITORY"), rows[0].index("HIGHEST")
    assert "".join(row[slice(*first)].strip() for row in rows[1:]).startswith(URL)
    beside = rows[0].find("TROUBLE")
    assert (beside < 0) == (width < 120)
    told = [row[beside:] for row in rows[1:]] if beside >= 0 else [row for row in rows[1:] if row[0] != " "][1:]
    assert trouble in " ".join(" ".join(told).split())


@pytest.mark.parametrize("width", [60, 80, 400, None])
def test_an_entry_of_the_audit_log_goes_on_beneath_where_it_has_no_room(width: int | None) -> None:
    data: dict[str, JsonValue] = {"repository": URL, "settings": "x " * 700, "request_id": "only for programs"}
    kind, actor = AuditKind.REPOSITORY_CHANGED, "key:key_01k9zq4r8w6x5v3n2m1b0c9d8f"
    entry = AuditEntry(seq=7, at=NOW, kind=kind, actor=actor, events_to=1, data=data, previous=GENESIS, hash=GENESIS)
    drawn, out = screen(terminal=width is not None, width=width or 80)
    draw_entry(drawn, entry)
    rows = out.getvalue().splitlines()
    assert f"repository={URL}" in "".join(row.strip() for row in rows)
    assert "programs" not in out.getvalue()
    assert (len(rows) == 1) == (width is None)
    if width is None:
        assert "x " * 699 in rows[0], "a pipe gets all of it"
    else:
        assert all(len(row) <= width for row in rows)
        short = entry.model_copy(update={"data": {"a": "b"}})
        draw_entry(drawn, short)
        assert (out.getvalue().splitlines()[-1].strip() == "a=b") == (width <= 80)


# ── what strangers wrote ─────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_that_a_terminal_obeys_survives_cleaning() -> None:
    assert harmless(clean(DANGEROUS)) and harmless(clean_line(DANGEROUS))
    assert "owned" in clean(DANGEROUS) and "\u241b" in clean(DANGEROUS)  # shown, not hidden


def test_what_nobody_sees_is_shown() -> None:
    hidden = "a\u200bb\u00adc\u3164d\U000e0041e\ufefff"
    for cleaned in (clean(hidden), clean_line(hidden)):
        assert cleaned == "a\\u200bb\\xadc\\u3164d\\U000e0041e\\ufefff"
    assert clean("e\u0301 \u05d0\u200d") == "e\u0301 \u05d0\u200d"


@given(st.text())
def test_cleaning_any_text_leaves_one_harmless_line_that_can_be_encoded(text: str) -> None:
    cleaned = clean_line(text)
    assert harmless(cleaned)
    cleaned.encode()
    assert clean_line(cleaned) == cleaned


def test_cleaning_keeps_what_people_write() -> None:
    ordinary = "def f():\n\treturn 'schön 日本 👩‍💻'\n"
    assert clean(ordinary) == ordinary
    assert clean("a\r\nb") == "a\nb"
    assert clean_line("a\r\n\tb") == "a b"


@pytest.mark.parametrize("terminal", [True, False])
def test_no_part_of_a_screen_lets_a_title_through_to_the_terminal(terminal: bool) -> None:
    drawn, out = screen(terminal=terminal)
    drawn.say(DANGEROUS, (DANGEROUS, "red"))
    drawn.show(block(DANGEROUS, indent=2))
    drawn.table([Column("A", flexible=True), Column("B")], [(DANGEROUS, line(DANGEROUS))], title=DANGEROUS)
    assert harmless(out.getvalue())


def test_brackets_in_a_title_are_no_markup() -> None:
    drawn, out = screen()
    drawn.say("[red]x[/red] :smile: [/]")
    assert out.getvalue() == "[red]x[/red] :smile: [/]\n"


def test_json_escapes_what_a_terminal_obeys_and_stays_the_same_document() -> None:
    document = to_json(Reply(verdict="answer", message="\x1b[2J\x9b\u202e é"))
    assert harmless(document)
    assert "é" in document
    assert json.loads(document)["message"] == "\x1b[2J\x9b\u202e é"
    assert json.loads(to_json([])) == []


def test_a_diff_is_cleaned_on_a_terminal_and_exact_in_a_pipe() -> None:
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+\x1b]0;owned\x07new\n"
    on_terminal, seen = screen(terminal=True)
    print_diff(on_terminal, diff)
    assert harmless(seen.getvalue()) and "new" in seen.getvalue()
    in_pipe, written = screen()
    print_diff(in_pipe, diff)
    assert written.getvalue() == diff


# ── short for people ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (86_400, "1 d 0 h"),
        (360_000, "4 d 4 h"),
    ],
)
def test_a_duration_is_written_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_ages_bear_with_clocks_that_differ() -> None:
    assert ago(NOW - timedelta(minutes=3, seconds=50), NOW) == "3 min ago"
    assert ago(NOW + timedelta(seconds=30), NOW) == "now"
    assert ago(NOW + timedelta(hours=2), NOW) == "in 2 h"
    assert until(NOW + timedelta(days=3, hours=1), NOW) == "in 3 d"
    assert until(NOW + timedelta(days=2, hours=23, minutes=59), NOW) == "in 3 d"
    assert until(NOW + timedelta(seconds=299), NOW) == "in 5 min"
    assert until(NOW, NOW) == "over"


def test_money_tokens_and_ids() -> None:
    assert [money(usd) for usd in (0, 0.0042, 0.1, 12.345)] == ["$0", "$0.0042", "$0.10", "$12.35"]
    assert [count(number) for number in (999, 12_400, 999_949, 3_100_000)] == ["999", "12.4k", "999.9k", "3.1M"]
    assert short_id("tsk_01k9zq4r8w6x5v3n2m1b0c9d8f") == "1b0c9d8f"
    assert short_id("wrk_bugfix-1") == "wrk_bugfix-1"


def test_shortening_cleans_and_says_that_there_was_more() -> None:
    assert shortened("  a\nb  ", 10) == "a b"
    assert shortened("x" * 1_000_000, 10) == "x" * 9 + "…"
    assert harmless(shortened(DANGEROUS * 100, 50))


def test_tests_that_were_not_run_are_never_called_passed() -> None:
    assert summed_up(None) == "not run"
    assert summed_up(TestSummary(counted=False)) == "run, not counted"
    assert summed_up(TestSummary(total=3, passed=1, failed=1, skipped=1, failing=("t::a",))) == (
        "1 of 3 passed, 1 failed, 1 skipped (t::a)"
    )


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────

COLUMNS = [Column("TASK"), Column("TITLE", flexible=True), Column("COST", "right")]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_table_fits_its_terminal_and_cuts_what_is_flexible(width: int) -> None:
    drawn, out = screen(terminal=True, width=width)
    drawn.table(COLUMNS, [("1b0c9d8f", "a title that is " + "very " * 30 + "long", "$0.10")])
    rows = out.getvalue().splitlines()
    assert len(rows) == 2, "a row takes one line"
    assert all(len(row) <= width for row in rows)
    if width >= 40:
        assert "1b0c9d8f" in rows[1] and "$0.10" in rows[1] and "…" in rows[1]


def test_a_line_that_may_be_cut_is_cut_on_a_terminal_only() -> None:
    on_terminal, seen = screen(terminal=True, width=20)
    on_terminal.show(cut(line("word " * 20)))
    assert seen.getvalue() == "word word word word…\n"
    in_pipe, written = screen()
    in_pipe.show(cut(line("word " * 20)))
    assert written.getvalue() == ("word " * 20).rstrip() + "\n"


def test_a_table_in_a_pipe_is_neither_cut_nor_padded_at_its_end() -> None:
    drawn, out = screen()
    title = "very " * 100 + "long"
    drawn.table(COLUMNS[:2], [("1b0c9d8f", title), ("2b0c9d8f", "short")])
    rows = out.getvalue().splitlines()
    assert rows[1] == f"1b0c9d8f  {title}"
    assert rows[2] == "2b0c9d8f  short"


def test_a_pipe_gets_no_colours() -> None:
    drawn, out = screen()
    drawn.say(("red", "bold red"), " plain")
    assert out.getvalue() == "red plain\n"


# ── transcripts ──────────────────────────────────────────────────────────────────────────────────────────────────


def shown(entry: dict[str, JsonValue]) -> list[str]:
    return [each.plain for each in transcript.lines(entry)]


def assistant(*content: JsonValue) -> dict[str, JsonValue]:
    return {"type": "assistant", "message": {"role": "assistant", "content": list(content)}}


def came_back(content: JsonValue, **more: JsonValue) -> dict[str, JsonValue]:
    piece: dict[str, JsonValue] = {"type": "tool_result", "tool_use_id": "t1", "content": content, **more}
    return {"type": "user", "message": {"role": "user", "content": [piece]}}


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Bash", {"command": "pytest -q\n  --lf", "description": "Run the tests"}, "● Bash  pytest -q --lf"),
        ("Read", {"file_path": "/w/app.py", "limit": 20}, "● Read  /w/app.py"),
        ("Edit", {"file_path": "/w/app.py", "old_string": "a", "new_string": "b"}, "● Edit  /w/app.py"),
        ("Grep", {"pattern": "def f", "path": "/w"}, "● Grep  def f  /w"),
        ("mcp__agentvine__ask_controller", {"question": "Which?"}, "● mcp__agentvine__ask_controller  Which?"),
        ("Strange", {"number": 3, "thing": "x"}, "● Strange  x"),
        ("Strange", {}, "● Strange"),
        ("TodoWrite", {"todos": [{}, {}]}, "● TodoWrite  2 items"),
    ],
)
def test_a_tool_call_is_one_line_with_the_argument_that_matters(
    name: str, arguments: dict[str, JsonValue], words: str
) -> None:
    (row,) = shown(assistant({"type": "tool_use", "id": "t1", "name": name, "input": arguments}))
    assert " ".join(row.split()) == " ".join(words.split())


def test_what_claude_says_is_shown_whole_and_what_comes_back_is_shortened() -> None:
    assert shown(assistant({"type": "text", "text": "First.\n\nSecond."})) == ["First.\n\nSecond."]
    (row,) = shown(came_back("\n".join(f"line {number}" for number in range(100))))
    assert row.splitlines()[0] == "  ⎿ line 0" and row.splitlines()[-1] == "    … 96 more lines"
    (failed,) = shown(came_back([{"type": "text", "text": "boom"}], is_error=True))
    assert failed == "  ✗ boom"
    assert shown(came_back("")) == ["  ⎿ (nothing)"]


def test_bookkeeping_is_passed_over_and_the_unknown_is_one_dim_line() -> None:
    assert shown({"type": "file-history-snapshot", "snapshot": {}}) == []
    assert shown({"type": "hologram", "data": [1, 2]}) == ["· hologram"]
    assert shown({}) == ["· an entry without a type"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
pieces = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "tool_result", "thinking", "image", 3, None])},
    optional=dict.fromkeys(
        ("text", "name", "input", "content", "thinking", "is_error", "subtype", "summary"), json_values
    ),
)
entries = st.fixed_dictionaries(
    {"type": st.sampled_from(["assistant", "user", "system", "summary", "result", "new", None])},
    optional={
        "message": json_values | st.fixed_dictionaries({"content": st.lists(pieces, max_size=3) | json_values}),
        "content": json_values,
        "summary": json_values,
        "subtype": json_values,
        "num_turns": json_values,
        "duration_ms": json_values,
        "total_cost_usd": json_values,
    },
)


@given(entries)
@example({"type": "result", "duration_ms": float("inf"), "num_turns": 10**400, "total_cost_usd": float("nan")})
def test_no_entry_can_break_the_log_or_reach_the_terminal(entry: dict[str, JsonValue]) -> None:
    for row in transcript.lines(entry):
        assert harmless(row.plain.replace("\t", " "))
    json.loads(plain_json(entry))
