"""Whatever a forge shows, in whatever order, what follows is bounded and happens once; and each row of the table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.domain.follow_up import MOST_TASKS, End, Flaky, Follower, GoOn, RunOnce, Stop, decide, first_look
from agentvine.domain.follow_up_words import answer, brief, mark_of_answer
from agentvine.domain.forge import Checks, FailedCheck, ForgeComment, PullSeen
from agentvine.domain.intake import CLOCK_SLACK
from agentvine.domain.pull_followed import PullFollowed, PullState, SecondRun
from agentvine.domain.repository_settings import FollowUpRules

AT = datetime(2026, 1, 2, tzinfo=UTC)
RULES = FollowUpRules(tries=2)
BOT = "checks[bot]"
USERS = {"mira": AT, BOT: AT}
TASK = "tsk_01k9zq4r8w6x5v3n2m1b0c9d8f"
LATER = "tsk_01k9zq4r8w6x5v3n2m1b0c9d8g"


def sha(number: int) -> str:
    return f"{number:040x}"


def known(**more: object) -> PullFollowed:
    repository, branch = "https://git.example/acme/shop.git", "agentvine/feature/1"
    shown = {"task_id": TASK, "repository": repository, "branch": branch, "latest": TASK, "heads": (sha(1),), **more}
    return PullFollowed.model_validate(shown)


def seen(head: int = 1, **more: object) -> PullSeen:
    pull = {"number": 3, "url": "u", "state": "open", "branch": "agentvine/feature/1", "target": "main"}
    return PullSeen.model_validate({**pull, "head_sha": sha(head), **more})


def check(id_: str = "c1", name: str = "tests", *, again: bool = False) -> FailedCheck:
    return FailedCheck(id=id_, name=name, can_run_again=again)


def said(number: int, author: str = "mira", body: str = "Do it.", **more: object) -> ForgeComment:
    return ForgeComment.model_validate({"id": f"comment-{number}", "author": author, "body": body, "at": AT, **more})


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────

RAN = (SecondRun(name="tests", id="c1", at=AT),)
FAILED: dict[str, Any] = {"checks": "failed", "failed": (check(again=True),)}
NOTHING: tuple[object, ...] = ()


@pytest.mark.parametrize(
    ("before", "now", "follower", "what"),
    [
        (known(), seen(state="merged"), Follower.NONE, (End(PullState.MERGED),)),
        (known(), seen(state="closed", **FAILED), Follower.LIVE, (End(PullState.CLOSED),)),
        (known(), seen(checks="pending"), Follower.NONE, NOTHING),
        (known(), seen(checks="passed"), Follower.NONE, NOTHING),
        (known(), seen(**FAILED), Follower.NONE, (RunOnce(check(again=True)),)),
        (known(), seen(**FAILED), Follower.LIVE, NOTHING),
        (known(), seen(2, conflicts=True, **FAILED), Follower.NONE, NOTHING),
        (known(heads=(sha(2), sha(1))), seen(2, **FAILED), Follower.NONE, NOTHING),
        (known(second_runs=RAN), seen(**FAILED), Follower.NONE, NOTHING),
        (known(second_runs=RAN), seen(checks="passed"), Follower.NONE, (Flaky(("tests",)),)),
        (known(), seen(checks="failed", failed=(check(),)), Follower.NONE, (GoOn(("checks",), (check(),)),)),
        (
            known(second_runs=RAN),
            seen(checks="failed", failed=(check("c2"),)),
            Follower.NONE,
            (GoOn(("checks",), (check("c2"),)),),
        ),
        (
            known(second_runs=RAN),
            seen(checks="failed", failed=(check("c2", "tests, attempt 2", again=True),)),
            Follower.NONE,
            (GoOn(("checks",), (check("c2", "tests, attempt 2", again=True),)),),
        ),
        (known(checks_handled=sha(1)), seen(checks="failed", failed=(check(),)), Follower.LIVE, NOTHING),
        (known(), seen(conflicts=True), Follower.NONE, (GoOn(("conflicts",)),)),
        (known(), seen(2, comments=(said(1),)), Follower.LIVE, (GoOn(("comments",), (), (said(1),)),)),
        (known(), seen(comments=(said(1, ours=True), said(2, "eve"), said(3, body=" "))), Follower.NONE, NOTHING),
        (known(), seen(comments=(said(1, body="/agentvine docs x"),)), Follower.NONE, NOTHING),
        (known(), seen(comments=(said(1, edited=True),)), Follower.NONE, NOTHING),
        (known(), seen(comments=(said(1, at=AT - CLOCK_SLACK - timedelta(seconds=1)),)), Follower.NONE, NOTHING),
        (known(), seen(comments=(said(1, BOT),)), Follower.NONE, "comments"),
        (known(tries=2), seen(comments=(said(1, BOT),)), Follower.LIVE, "comments"),
        (known(tries=2), seen(comments=(said(1, BOT), said(2))), Follower.NONE, "comments"),
        (known(tries=2), seen(comments=(said(1, BOT),)), Follower.NONE, "stop"),
        (known(went_on=MOST_TASKS), seen(comments=(said(1),)), Follower.NONE, "stop"),
        (known(went_on=MOST_TASKS, stopped="else"), seen(comments=(said(1),)), Follower.FAILED, "stop"),
        (known(went_on=MOST_TASKS), seen(conflicts=True), Follower.NONE, "stop"),
        (known(went_on=MOST_TASKS), seen(comments=(said(1),)), Follower.LIVE, "comments"),
        (known(), seen(comments=(said(1, "MIRA", "> /agentvine x\n\nNo."),)), Follower.NONE, "comments"),
        (known(tries=2), seen(conflicts=True), Follower.NONE, "stop"),
        (known(checks_handled=sha(1)), seen(checks="failed", failed=(check(),)), Follower.NONE, "stop"),
        (known(), seen(conflicts=True), Follower.FAILED, "stop"),
        (known(conflicts_handled=sha(1)), seen(conflicts=True), Follower.NONE, "stop"),
        (known(stopped="why", checks_handled=sha(1)), seen(**FAILED), Follower.NONE, NOTHING),
    ],
)
def test_what_follows(before: PullFollowed, now: PullSeen, follower: Follower, what: object) -> None:
    decision = decide(before, now, RULES, USERS, follower, AT)
    if what == "stop":
        (stop,) = decision.actions
        assert isinstance(stop, Stop)
        assert decision.after.stopped == stop.why
    elif what == "comments":
        (going,) = decision.actions
        assert isinstance(going, GoOn)
    else:
        assert decision.actions == what


def test_a_check_that_stays_failed_under_the_same_name_counts_after_a_while() -> None:
    before = known(second_runs=RAN)
    assert decide(before, seen(**FAILED), RULES, USERS, Follower.NONE, AT + timedelta(seconds=60)).actions == ()
    (going,) = decide(before, seen(**FAILED), RULES, USERS, Follower.NONE, AT + timedelta(seconds=121)).actions
    assert isinstance(going, GoOn)


def test_what_a_cancelled_task_was_told_is_told_to_the_next_one() -> None:
    heard = {"id": "comment-1", "task_id": LATER, "number": 1}
    now = seen(comments=(said(1), said(2)))
    before = known(heard=(heard, {**heard, "id": "comment-2"}))
    assert decide(before, now, RULES, USERS, Follower.NONE, AT, {"comment-1"}).actions == ()
    now = now.model_copy(update={"conflicts": True})
    decision = decide(before, now, RULES, USERS, Follower.NONE, AT, {"comment-1"})
    assert decision.actions == (GoOn(("conflicts", "comments"), (), (said(1),)),)
    assert [(one.id, one.task_id) for one in decision.after.heard] == [("comment-2", LATER), ("comment-1", None)]


def test_a_branch_that_somebody_moved_is_not_taken_onto_its_target_again() -> None:
    before = known(gone_on=LATER, causes=("conflicts",), conflicts_handled=sha(1))
    now = seen(7, conflicts=True, comments=(said(1),))
    assert decide(before, now, RULES, USERS, Follower.FAILED, AT).after.causes == ("comments",)
    ours = now.model_copy(update={"head_sha": sha(1)})
    assert decide(before, ours, RULES, USERS, Follower.FAILED, AT).after.causes == ("conflicts", "comments")


def test_looks_come_soon_after_a_push_and_then_seldom() -> None:
    rules, before, waits = FollowUpRules(look_seconds=300), known(), []
    assert first_look(rules) == 30
    for _ in range(6):
        decision = decide(before, seen(checks="pending"), rules, USERS, Follower.NONE, AT)
        before = decision.after
        waits.append(decision.look_in)
    assert waits == [60, 120, 240, 300, 300, 300]
    assert decide(before, seen(checks="passed"), rules, USERS, Follower.NONE, AT).look_in == 300
    fast = FollowUpRules(look_seconds=5)
    assert decide(known(), seen(checks="pending"), fast, USERS, Follower.NONE, AT).look_in == 5


# ── any story ────────────────────────────────────────────────────────────────────────────────────────────────────

_CHECKS: Sequence[Checks] = ("none", "pending", "passed", "failed")
_LOOKS = st.builds(
    seen,
    head=st.integers(0, 2),
    checks=st.sampled_from(_CHECKS),
    conflicts=st.booleans(),
    failed=st.lists(
        st.builds(check, st.sampled_from(["c1", "c2"]), st.sampled_from(["tests", "lint", "x"]), again=st.booleans()),
        max_size=3,
    ).map(tuple),
    comments=st.lists(
        st.builds(
            said, st.integers(1, 4), st.sampled_from(["mira", "eve", BOT]), st.sampled_from(["a", "/agentvine b"])
        ),
        max_size=3,
    ).map(tuple),
)
_STEPS = st.lists(
    st.one_of(_LOOKS, st.sampled_from(["deliver", "deliver the same", "fail", "cancel", "restart"])), max_size=40
)


@dataclass
class Told:
    """What has happened in a story so far."""

    known: PullFollowed
    follower: Follower = Follower.NONE
    at: datetime = AT
    head: int = 1
    runs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    comments: Counter[str] = field(default_factory=Counter)
    handled: Counter[tuple[str, str]] = field(default_factory=Counter)
    tries: int = 0
    made: int = 0
    stops: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)

    def look(self, now: PullSeen) -> None:
        """At the head that was delivered last, at the first one, or at a stranger's."""
        heads = {sha(1): self.known.head, sha(2): self.known.heads[0]}
        now = now.model_copy(update={"head_sha": heads.get(now.head_sha, now.head_sha)})
        self.at += timedelta(seconds=70)
        head = self.known.head
        decision = decide(self.known, now, RULES, USERS, self.follower, self.at)
        self.known = decision.after
        assert len(self.known.model_dump_json()) < 20_000
        self.rounds[head] += any(isinstance(action, RunOnce) for action in decision.actions)
        for action in decision.actions:
            self._happens(action, head)
        again = decide(self.known, now, RULES, USERS, self.follower, self.at)
        assert again.actions == (), "the same look again changes nothing"

    def _happens(self, action: object, head: str) -> None:
        match action:
            case RunOnce():
                self.runs[head, action.check.name, action.check.id] += 1
            case GoOn():
                if any(comment.author == "mira" for comment in action.comments):
                    self.tries = 0
                    self.stops.clear()
                elif self.follower is not Follower.LIVE:
                    self.tries += 1
                self.made += self.follower is not Follower.LIVE
                for cause in {"checks", "conflicts"} & set(action.causes):
                    assert self.follower is not Follower.LIVE
                    self.handled[head, cause] += 1
                for comment in action.comments:
                    assert comment.author in USERS and not comment.body.startswith("/agentvine")
                    self.comments[comment.id] += 1
                self.follower = Follower.LIVE
            case Stop():
                self.stops[action.why] += 1


