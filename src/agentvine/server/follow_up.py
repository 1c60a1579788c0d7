"""Pull requests of ours, looked after: what was decided of one (`domain/follow_up.py`), carried out and remembered.

Runs inside transactions, as `Orders` does. What was seen, what follows from it and what is remembered become true
together, so that whatever is seen is handled once, however often a worker brings it.

Under `pull:<task>` stands the errand to look, wished anew with each result; `again:<task>/<check>` has a check run once
more; `reply:<mark>` answers a comment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue

from agentvine.domain import follow_up as f
from agentvine.domain.errand import Errand, ErrandResult, LookAtPull, RunAgain, Say
from agentvine.domain.errors import Conflict, Forbidden
from agentvine.domain.event import EventKind
from agentvine.domain.follow_up_words import answer, brief, mark_of_answer
from agentvine.domain.forge import PullSeen
from agentvine.domain.pull_followed import Heard, PullFollowed, PullShown, PullState, shown
from agentvine.domain.repository_settings import FollowUpRules, address_of
from agentvine.domain.task import Task
from agentvine.domain.work_order import LIVE, OrderStatus, WorkOrder
from agentvine.kit.clock import Clock
from agentvine.server.chronicle import SERVER, Told, tell
from agentvine.server.comments import MOST, Comments
from agentvine.server.control_plane import Orders
from agentvine.server.errands import Errands, Trouble
from agentvine.server.origin import origin_of
from agentvine.server.submission import Submissions
from agentvine.store import comments as kept_comments
from agentvine.store import executions, follow_ups, repositories, tasks, work_orders
from agentvine.store.unit import Unit
from agentvine.wire.messages import Completion

_OFF = FollowUpRules(enabled=False)
"""Of a repository that nobody has added: without its settings nobody is allowed to ask for anything."""
_TRIES_TO_REPLY = 5


@dataclass(frozen=True, slots=True)
class _Row:
    """Where the tasks that let a pull request grow have come to."""

    done: WorkOrder | None
    """The last one that was completed."""
    following: WorkOrder | None
    """The one that follows it, if it was not cancelled."""


class FollowUps:
    """Looks after pull requests."""

    def __init__(self, clock: Clock, orders: Orders, comments: Comments, errands: Errands) -> None:
        self._clock = clock
        self._orders = orders
        self._comments = comments
        self._errands = errands
        self._submissions = Submissions(clock)
        errands.handled_by("pull", _Looks(self))
        errands.handled_by("again", _SecondRuns(self, errands))
        errands.handled_by("reply", _Replies(errands))

    # ── a delivery ───────────────────────────────────────────────────────────────────────────────────────────────

    def delivered(self, unit: Unit, order: WorkOrder, done: Completion) -> None:
        """An order was completed: follow its pull request from now on. Again, it changes nothing."""
        delivery = done.delivery
        task = tasks.get(unit, order.task_id) if delivery.kind == "pull_request" else None
        if task is None:
            return
        rules, _ = self._rules(unit, order.repository)
        origin = origin_of(unit, task)
        known = follow_ups.locked(unit, origin.id)
        if known is None:
            if not rules.enabled:
                return
            known = PullFollowed(
                task_id=origin.id,
                repository=order.repository,
                branch=delivery.branch,
                latest=task.id,
                heads=(delivery.new_sha,),
                url=delivery.url or "",
            )
        elif known.latest == task.id:
            return
        else:
            by_itself = known.gone_on == task.id
            tries, went_on = (known.tries, known.went_on) if by_itself else (0, 0)
            known = self._answered(unit, known, order, done).delivered(task.id, delivery.new_sha, delivery.url)
            state = known.state if rules.enabled else PullState.OFF
            known = known.model_copy(update={"tries": tries, "went_on": went_on, "state": state})
        follow_ups.save(unit, known)
        if rules.enabled:
            self._look_in(unit, known, f.first_look(rules))

    def _answered(self, unit: Unit, known: PullFollowed, order: WorkOrder, done: Completion) -> PullFollowed:
        """Answer each comment that the agent was told. One that came too late to be told is passed on again."""
        told = max((kept.execution.comments_heard for kept in executions.of_order(unit, order.id)), default=0)
        head = done.delivery.new_sha
        text = answer(done.summary, head, changed=head != known.head)
        heard: list[Heard] = []
        for one in known.heard:
            if one.answered or one.task_id != order.task_id:
                heard.append(one)
            elif one.number <= told:
                self._reply(unit, known, one, text)
                heard.append(one.model_copy(update={"answered": True}))
        return known.model_copy(update={"heard": tuple(heard)})

    def _reply(self, unit: Unit, known: PullFollowed, comment: Heard, text: str) -> None:
        if known.number is None:
            return
        mark = mark_of_answer(known.task_id, comment.id)
        said = Say(
            repository=known.repository,
            number=known.number,
            is_pull=True,
            thread=comment.thread,
            mark=mark,
            text=text,
        )
        self._errands.wish(unit, f"reply:{mark}", said)

    # ── a look ───────────────────────────────────────────────────────────────────────────────────────────────────

    def pull_seen(self, unit: Unit, task_id: str, seen: PullSeen | None) -> None:
        """How the pull request of that task stands now; None: there is none any more."""
        known = follow_ups.locked(unit, task_id)
        if known is None or known.state is not PullState.OPEN:
            return
        rules, named = self._rules(unit, known.repository)
        row = self._last(unit, known.latest)
        known = known.model_copy(update={"heard": tuple(one for one in known.heard if one.task_id is not None)})
        seen = _without_intake(unit, known, seen) if seen is not None else None
        now, lost = self._clock.now(), _lost(unit, known)
        decision = f.decide(known, seen, rules, named, _standing(row.following), now, lost)
        after = decision.after
        for action in decision.actions:
            if isinstance(action, f.GoOn):
                after = self._go_on(unit, known, after, action, row)
            else:
                self._carry_out(unit, after, action, row.following)
        follow_ups.save(unit, after)
        if after.state is PullState.OPEN:
            self._look_in(unit, after, decision.look_in)

    def refused_to_run(self, unit: Unit, task_id: str, check_id: str) -> None:
        """The forge does not run that check again: look at once, and take its failure for what it is."""
        self._change_run(unit, task_id, check_id, {"refused": True})

    def runs_again(self, unit: Unit, task_id: str, check_id: str) -> None:
        """From now on it is expected to show something else."""
        self._change_run(unit, task_id, check_id, {"at": self._clock.now()})

    def _change_run(self, unit: Unit, task_id: str, check_id: str, changes: dict[str, object]) -> None:
        known = follow_ups.locked(unit, task_id)
        if known is None or known.state is not PullState.OPEN:
            return
        runs = tuple(one.model_copy(update=changes) if one.id == check_id else one for one in known.second_runs)
        follow_ups.save(unit, known.model_copy(update={"second_runs": runs}))
        if "refused" in changes:
            self._look_in(unit, known, 0.0)

    def of_task(self, unit: Unit, task: Task) -> PullShown | None:
        """What is known of the pull request that a task opened or lets grow."""
        known = follow_ups.get(unit, origin_of(unit, task).id)
        if known is None:
            return None
        order = work_orders.of_task(unit, known.gone_on) if known.gone_on is not None else None
        return shown(known, order.task_id if order is not None and order.status in LIVE else None)

    # ── what was decided ─────────────────────────────────────────────────────────────────────────────────────────

    def _carry_out(
        self,
        unit: Unit,
        known: PullFollowed,
        action: f.End | f.RunOnce | f.Flaky | f.Stop,
        following: WorkOrder | None,
    ) -> None:
        match action:
            case f.End():
                self._end(unit, known, action.state, following)
            case f.RunOnce():
                name = f"again:{known.task_id}/{action.check.id}"
                self._errands.wish(unit, name, RunAgain(repository=known.repository, check=action.check.id))
                self._tell(unit, EventKind.FOLLOW_UP_RUN_AGAIN, known, {"check": action.check.name})
            case f.Flaky():
                self._tell(unit, EventKind.FOLLOW_UP_FLAKY, known, {"checks": list(action.names)})
            case f.Stop():
                self._stop(unit, known, action.why)

    def _end(self, unit: Unit, known: PullFollowed, state: PullState, following: WorkOrder | None) -> None:
        """Whoever goes on with it by itself stops; what a person asked for is that person's."""
        self._errands.forget(unit, f"pull:{known.task_id}")
        data: dict[str, JsonValue] = {"state": state.value, "url": known.url}
        ours = following is not None and following.task_id == known.gone_on and following.status in LIVE
        if following is not None and ours and state is not PullState.OFF:
            data["cancelled"] = following.task_id
            self._orders.cancel(unit, following, SERVER)
        self._tell(unit, EventKind.FOLLOW_UP_ENDED, known, data)

    def _stop(self, unit: Unit, known: PullFollowed, why: str) -> None:
        self._tell(unit, EventKind.FOLLOW_UP_STOPPED, known, {"why": why, "url": known.url, "reason": "follow_up"})

    def _go_on(self, unit: Unit, before: PullFollowed, known: PullFollowed, going: f.GoOn, row: _Row) -> PullFollowed:
        """Tell the task that goes on with it, or make one; what is passed on is remembered with it.

        If nobody can, that is said once, and comments are still to be passed on.
        """
        origin = tasks.get(unit, known.task_id)
        texts = tuple(brief(going, known, origin.asked.branch if origin is not None else ""))
        try:
            order, made = self._order_for(unit, row, len(texts))
        except (Conflict, Forbidden) as error:
            if before.stopped != error.message:
                self._stop(unit, known, error.message)
            as_before = {"heard": before.heard, "went_on": before.went_on, "causes": before.causes}
            return known.model_copy(update={"stopped": error.message, **as_before})
        numbers: dict[str, int] = {}
        for text, comment_id in texts:
            comment = self._comments.keep_of(unit, order, text, SERVER)
            if comment_id:
                numbers[comment_id] = comment.number
        heard = tuple(
            one.model_copy(update={"task_id": order.task_id, "number": numbers[one.id]})
            if one.task_id is None and one.id in numbers
            else one
            for one in known.heard
        )
        told: dict[str, JsonValue] = {"causes": list(going.causes), "pull_request": known.url, "of": known.task_id}
        tell(unit, EventKind.FOLLOW_UP_STARTED, self._now(order), Told(SERVER, data=told))
        changes: dict[str, object] = {"heard": heard}
        return known.model_copy(update=changes | ({"gone_on": order.task_id} if made else {}))

    def _order_for(self, unit: Unit, row: _Row, texts: int) -> tuple[WorkOrder, bool]:
        """Who is to go on and be told so many texts, and whether that was made, or reopened, for it.

        Raises `Conflict`, `Forbidden`, before anything has changed.
        """
        if row.following is not None:
            if kept_comments.after(unit, row.following, MOST - texts, 1):
                raise Conflict(f"the task {row.following.task_id} has as many comments as are kept, {MOST}")
            if row.following.status in LIVE:
                return row.following, False
            self._submissions.permit_by_itself(unit, row.following.task_id)
            return self._orders.requeue(unit, row.following, SERVER), True
        if row.done is None:
            raise Conflict("the task that opened it is not kept any more")
        return self._submissions.follow_by_itself(unit, row.done), True

    # ── around it ────────────────────────────────────────────────────────────────────────────────────────────────

    def _last(self, unit: Unit, task_id: str) -> _Row:
        done = work_orders.locked_by_task(unit, task_id)
        while done is not None:
            following = self._submissions.follower(unit, done.task_id)
            if following is None or following.status is not OrderStatus.COMPLETED:
                return _Row(done, following)
            done = following
        return _Row(None, None)

    def _rules(self, unit: Unit, url: str) -> tuple[FollowUpRules, Mapping[str, datetime]]:
        there = repositories.of(unit, url)
        if there is None:
            return _OFF, {}
        return there.repository.settings.follow_up, there.named_since

    def _look_in(self, unit: Unit, known: PullFollowed, seconds: float) -> None:
        look = LookAtPull(repository=known.repository, branch=known.branch, url=known.url)
        self._errands.wish(unit, f"pull:{known.task_id}", look, self._clock.now() + timedelta(seconds=seconds))

    def _tell(self, unit: Unit, kind: EventKind, known: PullFollowed, data: dict[str, JsonValue]) -> None:
        order = work_orders.of_task(unit, known.task_id)
        if order is not None:
            tell(unit, kind, self._now(order), Told(SERVER, data=data))

    def _now(self, order: WorkOrder) -> WorkOrder:
        return order.model_copy(update={"updated_at": self._clock.now()})


