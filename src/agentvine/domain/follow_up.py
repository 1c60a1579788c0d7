"""What follows from what a forge shows of a pull request of ours: `decide`, and what is remembered for it.

    looked at ──▶ merged, closed, gone ─────────▶ it is over
              ──▶ checks failed ──▶ run once more ──▶ passed: flaky, nothing else
              │                                   └─▶ failed again: the work goes on, `tries` times; then people must
              ──▶ conflicts ────────────────────▶ the work goes on, as for checks
              ──▶ comments of those who may ────▶ the work goes on; each is answered when that is delivered

Whatever is seen is handled once: what was handled is part of what is remembered, and both are kept together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agentvine.domain.forge import FailedCheck, ForgeComment, PullSeen
from agentvine.domain.intake import command_in, is_allowed
from agentvine.domain.pull_followed import Cause, Heard, PullFollowed, PullState, SecondRun
from agentvine.domain.repository_settings import FollowUpRules

_FIRST_LOOK = 30.0
"""Seconds until the first look after a push; each look without a verdict doubles it."""
_SETTLES = 120.0
"""Seconds after which a check that was to run again, and is shown as failed as before, counts as failed again."""
_MOST_MISSING = 3
"""So many looks in a row have to find nothing until a pull request counts as gone."""
_MOST_RUNS = 100
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
    users: Sequence[str],
    follower: Follower,
    at: datetime,
) -> Decision:
    """What follows from what the forge shows now. `users`: whose comments are acted on."""
    if seen is None and rules.enabled and known.missing + 1 < _MOST_MISSING:
        return Decision(known.model_copy(update={"missing": known.missing + 1, "seen_at": at}), (), first_look(rules))
    if (over := _over(seen, rules)) is not None or seen is None:
        state = over or PullState.GONE
        return Decision(known.model_copy(update={"state": state, "seen_at": at}), (End(state),))
    known = _noted(known, seen, at)
    asked = _asked(known, seen, users)
    if asked:
        heard = tuple(Heard(id=one.id, thread=one.thread) for one in asked)
        known = known.model_copy(update={"heard": known.heard + heard, "tries": 0, "stopped": ""})
    known, actions, wrong = _judged(known, seen, follower, at)
    if wrong.causes and not (asked or _may_try(known, rules, follower)):
        known, stop = _stopped(known, _tired(known, wrong.causes, rules, follower))
        return Decision(known, (*actions, *stop), _look_in(known, seen, rules))
    if wrong.causes:
        known = _tried(known, wrong.causes)
    elif not asked and _left_alone(known, seen, follower):
        known, stop = _stopped(known, _unmended(known, follower))
        actions += stop
    causes: tuple[Cause, ...] = (*wrong.causes, "comments") if asked else wrong.causes
    if causes:
        before = () if follower is Follower.NONE else known.causes
        known = known.model_copy(update={"causes": tuple(dict.fromkeys((*before, *causes)))})
        actions.append(GoOn(causes, wrong.failed, asked))
    return Decision(known, tuple(actions), _look_in(known, seen, rules))


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What is the matter with the head that we delivered, and was not passed on yet."""

    causes: tuple[Cause, ...] = ()
    failed: tuple[FailedCheck, ...] = ()


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


def _noted(known: PullFollowed, seen: PullSeen, at: datetime) -> PullFollowed:
    """What is shown of it from now on. A look from before the last push says nothing of the present head."""
    stale = seen.head_sha != known.head and seen.head_sha in known.heads
    unsettled = stale or (seen.head_sha == known.head and seen.checks in {"none", "pending"})
    shown: dict[str, object] = {
        "number": seen.number,
        "url": seen.url or known.url,
        "seen_at": at,
        "missing": 0,
        "looks": known.looks + unsettled,
    }
    if not stale:
        shown |= {"seen_head": seen.head_sha, "checks": seen.checks, "conflicts": seen.conflicts}
    return known.model_copy(update=shown)


def _asked(known: PullFollowed, seen: PullSeen, users: Sequence[str]) -> tuple[ForgeComment, ...]:
    """Comments that are to be passed on: none of ours, no commands, none of users whom no operator has named."""
    before = {one.id for one in known.heard}
    return tuple(
        one
        for one in {one.id: one for one in seen.comments}.values()
        if one.id not in before
        and not one.ours
        and is_allowed(one.author, users)
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
    """Which failed checks are to run once more, or, if some did or cannot, all that failed."""
    if seen.checks != "failed" or known.checks_handled == known.head:
        return known, [], ()
    names = {one.name for one in known.second_runs}
    fresh = [one for one in {one.id: one for one in seen.failed}.values() if one.name not in names]
    surely = not seen.failed or any(not one.can_run_again for one in fresh)
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
    return known.tries < rules.tries and follower is not Follower.FAILED and not known.stopped


def _left_alone(known: PullFollowed, seen: PullSeen, follower: Follower) -> bool:
    """Whether something was passed on, nobody is at it any more, and it is as it was."""
    if follower is Follower.LIVE or seen.head_sha != known.head:
        return False
    checks = seen.checks == "failed" and known.checks_handled == known.head
    return checks or (seen.conflicts and known.conflicts_handled == known.head)


def _stopped(known: PullFollowed, why: str) -> tuple[PullFollowed, list[Action]]:
    return (known, []) if known.stopped else (known.model_copy(update={"stopped": why}), [Stop(why)])


def _tired(known: PullFollowed, causes: tuple[Cause, ...], rules: FollowUpRules, follower: Follower) -> str:
    what: dict[Cause, str] = {"checks": "its checks fail", "conflicts": "it conflicts with its target"}
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
