"""What a forge shows, within bounds, and what is made of it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.domain.errand import LookForWork, Say
from agentvine.domain.forge import FailedCheck, ForgeComment, IssueSeen, PullHead, PullSeen
from agentvine.worker.forge.answers import Value, understood
from agentvine.worker.forge.base import ForgeRefused
from agentvine.worker.forge.connection import Refusal
from agentvine.worker.forge.difference import part_around
from agentvine.worker.forge.marking import begin, end
from agentvine.worker.forge.shown import Text, built, ident, last_number, latest, log_tail, numbers_of, together
from agentvine.worker.forge.watch import Watch
from agentvine.worker.forge.window import Note, Spot, Window, head_of

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SHA = "a" * 40
URL = "https://git.example/a/b"


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
        kept = FailedCheck(id="job-1", name="x", log=log_tail(raw))
        assert kept.log == log_tail(raw)

    def test_names_of_ours(self) -> None:
        assert numbers_of("job", ident("job", 7, 101, 2)) == (7, 101, 2)
        for odd in ("job", "job-", "job-x", "jobs-1", "job-1x", "remark-1", "../job-1", None, "job-" + "9" * 19):
            assert numbers_of("job", odd) is None
        assert last_number("https://git.example.org/acme/shop/pulls/12/") == 12
        assert last_number("https://git.example.org/acme/shop/pulls/x1") is None

    def test_the_latest_comments_each_once(self) -> None:
        made = [ForgeComment(id=f"comment-{n}", author="mira", body=f"{n}", at=NOW + timedelta(n)) for n in range(501)]
        assert [one.body for one in latest([made[500], *made])] == [str(n) for n in range(1, 501)]

    def test_a_branch_is_its_name_to_the_letter(self) -> None:
        assert head_of(" r\u00a0", own=True).branch == " r\u00a0"
        assert head_of("x" * 9999, own=True).branch == "x" * 500, "which no branch may be that is worked with"

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
    asked: list[int] = field(default_factory=list)
    """Of which pull requests it was asked where they come from."""
    hidden: dict[int, int] = field(default_factory=dict)
    longest_text = 60_000

    async def account(self) -> str | None:
        return None

    async def work(self, label: str | None, since: datetime) -> list[IssueSeen]:
        return self.issues

    async def head(self, number: int) -> PullHead:
        self.asked.append(number)
        if number in self.hidden:
            raise Refusal(self.hidden[number], "not for you")
        return head_of(f"b{number}", own=True)

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

    async def test_strangers_do_not_use_up_what_is_asked_of_pull_requests(self) -> None:
        board = Board(issues=[_commanded(number, "eve") for number in range(100, 700)])
        board.issues += [_commanded(3, "ANN"), _commanded(4, "ann", edited=True), _commanded(5, "ann", body="so")]
        watch = Watch(cast("Window", board), "a forge", URL)
        seen = await watch.work(LookForWork(repository=URL, since=NOW, users=("Ann",)))
        assert board.asked == [3]
        assert {one.number: one.head for one in seen.issues}[3] == PullHead(branch="b3", own=True)
        board.asked.clear()
        await watch.work(LookForWork(repository=URL, since=NOW))
        assert board.asked == [*range(200, 250)], "an earlier server does not say whose words count"

    async def test_the_oldest_pull_requests_are_asked_about_first_and_all_have_their_turn(self) -> None:
        board = Board(issues=[_commanded(number, "ann") for number in range(160, 100, -1)])
        watch = Watch(cast("Window", board), "a forge", URL)
        wanted = LookForWork(repository=URL, since=NOW, users=("ann",))
        await watch.work(wanted)
        assert board.asked == [*range(101, 151)]
        board.asked.clear()
        await watch.work(wanted.model_copy(update={"heads_from": 151}))
        assert board.asked == [*range(151, 161), *range(101, 141)]

    async def test_a_pull_request_that_cannot_be_seen_hides_no_other(self) -> None:
        board = Board(issues=[_commanded(number, "ann") for number in (1, 2, 3)], hidden={1: 404, 2: 403})
        watch = Watch(cast("Window", board), "a forge", URL)
        wanted = LookForWork(repository=URL, since=NOW, users=("ann",))
        seen = await watch.work(wanted)
        assert [one.head and one.head.branch for one in seen.issues] == ["", "", "b3"]
        board.hidden[3] = 422
        with pytest.raises(ForgeRefused):
            await watch.work(wanted)


def _commanded(number: int, author: str, body: str = "/agentvine", **more: bool) -> IssueSeen:
    said = ForgeComment.model_validate({"id": f"c-{number}", "author": author, "body": body, "at": NOW, **more})
    return IssueSeen(number=number, url="", title="t", body="", author="eve", at=NOW, is_pull=True, comments=(said,))
