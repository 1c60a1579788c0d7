"""What follows from what a forge shows of a pull request of ours: `decide`, and what is remembered for it.

    looked at ──▶ merged, closed, gone ─────────▶ it is over
              ──▶ checks failed ──▶ run once more ──▶ passed: flaky, nothing else
              │                                   └─▶ failed again: the work goes on, `tries` times; then people must
              ──▶ conflicts ────────────────────▶ the work goes on, as for checks
              ──▶ comments of those who may ────▶ the work goes on; each is answered when that is delivered

Whatever is seen is handled once: what was handled is part of what is remembered, and both are kept together. What could
go round for ever is bounded besides: second runs to one round for each head, tasks to `MOST_TASKS`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agentvine.domain.forge import FailedCheck, ForgeComment, PullSeen
from agentvine.domain.intake import CLOCK_SLACK, command_in, is_allowed
from agentvine.domain.pull_followed import Cause, Heard, PullFollowed, PullState, SecondRun
from agentvine.domain.repository_settings import FollowUpRules

_FIRST_LOOK = 30.0
"""Seconds until the first look after a push; each look without a verdict doubles it."""
_SETTLES = 120.0
"""Seconds after which a check that was to run again, and is shown as failed as before, counts as failed again."""
_MOST_MISSING = 3
"""So many looks in a row have to find nothing until a pull request counts as gone."""
_MOST_RUNS = 100
MOST_TASKS = 30
"""So many tasks go on with one pull request by themselves, whoever comments; then a person has to go on by hand."""
_LOOKS_FOR_CHECKS = 4
"""So many looks that find no check until nobody is taken to make any."""

# ── what is to be done ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class End:
    """It is over: nothing is looked at any more, and whoever works on it stops."""

    state: PullState


@dataclass(frozen=True, slots=True)
class RunOnce:
    """Have this check run once more."""

    check: FailedCheck


@dataclass(frozen=True, slots=True)
class Flaky:
    """These failed, and passed when they ran again on the same commit."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GoOn:
    """A task goes on with it, and is told all of this."""

    causes: tuple[Cause, ...]
    failed: tuple[FailedCheck, ...] = ()
    comments: tuple[ForgeComment, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """A person has to do something: nothing more happens by itself, until somebody comments or delivers."""

    why: str


Action = End | RunOnce | Flaky | GoOn | Stop


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and what is to be remembered with it. New in `after.heard` is what the last `GoOn` passes on,
    without the task, which whoever carries it out knows. `look_in`: seconds until the next look."""

    after: PullFollowed
    actions: tuple[Action, ...] = ()
    look_in: float = 0.0


class Follower(StrEnum):
    """What became of the task that goes on with the latest delivery."""

    NONE = "none"
    """There is none, or somebody cancelled it."""
    LIVE = "live"
    FAILED = "failed"


def decide(
    known: PullFollowed,
    seen: PullSeen | None,
    rules: FollowUpRules,
    named: Mapping[str, datetime],
    follower: Follower,
    at: datetime,
    lost: Collection[str] = (),
) -> Decision:
    """What follows from what the forge shows now. `named`: whose comments count, in lower case, and since when. `lost`:
    comments told to tasks that somebody cancelled: for them alone nothing happens, but whoever goes on is told them."""
    if seen is None and rules.enabled and known.missing + 1 < _MOST_MISSING:
        return Decision(known.model_copy(update={"missing": known.missing + 1, "seen_at": at}), (), first_look(rules))
    if (over := _over(seen, rules)) is not None or seen is None:
        state = over or PullState.GONE
        return Decision(known.model_copy(update={"state": state, "seen_at": at}), (End(state),))
    known = _noted(known, seen, follower, at)
    every = _asked(known, seen, named, lost)
    asked = tuple(one for one in every if one.id not in lost)
    refused = bool(asked) and not _may_pass_on(known, asked, rules, follower)
    asked = () if refused else asked
    by_people = any(not is_bot(one.author) for one in asked)
    if by_people:
        known = known.model_copy(update={"tries": 0, "stopped": ""})
    known, actions, wrong = _judged(known, seen, follower, at)
    wanted: tuple[Cause, ...] = (*wrong.causes, "comments") if refused else wrong.causes
    if wanted and not (asked or _may_try(known, rules, follower)):
        known, stop = _stopped(known, _tired(known, wanted, rules, follower))
        return Decision(known, (*actions, *stop), _look_in(known, seen, rules))
    if wrong.causes or (asked and not by_people and follower is not Follower.LIVE):
        known = _tried(known, wrong.causes)
    elif not (asked or known.stopped) and _left_alone(known, seen, follower):
        known, stop = _stopped(known, _unmended(known, follower))
        actions += stop
    if asked or wrong.causes:
        known, going = _going(known, wrong, every, follower)
        actions.append(going)
    return Decision(known, tuple(actions), _look_in(known, seen, rules))


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What is the matter with the head that we delivered, and was not passed on yet."""

    causes: tuple[Cause, ...] = ()
    failed: tuple[FailedCheck, ...] = ()


def _going(
    known: PullFollowed, wrong: _Wrong, comments: tuple[ForgeComment, ...], follower: Follower
) -> tuple[PullFollowed, GoOn]:
    causes: tuple[Cause, ...] = (*wrong.causes, "comments") if comments else wrong.causes
    before = () if follower is Follower.NONE else known.causes
    passed_on = {one.id for one in comments}
    heard = tuple(one for one in known.heard if one.id not in passed_on)
    changes: dict[str, object] = {
        "causes": tuple(dict.fromkeys((*before, *causes))),
        "heard": heard + tuple(Heard(id=one.id, thread=one.thread) for one in comments),
        "went_on": known.went_on + (follower is not Follower.LIVE),
    }
    return known.model_copy(update=changes), GoOn(causes, wrong.failed, comments)


def _judged(
    known: PullFollowed, seen: PullSeen, follower: Follower, at: datetime
) -> tuple[PullFollowed, list[Action], _Wrong]:
    """What is to be said of the head that is shown, if it is ours; while somebody works on it, nothing is wrong yet."""
    if seen.head_sha != known.head:
        return known, [], _Wrong()
    known, actions = _flaky(known, seen)
    if follower is Follower.LIVE:
        return known, actions, _Wrong()
    known, again, failed = _failing(known, seen, at)
    checks: tuple[Cause, ...] = ("checks",) if failed else ()
    conflicts: tuple[Cause, ...] = ("conflicts",) if seen.conflicts and known.conflicts_handled != known.head else ()
    return known, actions + again, _Wrong(checks + conflicts, failed)


def _tried(known: PullFollowed, causes: tuple[Cause, ...]) -> PullFollowed:
    handled: dict[str, object] = {"tries": known.tries + 1}
    if "checks" in causes:
        handled["checks_handled"] = known.head
    if "conflicts" in causes:
        handled["conflicts_handled"] = known.head
    return known.model_copy(update=handled)


def _over(seen: PullSeen | None, rules: FollowUpRules) -> PullState | None:
    if seen is None:
        return PullState.GONE if rules.enabled else PullState.OFF
    if seen.state != "open":
        return PullState(seen.state)
    return None if rules.enabled else PullState.OFF


def _noted(known: PullFollowed, seen: PullSeen, follower: Follower, at: datetime) -> PullFollowed:
    """What is shown of it from now on. A look from before the last push says nothing of the present head.

    Conflicts of a head that is not there any more are nothing that a failed task could still resolve.
    """
    stale = seen.head_sha != known.head and seen.head_sha in known.heads
    unsettled = stale or (seen.head_sha == known.head and seen.checks in {"none", "pending"})
    shown: dict[str, object] = {
        "number": seen.number,
        "url": seen.url or known.url,
        "seen_at": at,
        "missing": 0,
        "looks": known.looks + unsettled,
    }
    if follower is Follower.FAILED and seen.head_sha != known.head:
        shown["causes"] = tuple(cause for cause in known.causes if cause != "conflicts")
    if not stale:
        shown |= {"seen_head": seen.head_sha, "checks": seen.checks, "conflicts": seen.conflicts}
    return known.model_copy(update=shown)


def is_bot(author: str) -> bool:
    """Whether the forge says so of this user by its name. It answers to what we do, so it has no say in how often."""
    return author.lower().endswith("[bot]")


def _may_pass_on(known: PullFollowed, asked: Sequence[ForgeComment], rules: FollowUpRules, follower: Follower) -> bool:
    """Whether comments make the work go on: those of people do, those of bots count as a try."""
    if follower is Follower.LIVE or known.went_on >= MOST_TASKS:
        return follower is Follower.LIVE
    return any(not is_bot(one.author) for one in asked) or _may_try(known, rules, follower)


def _asked(
    known: PullFollowed, seen: PullSeen, named: Mapping[str, datetime], lost: Collection[str]
) -> tuple[ForgeComment, ...]:
    """Comments that are to be passed on: none of ours, no commands, none of users whom no operator had named by then,
    and none that was changed, perhaps by somebody else."""
    before = {one.id for one in known.heard if one.id not in lost}
    return tuple(
        one
        for one in {one.id: one for one in seen.comments}.values()
        if one.id not in before
        and not one.ours
        and not one.edited
        and is_allowed(one.author, tuple(named))
        and one.at >= named[one.author.lower()] - CLOCK_SLACK
        and one.body.strip()
        and command_in(one.body) is None
    )


def _flaky(known: PullFollowed, seen: PullSeen) -> tuple[PullFollowed, list[Action]]:
    """Checks that ran once more and passed, where that was not known."""
    passed = [one for one in known.second_runs if not one.flaky]
    if seen.checks != "passed" or not passed:
        return known, []
    runs = tuple(one.model_copy(update={"flaky": True}) for one in known.second_runs)
    return known.model_copy(update={"second_runs": runs}), [Flaky(tuple(one.name for one in passed))]


def _failing(
    known: PullFollowed, seen: PullSeen, at: datetime
) -> tuple[PullFollowed, list[Action], tuple[FailedCheck, ...]]:
    """Which failed checks are to run once more, or, if some did or cannot, all that failed. There is one round for each
    head: a check may have another name each time."""
    if seen.checks != "failed" or known.checks_handled == known.head:
        return known, [], ()
    names = {one.name for one in known.second_runs}
    fresh = [one for one in {one.id: one for one in seen.failed}.values() if one.name not in names]
    surely = not seen.failed or any(known.second_runs or not one.can_run_again for one in fresh)
    surely = surely or any(_failed_again(known, one, at) for one in seen.failed if one.name in names)
    if surely:
        return known, [], seen.failed or (FailedCheck(id="-", name="a check that the forge does not name"),)
    runs = tuple(SecondRun(name=one.name, id=one.id, at=at) for one in fresh)
    return (
        known.model_copy(update={"second_runs": (known.second_runs + runs)[-_MOST_RUNS:]}),
        [RunOnce(one) for one in fresh],
        (),
    )


def _failed_again(known: PullFollowed, now: FailedCheck, at: datetime) -> bool:
    """Whether this failed in the second run: it is another one than those, several of which may have its name."""
    first = next((one for one in known.second_runs if (one.name, one.id) == (now.name, now.id)), None)
    return first is None or first.refused or first.flaky or at - first.at >= timedelta(seconds=_SETTLES)


def _may_try(known: PullFollowed, rules: FollowUpRules, follower: Follower) -> bool:
    fewer = known.tries < rules.tries and known.went_on < MOST_TASKS
    return fewer and follower is not Follower.FAILED and not known.stopped


def _left_alone(known: PullFollowed, seen: PullSeen, follower: Follower) -> bool:
    """Whether something was passed on, nobody is at it any more, and it is as it was."""
    if follower is Follower.LIVE or seen.head_sha != known.head:
        return False
    checks = seen.checks == "failed" and known.checks_handled == known.head
    return checks or (seen.conflicts and known.conflicts_handled == known.head)


def _stopped(known: PullFollowed, why: str) -> tuple[PullFollowed, list[Action]]:
    """Said once. That nothing goes on by itself any more is said also where something else was."""
    said = known.stopped and (known.stopped == why or known.went_on < MOST_TASKS)
    return (known, []) if said else (known.model_copy(update={"stopped": why}), [Stop(why)])


def _tired(known: PullFollowed, causes: tuple[Cause, ...], rules: FollowUpRules, follower: Follower) -> str:
    if known.went_on >= MOST_TASKS:
        return (
            f"{MOST_TASKS} tasks went on with it by themselves, which is as many as may; "
            f"`agentvine retry {known.latest} --comment …` goes on by hand"
        )
    what: dict[Cause, str] = {
        "checks": "its checks fail",
        "conflicts": "it conflicts with its target",
        "comments": "a bot has commented",
    }
    wrong = " and ".join(what[cause] for cause in causes)
    if follower is Follower.FAILED:
        return f"{wrong}, and the task that went on with it failed"
    return f"{wrong}; it was gone on with {known.tries} times, {rules.tries} are allowed"


def _unmended(known: PullFollowed, follower: Follower) -> str:
    what = "its checks fail" if known.checks == "failed" else "it conflicts with its target"
    if follower is Follower.FAILED:
        return f"{what}, and the task that was to mend it failed"
    return f"{what}, and the task that was to mend it changed nothing or was cancelled"


def _look_in(known: PullFollowed, seen: PullSeen, rules: FollowUpRules) -> float:
    soon = _FIRST_LOOK * 2.0 ** min(known.looks, 20)
    stale = seen.head_sha != known.head and seen.head_sha in known.heads
    unsettled = stale or seen.checks == "pending" or (seen.checks == "none" and known.looks < _LOOKS_FOR_CHECKS)
    if any(not one.flaky for one in known.second_runs) and known.checks_handled != known.head:
        soon, unsettled = _SETTLES / 2, True
    return min(rules.look_seconds, soon) if unsettled else rules.look_seconds


def first_look(rules: FollowUpRules) -> float:
    """Seconds after a delivery until its pull request is looked at."""
    return min(rules.look_seconds, _FIRST_LOOK)