@given(_STEPS, st.sampled_from([0, MOST_TASKS - 2]))
def test_each_thing_is_handled_once_and_tries_are_bounded(steps: Sequence[PullSeen | str], went_on: int) -> None:
    story = Told(known(went_on=went_on), made=went_on)
    for step in steps:
        if isinstance(step, PullSeen):
            story.look(step)
        elif step.startswith("deliver") and story.follower is not Follower.NONE:
            new = sha(10 + story.head) if step == "deliver" else story.known.head
            story.head += 1
            story.known, story.follower = story.known.delivered(LATER, new, None), Follower.NONE
            story.stops.clear()
        elif step == "fail" and story.follower is Follower.LIVE:
            story.follower = Follower.FAILED
        elif step == "cancel":
            story.follower = Follower.NONE
        elif step == "restart":
            story.known = PullFollowed.model_validate_json(story.known.model_dump_json())
        assert story.tries <= RULES.tries
        assert story.made <= MOST_TASKS
        assert all(count == 1 for count in story.stops.values())
    assert all(count <= 1 for count in story.rounds.values())
    assert all(count == 1 for count in story.runs.values())
    assert all(count == 1 for count in story.comments.values())
    assert all(count == 1 for count in story.handled.values())


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────

_LONG = st.sampled_from(["```\n" * 3_000, "`" * 60_000])
_NASTY = st.text(st.sampled_from("`~ \n#<>&@!abc\u202e"), max_size=40) | _LONG