class _Looks:
    """Handles `pull:<task>`."""

    def __init__(self, desk: FollowUps) -> None:
        self._desk = desk

    def arrived(self, unit: Unit, name: str, errand: Errand, result: ErrandResult) -> None:
        self._desk.pull_seen(unit, name, result.pull)

    def failed(self, unit: Unit, name: str, errand: Errand, trouble: Trouble) -> None:
        """It is tried again."""


class _SecondRuns:
    """Handles `again:<task>/<check>`."""

    def __init__(self, desk: FollowUps, errands: Errands) -> None:
        self._desk = desk
        self._errands = errands

    def arrived(self, unit: Unit, name: str, errand: Errand, result: ErrandResult) -> None:
        task_id, _, check_id = name.partition("/")
        self._desk.runs_again(unit, task_id, check_id)

    def failed(self, unit: Unit, name: str, errand: Errand, trouble: Trouble) -> None:
        if trouble.for_good:
            task_id, _, check_id = name.partition("/")
            self._errands.forget(unit, f"again:{name}")
            self._desk.refused_to_run(unit, task_id, check_id)


class _Replies:
    """Handles `reply:<mark>`."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands

    def arrived(self, unit: Unit, name: str, errand: Errand, result: ErrandResult) -> None:
        """It is there."""

    def failed(self, unit: Unit, name: str, errand: Errand, trouble: Trouble) -> None:
        """The comment may be gone, for instance: not for ever."""
        if trouble.for_good and trouble.tries >= _TRIES_TO_REPLY:
            self._errands.forget(unit, f"reply:{name}")


def _without_intake(unit: Unit, known: PullFollowed, seen: PullSeen) -> PullSeen:
    """What is seen without comments that answer a question which a task from the forge asks there, or may yet."""
    there = repositories.of(unit, known.repository)
    address = there.address if there is not None else address_of(known.repository)
    new = [one.id for one in seen.comments]
    taken = follow_ups.taken_in(unit, address, new) if new else frozenset()
    asked_at = follow_ups.asked_at(unit, address, seen.number) if new else None
    left = (one for one in seen.comments if one.id not in taken and (asked_at is None or one.at < asked_at))
    return seen.model_copy(update={"comments": tuple(left)})


def _lost(unit: Unit, known: PullFollowed) -> frozenset[str]:
    """Comments without an answer whose task somebody cancelled, or that is not kept any more."""
    waiting = [one for one in known.heard if not one.answered and one.task_id is not None]
    orders = {
        task_id: work_orders.of_task(unit, task_id) for task_id in {one.task_id for one in waiting if one.task_id}
    }
    over = {id_ for id_, order in orders.items() if order is None or order.status is OrderStatus.CANCELLED}
    return frozenset(one.id for one in waiting if one.task_id in over)


def _standing(following: WorkOrder | None) -> f.Follower:
    if following is None:
        return f.Follower.NONE
    return f.Follower.LIVE if following.status in LIVE else f.Follower.FAILED
