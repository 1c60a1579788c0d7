"""What is written onto a forge: harmless, marked, on the lines that the diff shows, and as a pull request tells it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.domain.evidence import Check, CheckOutcome, CommandRecord, Evidence, Finding, TestSummary
from agentvine.domain.execution import Usage
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.worker.forge.base import Remark, mark_of
from agentvine.worker.forge.description import description, remarks
from agentvine.worker.forge.difference import files_of, lines_of
from agentvine.worker.forge.harmless import GAP, bounded, fenced, harmless, harmless_line, quoted
from agentvine.worker.forge.marking import begin, carries, end, marked, with_part

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SHA = "a" * 40
TASK, EXECUTION = f"tsk_{'0' * 26}", f"exe_{'0' * 26}"


class TestHarmless:
    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("thanks @mira", "@"),
            ("_@mira_ and (@acme/core)", "_@"),
            ("&#64;mira", "&"),
            ("&commat;mira", "&"),
            ("fixes #12", "#"),
            ("Closes: acme/shop#12", "#"),
            ("closes !7", "!"),
            ("resolves GH-12", "GH-"),
            ("Fixes https://github.com/acme/shop/issues/12", "issues/"),
            ("Implements https://git.example.org/a/b/-/work_items/12", "work_items/"),
            ("Closing JIRA-12", "JIRA-"),
            ("![x](http://evil/x.png)", "!"),
            ("![x][1]", "!"),
            ("<img src=x>", "<"),
            ("<!-- agentvine:wo_1 -->", "<"),
            ("</details>", "<"),
            ("/merge", ""),
            ("words\n  /close", "\n  "),
            ("> /approve", "> "),
            ("[issue:12]", "["),
        ],
    )
    def test_a_gap_is_where_it_would_begin(self, text: str, where: str) -> None:
        assert f"{where}{GAP}" in harmless(text)
        assert harmless(text).replace(GAP, "") == text

    @pytest.mark.parametrize(
        "text",
        [
            "a < b and b > c, a@b.example, C# 12, x != [1], see src/app/main.py, 3/4, `ls -l`, **bold**",
            "1. one\n2. two\n\n- [x] done\n\n| a | b |\n|---|---|",
            "& and && and R&D, fix the tests; #heading",
            "[a link](https://example.org/a/b)",
        ],
    )
    def test_ordinary_text_stays(self, text: str) -> None:
        assert harmless(text) == text

    @given(st.text(alphabet="@#!<>&;/-[]()\n \r\x00aA1_`", max_size=60))
    def test_nothing_is_left_and_twice_is_once(self, text: str) -> None:
        told = harmless(text)
        assert harmless(told) == told
        for bad in ("<!--", "<a", "![", "\n/a", "#1", "\x00", "\r"):
            assert bad not in told

    def test_a_line_stays_one_and_is_cut_where_it_is_too_long(self) -> None:
        assert harmless_line("one\n two \u202e", 50) == "one two \N{REPLACEMENT CHARACTER}"
        assert harmless_line("x" * 50, 10) == "x" * 9 + "…"

    def test_a_quotation_ends_what_it_begins(self) -> None:
        assert quoted("```\n# Checks\n") == "> ```\n> # Checks"

    def test_a_fence_is_longer_than_any_within(self) -> None:
        assert fenced("a ```` b").startswith("`````text\n")

    def test_what_is_cut_ends_its_block(self) -> None:
        assert bounded("~~~\n" + "line\n" * 50, 100, "(cut)").endswith("line\n~~~\n\n(cut)")
        assert bounded("a\n```\nb\n```\n" + "line\n" * 50, 100, "(cut)").endswith("line\n\n(cut)")
        assert len(bounded("x" * 500, 100, "(cut)")) <= 100


class TestMarking:
    def test_people_s_words_are_kept(self) -> None:
        first = marked("old", "wo_1", 1000)
        body = with_part(f"before\r\n\r\n{first}\r\n\r\nafter", "new", "wo_1", 1000)
        assert body == f"before\n\n{begin('wo_1')}\nnew\n\n{end('wo_1')}\n\nafter"

    def test_a_part_without_its_end_is_replaced_to_the_end(self) -> None:
        assert with_part(f"before\n{begin('wo_1')}\ncut", "new", "wo_1", 1000).endswith(f"new\n\n{end('wo_1')}")

    def test_text_cannot_forge_a_mark(self) -> None:
        told = marked(f"{end('wo_1')} {begin('wo_2')}", "wo_1", 1000)
        assert told.count(end("wo_1")) == 1
        assert not carries(told, "wo_2")

    @given(st.text(max_size=300), st.text(max_size=300), st.integers(150, 400))
    def test_it_is_never_too_long(self, theirs: str, ours: str, most: int) -> None:
        told = with_part(theirs, ours, "wo_1", most)
        assert len(told) <= most
        assert carries(told, "wo_1") or len(theirs) > most // 2

    def test_a_mark_is_always_a_plain_word(self) -> None:
        assert mark_of("wo_1", "x") == "wo_1"
        assert mark_of("wo -->", "x").isalnum()
        assert mark_of("", "a", "b") != mark_of("", "a", "c")


class TestDifference:
    def test_the_lines_of_hunks(self) -> None:
        first = "@@ -1,3 +1,3 @@ def f():\n one\n-two\n+TWO\n three\n\\ No newline at end of file"
        hunks = f"{first}\n@@ -9 +9,2 @@\n nine\n+ten"
        assert lines_of(hunks) == {1: 1, 2: None, 3: 3, 9: 9, 10: None}
        assert lines_of("") == {}

    def test_the_files_of_a_diff(self) -> None:
        diff = (
            "diff --git a/old name.py b/new name.py\nsimilarity index 90%\nrename from old name.py\n"
            "--- a/old name.py\t\n+++ b/new name.py\t\n@@ -1 +1 @@\n-a\n+b\n"
            'diff --git "a/\\303\\244.txt" "b/\\303\\244.txt"\nnew file mode 100644\n'
            '--- /dev/null\n+++ "b/\\303\\244.txt"\n@@ -0,0 +1 @@\n+--- a/not a header\n'
            "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
            "diff --git a/x.png b/x.png\nBinary files a/x.png and b/x.png differ\n"
        )
        files = [(one.path, one.old_path, dict(one.lines)) for one in files_of(diff)]
        assert files == [("new name.py", "old name.py", {1: None}), ("ä.txt", "ä.txt", {1: None})]


class TestDescription:
    def test_what_it_says(self) -> None:
        told = description(_task(), TASK, _evidence(), "I did it.\n\n```\n### Checks\n- all: passed")
        assert told.index("> I did it.") < told.index("### Checks\n\nMade by the worker")
        assert "\n> ### Checks\n> - all: passed" in told
        assert "- tests\\_pass: passed" in told
        assert "- lint: **FAILED**: two 'errors' \\*here\\*" in told
        assert "Tests before: none were run. After: 3 passed, 0 failed, 1 skipped." in told
        assert "```text\npytest -q 'a b'\n```" in told
        assert "mypy" not in told
        assert "### Not checked\n\n- speed" in told
        facts = f"Repairs: 1. Sandbox: bubblewrap. Task `{TASK}`, execution `{EXECUTION}`."
        assert f"Cost: $1.25 (7 turns). {facts}" in told
        assert told.endswith("> Area\n>\n> Long words\n>\n> - exact")

    def test_nothing_is_said_of_what_is_not_there(self) -> None:
        bare = _evidence().model_copy(update={"commands": (), "not_checked": (), "tests_after": None, "checks": ()})
        told = description(_task(), TASK, bare, " ")
        for part in ("What Claude says", "To run them again", "Not checked", "Tests before"):
            assert part not in told

    def test_findings_are_remarks(self) -> None:
        low = Finding(file="a.py", line=3, severity="low", title="a *name*", why="It says nothing.")
        high = Finding(file="b.py", line=1, severity="high", title="leak", why="Never closed.", fix="Close it.")
        first, second = remarks([low, high])
        assert first == Remark("b.py", 1, "**high: leak**\n\nNever closed.\n\nFix: Close it.")
        assert second == Remark("a.py", 3, "**low: a \\*name\\***\n\nIt says nothing.")


def _task() -> NewTask:
    return NewTask(
        type=TaskType.FEATURE,
        title="Area",
        description="Long words",
        requirements=("exact",),
        repository="https://github.com/acme/shop",
        branch="main",
    )


def _evidence() -> Evidence:
    test = ("pytest", "-q", "a b")
    return Evidence(
        execution_id=EXECUTION,
        task_id=TASK,
        type=TaskType.FEATURE,
        made_at=NOW,
        base_sha=SHA,
        head_sha="b" * 40,
        checks=(
            Check(name="tests_pass", outcome=CheckOutcome.PASSED),
            Check(name="lint", outcome=CheckOutcome.FAILED, why="two `errors`\n*here*"),
        ),
        commands=tuple(
            CommandRecord(argv=argv, where=where, exit_code=0, seconds=1, output_sha256="0" * 64)
            for argv, where in ((test, "result"), (("mypy",), "base"), (test, "result"))
        ),
        tests_after=TestSummary(total=4, passed=3, skipped=1),
        usage=Usage(cost_usd=1.25, turns=7),
        repairs=1,
        sandbox="bubblewrap",
        not_checked=("speed",),
    )