@given(_NASTY, _NASTY, _NASTY, _NASTY)
def test_what_strangers_wrote_stays_within_its_fence(log: str, name: str, body: str, code: str) -> None:
    failed = FailedCheck(id="1", name=name[:500], step=name[:500], log=log)
    comment = said(1, name[:500], body, file=(name[:500] or "x"), line=2, code=code)
    going = GoOn(("conflicts", "checks", "comments"), (failed,), (comment,))
    texts = [text for text, _ in brief(going, known(), "main")]
    assert len(texts) == 3
    for text in texts:
        assert len(text) <= 8_000
        fence = ""
        for line in text.split("\n"):
            stripped = line.strip()
            if not fence and stripped.startswith("```"):
                fence = stripped.removesuffix("text")
                assert stripped == f"{fence}text" and set(fence) == {"`"}
            elif fence and stripped == fence:
                fence = ""
        assert not fence, "the last one is closed"
        tail = text.rsplit("\n\n", 1)[-1]
        assert "`" not in tail or tail.startswith("Your pull request"), "our own words come last"


def test_an_answer_says_the_commit_and_does_nothing() -> None:
    text = answer("Done, @mira.\n\nCloses #7", sha(5), changed=True)
    assert text.startswith(f"Done in {sha(5)}.")
    assert "@mira" not in text and "#7" not in text
    assert all(line.startswith(">") for line in text.split("\n\n", 1)[1].splitlines())
    assert answer("", sha(5), changed=False) == "Nothing was changed for this."
    assert mark_of_answer(TASK, "a") != mark_of_answer(TASK, "b")
