"""The people's side of the server: `wire.front_desk.FrontDesk`, for real."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import TypeVar

import agentvine
from agentvine.domain.audit import AuditEntry
from agentvine.domain.errors import Conflict, Forbidden, Unavailable
from agentvine.domain.event import Event
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.domain.key import Key
from agentvine.domain.precedent import Precedent
from agentvine.domain.request import RequestStatus, WorkerRequest
from agentvine.domain.task import NewTask, Task, TaskStatus
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.kit import failpoints
from agentvine.server.audit import AuditTrail
from agentvine.server.chronicle import actor_of
from agentvine.server.comments import MOST
from agentvine.server.following import followed
from agentvine.server.held_back import Obstacles
from agentvine.server.holding import locked_order
from agentvine.server.inbox import inbox_of
from agentvine.server.keyring import KeyRing
from agentvine.server.pages import cursor_of_request, id_cursor, number_cursor, page_of, request_cursor, slice_of
from agentvine.server.permits import hidden, known, not_found, permit, permit_order, sees
from agentvine.server.pruning import Pruner
from agentvine.server.reading import check_number, invalid, visible_execution, visible_order, visible_request
from agentvine.server.repository_desk import RepositoryDesk
from agentvine.server.submission import Submissions
from agentvine.server.worker_desk import ControlPlaneService
from agentvine.store import audit, comments, executions, listings, model_limits, requests, tasks, work_orders
from agentvine.store.database import database_out_of_reach
from agentvine.store.listings import TasksWanted
from agentvine.store.unit import Unit
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire import routes

T = TypeVar("T")
_EVENTS_AT_ONCE = 500
_BETWEEN_LOOKS = 0.05
"""Seconds between two looks of one stream of events, however often it is rung."""
_DEAD_LETTERS = 100
_ENTRIES_AT_ONCE = 2000
_SEALED_AT_ONCE = 20_000
"""Entries and events of the audit log that are computed again in one look; it takes a part of a second."""
_DIFF = "diff"
_DRAFT = "draft.diff"


class FrontDeskService:
    """What all keys share; `acting_as(key)` gives one key's view."""

    def __init__(
        self,
        control: ControlPlaneService,
        keyring: KeyRing,
        degraded: Callable[[], Mapping[str, str]] = dict,
        trail: AuditTrail | None = None,
    ) -> None:
        """`degraded` names what is missing without stopping the work, and why. `trail` writes the audit log."""
        self.control = control
        self.keyring = keyring
        self.degraded = degraded
        self.trail = trail or AuditTrail(control.database, control.clock)
        self.submissions = Submissions(control.clock)
        self.pruner = Pruner(control.database, control.artifacts, control.clock, self.trail)

    def acting_as(self, key: Key) -> "FrontDeskOf":
        """The contract, bound to a key."""
        return FrontDeskOf(self, key)


