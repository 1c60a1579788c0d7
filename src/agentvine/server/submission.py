"""Taking tasks in: one, or several that need one another. Runs inside transactions, as `Orders` does."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from agentvine.domain.errors import Conflict, DependencyCycle, Forbidden, IdempotencyMismatch, InvalidInput
from agentvine.domain.event import EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key
from agentvine.domain.permission import PermissionLevel, lowest
from agentvine.domain.task import NewTask, Task, TaskStatus
from agentvine.domain.work_order import TERMINAL, OrderStatus, WorkOrder
from agentvine.kit.clock import Clock
from agentvine.server.chronicle import SERVER, Told, actor_of, tell
from agentvine.server.control_plane import claimable_ring
from agentvine.server.holding import locked_order
from agentvine.server.permits import permit_repository, permit_type
from agentvine.server.reading import invalid
from agentvine.store import executions, keys, repositories, tasks, work_orders
from agentvine.store.tasks import Prospect, Submission
from agentvine.store.unit import Unit
from agentvine.wire import messages as m

_LONGEST_KEY = 255
_FOLLOWING = "following"
"""In the place of a key: who follows whom is the same whoever asks."""
_MOST_FOLLOWERS = 100
_KEPT_APART = timedelta(microseconds=1)
_HOPELESS: Mapping[Prospect | None, str] = MappingProxyType(
    {
        None: "there is no task {}",
        Prospect.CANCELLED: "the needed task {} was cancelled",
        Prospect.ABANDONED: "the needed task {} can never be completed: what it needs was cancelled",
    }
)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A task that is about to be taken in. `pointer` leads to it in what was sent."""

    task_id: str
    asked: NewTask
    needs: tuple[str, ...]
    """All that it needs, by id: those that are there and those of the same batch."""
    pointer: str = ""
    level: PermissionLevel = PermissionLevel.AUTONOMOUS
    """The highest that an operator lets tasks of its repository have."""


@dataclass(frozen=True, slots=True)
class _Name:
    """In whose name tasks are taken in, and how high their level may be."""

    key_id: str
    actor: str
    level: PermissionLevel

    @classmethod
    def of(cls, key: Key) -> "_Name":
        """Whoever speaks with that key."""
        return cls(key.id, actor_of(key), key.scope.permission_level)


