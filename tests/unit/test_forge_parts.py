"""The parts of the forges that need no server."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.domain.errand import LookForWork, Say
from agentvine.domain.evidence import Check, CheckOutcome, CommandRecord, Evidence, Finding, TestSummary
from agentvine.domain.execution import Usage
from agentvine.domain.forge import FailedCheck, ForgeComment, ForgeKind, IssueSeen, PullSeen
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.testing.forges.played import OneToken
from agentvine.worker.credentials import NoCredentials
from agentvine.worker.forge.base import ForgeRefused, Remark, mark_of
from agentvine.worker.forge.choice import Forges, HostedForge
from agentvine.worker.forge.connection import limit_of, retry_after
from agentvine.worker.forge.description import description, remarks
from agentvine.worker.forge.desk import Value, understood
from agentvine.worker.forge.difference import files_of, lines_of, part_around
from agentvine.worker.forge.harmless import GAP, bounded, fenced, harmless, harmless_line, quoted
from agentvine.worker.forge.marking import begin, carries, end, marked, with_part
from agentvine.worker.forge.none import NoForge
from agentvine.worker.forge.shown import Text, built, ident, last_number, latest, log_tail, numbers_of, together
from agentvine.worker.forge.sites import KNOWN, ForgeSite, parse_forges, read_forges
from agentvine.worker.forge.watch import Watch
from agentvine.worker.forge.window import Note, Spot, Window

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

    def test_a_line(self) -> None:
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


class TestLimits:
    @pytest.mark.parametrize(
        ("status", "headers", "said", "wait"),
        [
            (429, {"Retry-After": "7"}, "", 7.0),
            (429, {"Retry-After": "Wed, 04 Mar 2026 05:06:37 GMT"}, "", 30.0),
            (429, {"RateLimit-Reset": str(int(NOW.timestamp()) + 90), "RateLimit-Remaining": "0"}, "", 90.0),
            (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}, "", 90.0),
            (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "", 0.0),
            (403, {"X-RateLimit-Remaining": "4999"}, "You have exceeded a secondary rate limit", 60.0),
            (403, {"X-RateLimit-Remaining": "4999"}, "Resource not accessible by integration", None),
            (429, {}, "", 60.0),
            (429, {"Retry-After": "999999999"}, "", 86_400.0),
            (404, {"X-RateLimit-Remaining": "0"}, "", None),
        ],
    )
    def test_how_long(self, status: int, headers: dict[str, str], said: str, wait: float | None) -> None:
        assert limit_of(httpx.Response(status, headers=headers), said, NOW) == wait

    def test_what_is_no_time(self) -> None:
        assert retry_after(httpx.Response(503, headers={"Retry-After": "soon"}), NOW) is None
        past = {"Retry-After": "Wed, 04 Mar 2020 05:06:37 GMT"}
        assert retry_after(httpx.Response(503, headers=past), NOW + timedelta(1)) == 0.0


class TestSites:
    @pytest.mark.parametrize(
        ("site", "api"),
        [
            (ForgeSite(kind=ForgeKind.GITHUB, url="https://github.com"), "https://api.github.com"),
            (ForgeSite(kind=ForgeKind.GITHUB, url="https://ghe.example.org/"), "https://ghe.example.org/api/v3"),
            (ForgeSite(kind=ForgeKind.GITLAB, url="https://x.example/git"), "https://x.example/git/api/v4"),
            (ForgeSite(kind=ForgeKind.FORGEJO, url="https://codeberg.org"), "https://codeberg.org/api/v1"),
            (ForgeSite(kind=ForgeKind.GITEA, url="https://a", api="http://b:3000/api/v1"), "http://b:3000/api/v1"),
        ],
    )
    def test_where_the_api_is(self, site: ForgeSite, api: str) -> None:
        assert site.api_address == api

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("https://x.example/git/acme/sub/shop.git", "acme/sub/shop"),
            ("https://X.example:443/git/acme/shop", "acme/shop"),
            ("git@x.example:acme/shop.git", "acme/shop"),
            ("ssh://git@x.example:2222/acme/shop.git", "acme/shop"),
            ("http://x.example/git/acme/shop", None),
            ("https://x.example:8443/git/acme/shop", None),
            ("https://x.example/gitea/acme/shop", None),
            ("https://x.example/git", None),
            ("https://x.example.evil.org/git/acme/shop", None),
            ("file:///git/acme/shop", None),
        ],
    )
    def test_which_repositories_are_there(self, url: str, name: str | None) -> None:
        assert ForgeSite(kind=ForgeKind.GITLAB, url="https://x.example/git").repository_of(url) == name

    def test_the_file(self) -> None:
        told = parse_forges(
            b'[[forge]]\nkind = "gitlab"\nurl = "https://git.example.org"\nreviewers = ["mira"]\ndraft = true\n'
            b'[[forge]]\nkind = "none"\nurl = "https://github.com"\n',
            "forges.toml",
        )
        assert [(site.kind.value, site.url) for site in told] == [
            ("gitlab", "https://git.example.org"),
            ("none", "https://github.com"),
            ("gitlab", "https://gitlab.com"),
            ("forgejo", "https://codeberg.org"),
        ]
        assert told[0].draft
        assert read_forges(None) == KNOWN

    @pytest.mark.parametrize(
        ("content", "mistake"),
        [
            ('kind = "x"', "forge.0.kind"),
            ('kind = "gitea"\nurl = "git.example.org"', "write an address"),
            ('kind = "gitea"\nurl = "https://me:secret@git.example.org"', "no credentials in an address"),
            ('kind = "github"\nurl = "https://a"\napp_id = "1"', "needs both"),
            ('kind = "gitea"\nurl = "https://a"\napp_id = "1"\napp_key_file = "x"', "only GitHub"),
            ('kind = "gitea"\nurl = "https://a"\ntoken = "secret"', "forge.0.token"),
        ],
    )
    def test_mistakes_are_told_without_secrets(self, content: str, mistake: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            parse_forges(f"[[forge]]\n{content}\n".encode(), "forges.toml")
        assert mistake in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"FORGES: .* cannot be read"):
            read_forges(tmp_path / "forges.toml")
        site = ForgeSite(kind=ForgeKind.GITHUB, url="https://a", app_id="1", app_key_file=tmp_path / "app.pem")
        with pytest.raises(ConfigurationError, match=r"app\.pem cannot be read"):
            Forges([site], NoCredentials(), SystemClock())
        (tmp_path / "app.pem").write_text("no key")
        with pytest.raises(ConfigurationError, match="is no private key"):
            Forges([site], NoCredentials(), SystemClock())

    async def test_a_forge_without_a_token_is_none(self) -> None:
        url = "https://github.com/acme/shop"
        assert isinstance(await Forges(KNOWN, NoCredentials(), SystemClock()).of(url), NoForge)
        assert isinstance(await Forges(KNOWN, OneToken(), SystemClock()).of(url), HostedForge)
        pushed_only = ForgeSite(kind=ForgeKind.NONE, url="https://github.com")
        assert isinstance(await Forges([pushed_only], OneToken(), SystemClock()).of(url), NoForge)


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


class TestShown:
    """What strangers wrote is brought into the form and the bounds of what is kept."""

    def test_a_log_as_a_person_would_read_it(self) -> None:
        raw = (
            b"2026-01-02T03:04:05.1234567Z \x1b[36;1mpytest\x1b[0m\r\n"
            b"\x1b[0Ksection_start:1560896352:script[collapsed=true]\r\x1b[0KHeader\n"
            b" 10%\r 100%\n"
            b"\x1b]8;;http://evil/\x07link\x1b]8;;\x07 \x1b]0;title\x1b\\ \xff\x00\x07 \xe2\x80\xaerevo\n"
            b"\ttab\n\n"
        )
        assert log_tail(raw).split("\n") == ["pytest", "Header", " 100%", "link  \ufffd revo", "\ttab"]

    def test_of_a_long_log_the_end_is_kept_without_secrets(self) -> None:
        told = log_tail(b"".join(b"line %d\n" % number for number in range(500)) + b"ghp_" + b"a" * 36 + b"\n")
        assert told.startswith("line 301\n")
        assert "ghp_" not in told
        assert len(log_tail(b"x" * 200_000)) <= 65_536

    @given(st.binary(max_size=200))
    def test_any_log_can_be_kept(self, raw: bytes) -> None:
        FailedCheck(id="job-1", name="x", log=log_tail(raw))

    def test_names_of_ours(self) -> None:
        assert numbers_of("job", ident("job", 7, 101, 2)) == (7, 101, 2)
        for odd in ("job", "job-", "job-x", "jobs-1", "job-1x", "remark-1", "../job-1", None, "job-" + "9" * 19):
            assert numbers_of("job", odd) is None
        assert last_number("https://git.example.org/acme/shop/pulls/12/") == 12
        assert last_number("https://git.example.org/acme/shop/pulls/x1") is None

    def test_the_latest_comments_each_once(self) -> None:
        made = [ForgeComment(id=f"comment-{n}", author="mira", body=f"{n}", at=NOW + timedelta(n)) for n in range(501)]
        assert [one.body for one in latest([made[500], *made])] == [str(n) for n in range(1, 501)]

    def test_what_is_under_way_is_waited_for(self) -> None:
        assert together([]) == "none"
        assert together(["passed", "failed", "pending"]) == "pending"
        assert together(["passed", "failed"]) == "failed"
        assert together(["passed"]) == "passed"

    def test_what_has_no_place_is_refused_in_words(self) -> None:
        fields = {"number": 1, "url": "", "state": "open", "branch": "main", "head_sha": SHA}
        with pytest.raises(ForgeRefused, match="acme/shop shows something that cannot be worked with: target"):
            built(PullSeen, "acme/shop", **fields, target="x y")

    def test_halves_of_characters_and_nul_are_taken_out(self) -> None:
        class Told(Value):
            text: Text = ""

        assert understood(Told, {"text": "a\x00b\ud800c"}, "forge").text == "ab?c"
        assert understood(Told, {"text": None}, "forge").text == ""

    def test_the_part_of_a_diff_that_a_remark_is_about(self) -> None:
        hunks = "@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n@@ -10 +10,2 @@\n ten\n+eleven"
        assert part_around(hunks, 2, None) == "@@ -1,3 +1,3 @@\n one\n-two\n+TWO"
        assert part_around(hunks, None, 2) == "@@ -1,3 +1,3 @@\n one\n-two"
        assert part_around(hunks, 11, None) == "@@ -10 +10,2 @@\n ten\n+eleven"
        assert part_around(hunks, 99, None) == ""
        long = "@@ -0,0 +1,50 @@\n" + "\n".join(f"+{number}" for number in range(1, 51))
        assert part_around(long, 40, None).split("\n") == ["@@ -0,0 +1,50 @@", *(f"+{n}" for n in range(29, 41))]


@dataclass
class Board:
    """One issue of a forge that does not tell whose a token is, and a list of issues."""

    notes_there: list[Note] = field(default_factory=list)
    issues: list[IssueSeen] = field(default_factory=list)
    longest_text = 60_000

    async def account(self) -> str | None:
        return None

    async def work(self, label: str | None, since: datetime) -> list[IssueSeen]:
        return self.issues

    async def notes(self, spot: Spot) -> list[Note]:
        return list(self.notes_there)

    async def add(self, spot: Spot, text: str) -> Note:
        self.notes_there.append(Note(f"n-{len(self.notes_there)}", "", "bot", text))
        return self.notes_there[-1]

    async def change(self, spot: Spot, note: Note, text: str) -> Note:
        assert note.author == "bot"
        changed = replace(note, body=text)
        self.notes_there[self.notes_there.index(note)] = changed
        return changed

    async def remove(self, spot: Spot, note: Note) -> None:
        assert note.author == "bot"
        self.notes_there.remove(note)


class TestWatch:
    async def test_somebody_else_s_comment_with_our_mark_is_never_taken_for_ours(self) -> None:
        theirs = Note("n-eve", "", "eve", f"{begin('m')} mine {end('m')}")
        board = Board([theirs])
        watch = Watch(cast("Window", board), "a forge", "https://git.example/a/b")
        wanted = Say(repository="https://git.example/a/b", number=1, mark="m", text="first")
        first = await watch.say(wanted)
        assert await watch.say(wanted) == first, "what it says already is not said twice"
        again = await watch.say(wanted.model_copy(update={"text": "second"}))
        assert again.id == first.id, "and the comment is the same one still"
        there, ours = board.notes_there
        assert there == theirs
        assert "second" in ours.body

    async def test_of_too_many_issues_those_that_were_talked_about_are_shown(self) -> None:
        one = IssueSeen(number=7, url="", title="t", body="", author="ann", at=NOW)
        said = ForgeComment(id="c", author="ann", body="/agentvine", at=NOW)
        many = [one.model_copy(update={"number": number}) for number in range(100, 700)]
        board = Board(issues=[one.model_copy(update={"comments": (said,)}), *many])
        watch = Watch(cast("Window", board), "a forge", "https://git.example/a/b")
        seen = await watch.work(LookForWork(repository="https://git.example/a/b", label="agent", since=NOW))
        numbers = [issue.number for issue in seen.issues]
        assert numbers == [7, *range(201, 700)]