class FrontDeskOf(RepositoryDesk):
    """`FrontDesk` for one key. What the methods do is said there."""

    def __init__(self, service: FrontDeskService, key: Key) -> None:
        super().__init__(service.control, service.pruner, key)
        self._service = service

    # ── tasks and orders ─────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, task: NewTask, idempotency_key: str | None = None) -> Task:
        permit(self._key, routes.SUBMIT)
        return await self._write(
            lambda unit: self._service.submissions.submit(unit, task, idempotency_key, self._key), "submit"
        )

    async def submit_all(self, batch: m.TaskBatch) -> tuple[Task, ...]:
        permit(self._key, routes.SUBMIT_BATCH)
        return await self._write(lambda unit: self._service.submissions.submit_all(unit, batch, self._key))

    async def task(self, task_id: str) -> m.TaskDetail:
        permit(self._key, routes.TASK)

        def look(unit: Unit) -> m.TaskDetail:
            task = tasks.get(unit, known("task", task_id))
            if task is None:
                raise not_found("task", task_id)
            order = visible_order(unit, task.work_order_id, self._key)
            kept = executions.of_order(unit, order.id)
            return m.TaskDetail(
                task=task,
                order=order,
                executions=tuple(one.execution for one in kept),
                requests=requests.of_order(unit, order.id),
                summary=next((one.summary for one in reversed(kept) if one.summary), ""),
                pull_request=self._control.follow_ups.of_task(unit, task),
                waits_for=self._obstacles(unit).of_order(order) if order.status is OrderStatus.PENDING else (),
            )

        return await self._read(look)

    async def tasks(
        self, which: m.TaskFilter = m.TaskFilter(), cursor: str | None = None, limit: int = 50
    ) -> m.Page[Task]:
        permit(self._key, routes.TASKS)
        part = slice_of(self._key, limit, id_cursor(cursor))
        wanted = _wanted(which)
        found = await self._read(lambda unit: listings.tasks(unit, wanted, part))
        return page_of(found, limit, lambda task: task.id)

    async def cancel(self, task_id: str) -> WorkOrder:
        permit(self._key, routes.CANCEL_TASK)
        return await self._write(lambda unit: self._cancel(unit, self._order_of_task(unit, task_id)), "cancel")

    async def retry(self, task_id: str, retry: m.Retry | None = None) -> WorkOrder:
        permit(self._key, routes.RETRY_TASK)
        return await self._write(lambda unit: self._retry(unit, self._order_of_task(unit, task_id), retry))

    async def comment(self, task_id: str, new: m.NewComment) -> m.Comment:
        permit(self._key, routes.COMMENT)

        def write(unit: Unit) -> m.Comment:
            order = self._order_of_task(unit, task_id)
            permit_order(self._key, order)
            return self._control.comments.add(unit, order, new.text, self._key)

        return await self._write(write)

    async def comments(self, task_id: str) -> tuple[m.Comment, ...]:
        permit(self._key, routes.COMMENTS)

        def look(unit: Unit) -> tuple[m.Comment, ...]:
            task = tasks.get(unit, known("task", task_id))
            if task is None:
                raise not_found("task", task_id)
            return comments.after(unit, visible_order(unit, task.work_order_id, self._key), 0, MOST)

        return await self._read(look)

    async def work_order(self, work_order_id: str) -> WorkOrder:
        permit(self._key, routes.WORK_ORDER)
        return await self._read(lambda unit: visible_order(unit, work_order_id, self._key))

    async def work_orders(
        self, status: OrderStatus | None = None, cursor: str | None = None, limit: int = 50
    ) -> m.Page[WorkOrder]:
        permit(self._key, routes.WORK_ORDERS)
        part = slice_of(self._key, limit, id_cursor(cursor))
        found = await self._read(lambda unit: listings.orders(unit, status, part))
        return page_of(found, limit, lambda order: order.id)

    async def cancel_order(self, work_order_id: str) -> WorkOrder:
        permit(self._key, routes.CANCEL_ORDER)
        return await self._write(lambda unit: self._cancel(unit, locked_order(unit, work_order_id)))

    async def requeue(self, work_order_id: str) -> WorkOrder:
        permit(self._key, routes.REQUEUE)
        return await self._write(lambda unit: self._requeue(unit, locked_order(unit, work_order_id)))

    def _order_of_task(self, unit: Unit, task_id: str) -> WorkOrder:
        order = work_orders.locked_by_task(unit, known("task", task_id))
        if order is None:
            raise not_found("task", task_id)
        if not sees(self._key, order):
            raise hidden("task", task_id)
        return order

    def _cancel(self, unit: Unit, order: WorkOrder) -> WorkOrder:
        permit_order(self._key, order)
        return self._control.orders.cancel(unit, order, actor_of(self._key))

    def _retry(self, unit: Unit, order: WorkOrder, retry: m.Retry | None) -> WorkOrder:
        permit_order(self._key, order)
        comment = retry.comment if retry is not None else None
        if order.status is OrderStatus.COMPLETED:
            if comment is None:
                why = f"it is done; `agentvine retry {order.task_id} --comment …` says what is to be different"
                raise Conflict(why, status=order.status.value)
            order = self._service.submissions.follow(unit, order, self._key)
        else:
            order = self._control.orders.requeue(unit, order, actor_of(self._key))
        if comment is not None:
            self._control.comments.keep(unit, order, comment, self._key)
        return order

    def _requeue(self, unit: Unit, order: WorkOrder) -> WorkOrder:
        permit_order(self._key, order)
        return self._control.orders.requeue(unit, order, actor_of(self._key))

    # ── executions ───────────────────────────────────────────────────────────────────────────────────────────────

    async def execution(self, execution_id: str) -> Execution:
        permit(self._key, routes.EXECUTION)
        return await self._read(lambda unit: visible_execution(unit, execution_id, self._key))

    async def transcript(self, execution_id: str, after: int = 0, wait_seconds: float = 0.0) -> m.TranscriptPage:
        permit(self._key, routes.TRANSCRIPT)
        return await self._control.reading.transcript(execution_id, after, wait_seconds, self._key)

    async def diff(self, execution_id: str, draft: bool = False) -> str:
        permit(self._key, routes.DIFF)
        content = await self._control.reading.artifact(execution_id, _DRAFT if draft else _DIFF, self._key)
        return content.decode("utf-8", "replace")

    async def evidence(self, execution_id: str) -> Evidence:
        permit(self._key, routes.EVIDENCE)
        return await self._control.reading.evidence(execution_id, self._key)

    async def statement(self, execution_id: str) -> str:
        permit(self._key, routes.STATEMENT)
        return await self._control.reading.statement(execution_id, self._key)

    async def signing_key(self) -> adm.SigningKeyInfo:
        permit(self._key, routes.SIGNING_KEY)
        public = self._control.signing.public
        return adm.SigningKeyInfo(id=public.id, pem=public.pem)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def requests(
        self, status: RequestStatus | None = RequestStatus.OPEN, cursor: str | None = None, limit: int = 50
    ) -> m.Page[WorkerRequest]:
        permit(self._key, routes.REQUESTS)
        at, after = request_cursor(cursor)
        part = slice_of(self._key, limit, after)
        found = await self._read(lambda unit: listings.requests(unit, status, at, part))
        return page_of(found, limit, cursor_of_request)

    async def inbox(self, cursor: str | None = None, limit: int = 50) -> m.Inbox:
        permit(self._key, routes.INBOX)
        at, after = request_cursor(cursor)
        part = slice_of(self._key, limit, after)
        return await self._read(lambda unit: inbox_of(unit, at, part))

    async def request(self, request_id: str) -> WorkerRequest:
        permit(self._key, routes.REQUEST)
        return await self._read(lambda unit: visible_request(unit, request_id, self._key))

    async def respond(self, request_id: str, reply: m.Reply) -> WorkerRequest:
        permit(self._key, routes.RESPOND)
        request = await self.request(request_id)  # raises NotFound for one that this key may not see
        permit_order(self._key, await self._read(lambda unit: visible_order(unit, request.work_order_id, self._key)))
        return await self._control.answer(request_id, reply, actor_of(self._key), self._key)

    async def precedents(
        self, everything: bool = False, cursor: str | None = None, limit: int = 50
    ) -> m.Page[Precedent]:
        permit(self._key, routes.PRECEDENTS)
        part = slice_of(self._key, limit, id_cursor(cursor))
        found = await self._read(lambda unit: self._control.precedents.page(unit, part, everything=everything))
        return page_of(found, limit, lambda precedent: precedent.id)

    async def precedent(self, precedent_id: str) -> Precedent:
        permit(self._key, routes.PRECEDENT)
        return await self._read(lambda unit: self._control.precedents.visible(unit, precedent_id, self._key))

    async def forget(self, precedent_id: str) -> Precedent:
        permit(self._key, routes.FORGET)
        return await self._write(lambda unit: self._control.precedents.forget(unit, precedent_id, self._key))

    # ── the fleet ────────────────────────────────────────────────────────────────────────────────────────────────

    async def queue(self) -> m.QueueReport:
        permit(self._key, routes.QUEUE)
        letters = slice_of(self._key, _DEAD_LETTERS - 1, None)

        def look(unit: Unit) -> m.QueueReport:
            return m.QueueReport(
                lines=listings.queue_lines(unit, self._control.clock.now()),
                totals=listings.totals(unit),
                dead_letters=tuple(listings.orders(unit, OrderStatus.FAILED, letters)),
                limits=model_limits.lasting(unit, self._control.clock.now()),
                held_back=self._obstacles(unit).everywhere(letters),
            )

        return await self._read(look)

    def _obstacles(self, unit: Unit) -> Obstacles:
        return Obstacles(unit, self._control.clock.now(), self._control.terms.repository_concurrency)

    async def events(self, after: int | None = None, task_id: str | None = None) -> AsyncIterator[Event]:
        permit(self._key, routes.EVENTS)
        if task_id is not None:
            known("task", task_id)
        if after is not None:
            check_number("after", after)
        async for event in followed(self._control, self._key, after, task_id):
            yield event

    # ── keys and health ──────────────────────────────────────────────────────────────────────────────────────────

    async def keys(self) -> tuple[Key, ...]:
        permit(self._key, routes.KEYS)
        mine = self._key.scope
        return tuple(key for key in await self._service.keyring.list() if key.scope.within(mine))

    async def create_key(self, new: adm.NewKey) -> adm.CreatedKey:
        permit(self._key, routes.CREATE_KEY)
        return await self._service.keyring.create(new, created_by=self._key.id, by=self._key)

    async def rotate_key(self, key_id: str, rotation: adm.Rotation = adm.Rotation()) -> adm.CreatedKey:
        permit(self._key, routes.ROTATE_KEY)
        overlap = timedelta(seconds=rotation.overlap_seconds)
        return await self._service.keyring.rotate(key_id, overlap, actor_of(self._key), by=self._key)

    async def revoke_key(self, key_id: str) -> Key:
        permit(self._key, routes.REVOKE_KEY)
        return await self._service.keyring.revoke(key_id, actor_of(self._key), by=self._key)

    async def audit(self, cursor: str | None = None, limit: int = 50) -> m.Page[AuditEntry]:
        self._permit_audit(routes.AUDIT)
        before = number_cursor(cursor)
        part = slice_of(self._key, limit, None)
        await self._service.trail.seal(everything=True)
        found = await self._read(lambda unit: audit.entries(unit, before, part.limit))
        return page_of(found, limit, lambda entry: str(entry.seq))

    async def verify_audit(self, after: int = 0, expected: str | None = None) -> adm.AuditCheck:
        self._permit_audit(routes.VERIFY_AUDIT)
        check_number("after", after)
        if after == 0:
            await self._service.trail.seal(everything=True)
        found = await self._read(lambda unit: audit.check(unit, after, expected, _ENTRIES_AT_ONCE, _SEALED_AT_ONCE))
        return adm.AuditCheck(
            seq=found.head.seq,
            hash=found.head.hash,
            entries=found.entries,
            events=found.events,
            more=found.more,
            broken_at=found.broken_at,
            why=found.why,
            pruned_to=found.pruned_to,
        )

    def _permit_audit(self, route: routes.Route) -> None:
        permit(self._key, route)
        if self._key.scope.restricted:
            raise Forbidden("the audit log is about everything; this key's scope is not", needs={"scope": "all"})

    async def who_am_i(self) -> adm.WhoAmI:
        return adm.WhoAmI(key=self._key)

    async def health(self) -> adm.Health:
        try:
            await self._control.check()
        except Unavailable as error:
            return adm.Health(status="down", version=agentvine.__version__, degraded={"database": error.message})
        degraded = dict(self._service.degraded())
        return adm.Health(status="degraded" if degraded else "ok", version=agentvine.__version__, degraded=degraded)

    async def _read(self, work: Callable[[Unit], T]) -> T:
        return await self._control.database.read(work)

    async def _write(self, work: Callable[[Unit], T], operation: str | None = None) -> T:
        if operation is None:
            return await self._control.database.write(work)
        return await failpoints.committed(operation, self._control.database.write, work, database_out_of_reach)


def _wanted(which: m.TaskFilter) -> TasksWanted:
    status: str | None = which.status
    blocked: bool | None = None
    if status is not None:
        if status not in set(TaskStatus):
            raise invalid("/status", f"a task's status is one of {', '.join(TaskStatus)}")
        if status in {TaskStatus.BLOCKED, TaskStatus.PENDING}:
            status, blocked = OrderStatus.PENDING.value, status == TaskStatus.BLOCKED
    repository = which.repository
    if repository is not None and ("\0" in repository or not repository.isprintable()):
        raise invalid("/repository", "a repository URL holds no control characters")
    return TasksWanted(status, blocked, which.type.value if which.type else None, repository)