class Submissions:
    """Takes tasks in, in the name of a key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def submit(self, unit: Unit, asked: NewTask, idempotency_key: str | None, key: Key) -> Task:
        """One task. Under a key that was used before: the same task, if the same was asked."""
        _permit(asked, key)
        _follows_nothing(asked, "")
        now = self._clock.now()
        draft = _Draft(new_id("tsk", now), asked, asked.needs)
        if idempotency_key is not None:
            submission = Submission(key.id, _checked(idempotency_key), _digest(asked), draft.task_id, now)
            first = tasks.claim_submission(unit, submission)
            if first is not None:
                return _same(unit, submission, first)
        return self._take(unit, [draft], _Name.of(key), now)[0]

    def submit_from_forge(self, unit: Unit, asked: NewTask, task_id: str, key: Key) -> Task:
        """A task that the server made of something on a forge. Whether it did before is the caller's to know.

        What it raises it raises before anything has changed.
        """
        _permit(asked, key)
        return self._take(unit, [_Draft(task_id, asked, ())], _Name.of(key), self._clock.now())[0]

    def submit_all(self, unit: Unit, batch: m.TaskBatch, key: Key) -> tuple[Task, ...]:
        """All of a batch, or none."""
        for number, named in enumerate(batch.tasks):
            _permit(named.task, key)
            _follows_nothing(named.task, f"/tasks/{number}/task")
        _check_names(batch)
        now = self._clock.now()
        ids = {named.name: new_id("tsk", now) for named in batch.tasks}
        drafts = [
            _Draft(
                ids[named.name],
                named.task,
                (*named.task.needs, *(ids[name] for name in named.needs_names)),
                f"/tasks/{number}/task",
            )
            for number, named in enumerate(batch.tasks)
        ]
        return tuple(self._take(unit, drafts, _Name.of(key), now))

    def follow(self, unit: Unit, done: WorkOrder, key: Key) -> WorkOrder:
        """A new task that goes on with a completed one, on the branch that was delivered.

        Raises `Forbidden`; `Conflict` if there is one already, unless that was cancelled.
        """
        _, asked = _following(unit, done)
        _permit(asked, key)
        return self._follow(unit, done, asked, _Name.of(key))

    def follow_by_itself(self, unit: Unit, done: WorkOrder) -> WorkOrder:
        """As `follow`, without anybody who asks: in the name of whoever submitted the first, at its level.

        Raises `Conflict`; `Forbidden` once that key has ended.
        """
        before, asked = _following(unit, done)
        self.permit_by_itself(unit, before.id)
        return self._follow(unit, done, asked, _Name(before.created_by, SERVER, before.permission_level))

    def permit_by_itself(self, unit: Unit, task_id: str) -> None:
        """Raises `Forbidden` if nothing is to be done by itself in the name of whoever submitted that task."""
        task = tasks.get(unit, task_id)
        key = keys.get(unit, task.created_by) if task is not None else None
        if key is None or not key.usable(self._clock.now()):
            raise Forbidden(
                f"the key that submitted {task_id} has ended; `agentvine retry {task_id} --comment …` with another key "
                "goes on with it"
            )

    def follower(self, unit: Unit, task_id: str) -> WorkOrder | None:
        """The order of the task that follows this one, locked; of those that were cancelled, none."""
        for number in range(_MOST_FOLLOWERS):
            taken = tasks.submitted_as(unit, _FOLLOWING, f"{task_id}#{number}")
            order = work_orders.locked_by_task(unit, taken) if taken is not None else None
            if taken is None or (order is not None and order.status is not OrderStatus.CANCELLED):
                return order
        return None

    def _follow(self, unit: Unit, done: WorkOrder, asked: NewTask, name: _Name) -> WorkOrder:
        now = self._clock.now()
        task_id = new_id("tsk", now)
        self._only_follower(unit, done, task_id, now)
        task = self._take(unit, [_Draft(task_id, asked, ())], name, now)[0]
        return locked_order(unit, task.work_order_id)

    def _only_follower(self, unit: Unit, done: WorkOrder, task_id: str, now: datetime) -> None:
        """Note that `task_id` follows: two at once would both build on the same branch."""
        for number in range(_MOST_FOLLOWERS):
            name = f"{done.task_id}#{number}"
            taken = tasks.claim_submission(unit, Submission(_FOLLOWING, name, "", task_id, now))
            if taken is None:
                return
            order = work_orders.locked_by_task(unit, taken.task_id)
            if order is not None and order.status is not OrderStatus.CANCELLED:
                verb = "retry" if order.status in TERMINAL else "comment"
                how = f"`agentvine {verb} {taken.task_id}`"
                raise Conflict(f"the task {taken.task_id} follows it already: {how} that", status=done.status.value)
        raise Conflict(f"{_MOST_FOLLOWERS} tasks that followed it were cancelled", status=done.status.value)

    def _take(self, unit: Unit, drafts: Sequence[_Draft], name: _Name, now: datetime) -> list[Task]:
        drafts = [_as_its_repository_says(unit, draft) for draft in drafts]
        fresh = {draft.task_id for draft in drafts}
        open_ = _open_among(unit, drafts, fresh)
        accepted = []
        for number, draft in enumerate(drafts):
            blocked_by = sum(1 for needed in set(draft.needs) if needed in fresh or open_[needed])
            accepted.append(_keep(unit, draft, blocked_by, name, now + number * _KEPT_APART))
        for draft in drafts:
            tasks.insert_needs(unit, draft.task_id, sorted(set(draft.needs)))
        return accepted


def _following(unit: Unit, done: WorkOrder) -> tuple[Task, NewTask]:
    """A completed task, and what is asked of the one that goes on with it. Raises `Conflict`."""
    before, delivered = tasks.get(unit, done.task_id), executions.last_completed(unit, done.id)
    if before is None or delivered is None or delivered.delivery is None:
        raise Conflict("nothing was delivered that could be gone on with", status=done.status.value)
    changes = {
        "follows": before.id,
        "branch": delivered.delivery.branch,
        "needs": (),
        "permission_level": before.permission_level,
    }
    return before, before.asked.model_copy(update=changes)


def _keep(unit: Unit, draft: _Draft, blocked_by: int, name: _Name, now: datetime) -> Task:
    asked = draft.asked
    task = Task(
        id=draft.task_id,
        work_order_id=new_id("wo", now),
        created_at=now,
        created_by=name.key_id,
        asked=asked,
        permission_level=lowest([asked.level, name.level, draft.level]),
        status=TaskStatus.BLOCKED if blocked_by else TaskStatus.PENDING,
    )
    order = WorkOrder(
        id=task.work_order_id,
        task_id=task.id,
        type=asked.type,
        repository=asked.repository,
        branch=asked.branch,
        permission_level=task.permission_level,
        queue=asked.queue,
        priority=asked.priority,
        specializations=asked.specializations,
        created_at=now,
        updated_at=now,
        blocked_by=blocked_by,
        max_attempts=asked.max_attempts,
    )
    tasks.insert(unit, task)
    work_orders.insert(unit, order, asked.budget.usd)
    told = Told(name.actor, data={"title": asked.title, "type": asked.type.value, "repository": asked.repository})
    tell(unit, EventKind.TASK_SUBMITTED, order, told)
    if not blocked_by:
        unit.ring(claimable_ring(order))
    return task


def _as_its_repository_says(unit: Unit, draft: _Draft) -> _Draft:
    """What an operator has said of the repository fills in the branch and bounds the level. Raises `InvalidInput`."""
    asked, known = draft.asked, repositories.of(unit, draft.asked.repository)
    settings = known.repository.settings if known is not None else None
    if known is not None and settings is not None:
        repositories.spelled(unit, known.repository.id, asked.repository)
        draft = replace(draft, level=settings.permission_level or draft.level)
    if asked.branch:
        return draft
    if settings is None or settings.default_branch is None:
        why = "name a branch: the server was told of no default branch of this repository (agentvine repo)"
        raise invalid(f"{draft.pointer}/branch", why)
    return replace(draft, asked=asked.model_copy(update={"branch": settings.default_branch}))


def _permit(asked: NewTask, key: Key) -> None:
    permit_type(key, asked.type)
    permit_repository(key, asked.repository)


def _follows_nothing(asked: NewTask, pointer: str) -> None:
    if asked.follows is not None:
        raise invalid(f"{pointer}/follows", "to go on with a completed task, retry it with a comment")
    if asked.origin is not None:
        raise invalid(f"{pointer}/origin", "only the server says that a task comes from a forge")


def _open_among(unit: Unit, drafts: Sequence[_Draft], fresh: Collection[str]) -> dict[str, bool]:
    """For each task that is there already and needed: whether it is still to be completed.

    The rows stay locked, so that none completes unnoticed before this transaction ends.
    """
    needed = {task_id for draft in drafts for task_id in draft.needs if task_id not in fresh}
    found = {task_id: tasks.locked_prospect(unit, task_id) for task_id in sorted(needed)}
    errors = [
        {"pointer": f"{draft.pointer}/needs/{number}", "message": _HOPELESS[found[task_id]].format(task_id)}
        for draft in drafts
        for number, task_id in enumerate(draft.asked.needs)
        if found[task_id] in _HOPELESS
    ]
    if errors:
        raise InvalidInput(errors[0]["message"], errors=errors)
    return {task_id: prospect is Prospect.OPEN for task_id, prospect in found.items()}


# ── idempotency ──────────────────────────────────────────────────────────────────────────────────────────────────


def _checked(idempotency_key: str) -> str:
    if not (0 < len(idempotency_key) <= _LONGEST_KEY and idempotency_key.isascii() and idempotency_key.isprintable()):
        raise InvalidInput(f"an Idempotency-Key is 1 to {_LONGEST_KEY} printable ASCII characters")
    return idempotency_key


def _digest(asked: NewTask) -> str:
    return hashlib.sha256(asked.model_dump_json().encode()).hexdigest()


def _same(unit: Unit, submission: Submission, first: Submission) -> Task:
    task = tasks.get(unit, first.task_id)
    if first.digest != submission.digest or task is None:
        raise IdempotencyMismatch(
            "this Idempotency-Key was used for another task; take a new one for a new task", task_id=first.task_id
        )
    return task


# ── cycles ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_names(batch: m.TaskBatch) -> None:
    names = [named.name for named in batch.tasks]
    for number, named in enumerate(batch.tasks):
        if named.name in names[:number]:
            raise invalid(f"/tasks/{number}/name", f"two tasks are called {named.name!r}")
        for place, name in enumerate(named.needs_names):
            if name not in names:
                raise invalid(f"/tasks/{number}/needs_names/{place}", f"no task of this batch is called {name!r}")
    cycle = find_cycle({named.name: named.needs_names for named in batch.tasks})
    if cycle is not None:
        raise DependencyCycle(f"these tasks would wait for one another: {' → '.join(cycle)}", cycle=cycle)


def find_cycle(needs: Mapping[str, Collection[str]]) -> list[str] | None:
    """Names along one cycle, the first of them repeated at the end; None if there is none. Keys are all the names."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        pending = [(start, False)]
        while pending:
            name, leaving = pending.pop()
            if leaving:
                done.add(path.pop())
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                pending.append((name, True))
                pending.extend((needed, False) for needed in needs[name])
    return None
