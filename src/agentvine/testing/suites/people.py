"""What people submit, look at and decide."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import (
    Conflict,
    DependencyCycle,
    Forbidden,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
)
from agentvine.domain.event import Event, EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.task import TaskStatus
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.cast import a_task, a_worker
from agentvine.testing.site import Site
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire.front_desk import FrontDesk


def named(name: str, *needs: str, **more: object) -> m.NamedTask:
    return m.NamedTask(name=name, needs_names=needs, task=a_task(name, **more))


class Submissions:
    async def test_said_twice_kept_once(self, site: Site) -> None:
        desk = await site.front_desk()
        task = await desk.submit(a_task(), idempotency_key="once")
        assert await desk.submit(a_task(), idempotency_key="once") == task
        with pytest.raises(IdempotencyMismatch):
            await desk.submit(a_task("another"), idempotency_key="once")
        other = await site.front_desk()
        assert (await other.submit(a_task(), idempotency_key="once")).id != task.id
        assert (await desk.submit(a_task())).id != task.id

    async def test_said_twice_at_once(self, site: Site) -> None:
        desk = await site.front_desk()
        async with asyncio.TaskGroup() as group:
            submitted = [group.create_task(desk.submit(a_task(), idempotency_key="x")) for _ in range(8)]
        assert len({task.result().id for task in submitted}) == 1
        assert (await desk.queue()).totals[OrderStatus.PENDING] == 1

    async def test_a_needed_task_must_be_there(self, site: Site) -> None:
        desk = await site.front_desk()
        there = await desk.submit(a_task())
        missing = new_id("tsk", site.clock.now())
        with pytest.raises(InvalidInput) as refused:
            await desk.submit(a_task(needs=(there.id, missing)))
        assert refused.value.facts["errors"] == [{"pointer": "/needs/1", "message": f"there is no task {missing}"}]
        assert len((await desk.tasks()).items) == 1

    async def test_a_needed_task_must_not_be_cancelled(self, site: Site) -> None:
        desk = await site.front_desk()
        there, cancelled = await desk.submit(a_task()), await desk.submit(a_task())
        abandoned = await desk.submit(a_task(needs=(cancelled.id,)))
        await desk.cancel(cancelled.id)
        with pytest.raises(InvalidInput, match="was cancelled") as refused:
            await desk.submit(a_task(needs=(there.id, cancelled.id, abandoned.id)))
        errors = refused.value.facts["errors"]
        assert isinstance(errors, list)
        assert [error["pointer"] for error in errors] == ["/needs/1", "/needs/2"]
        with pytest.raises(InvalidInput, match="was cancelled"):
            await desk.submit_all(m.TaskBatch(tasks=(named("a", needs=(cancelled.id,)),)))
        assert len((await desk.tasks()).items) == 3

    async def test_a_batch(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        last, first = await desk.submit_all(m.TaskBatch(tasks=(named("last", "first"), named("first"))))
        assert (last.status, first.status) == (TaskStatus.BLOCKED, TaskStatus.PENDING)
        claimed = await worker.take()
        assert claimed.task.id == first.id
        await worker.complete(claimed)
        assert (await worker.take()).task.id == last.id

    async def test_a_cycle_is_refused(self, site: Site) -> None:
        desk = await site.front_desk()
        batch = m.TaskBatch(tasks=(named("a"), named("b", "d"), named("c", "b", "a"), named("d", "c")))
        with pytest.raises(DependencyCycle) as refused:
            await desk.submit_all(batch)
        assert refused.value.facts["cycle"] == ["b", "d", "c", "b"]
        with pytest.raises(DependencyCycle):
            await desk.submit_all(m.TaskBatch(tasks=(named("self", "self"),)))
        assert (await desk.tasks()).items == ()

    async def test_a_batch_is_taken_whole_or_not_at_all(self, site: Site) -> None:
        desk = await site.front_desk()
        for wrong in (
            (named("a"), named("b", "nobody")),
            (named("a"), named("a")),
            (named("a"), named("b", needs=(new_id("tsk", site.clock.now()),))),
        ):
            with pytest.raises(InvalidInput) as refused:
                await desk.submit_all(m.TaskBatch(tasks=wrong))
            errors = refused.value.facts["errors"]
            assert isinstance(errors, list)
            assert errors[0]["pointer"].startswith("/tasks/1/")
        assert (await desk.tasks()).items == ()


class Listings:
    async def test_tasks_newest_first_in_pages(self, site: Site) -> None:
        desk = await site.front_desk()
        for number in range(5):
            await desk.submit(a_task(str(number)))
            site.clock.advance(0.01)
        titles: list[str] = []
        cursor: str | None = None
        while True:
            page = await desk.tasks(cursor=cursor, limit=2)
            titles += [task.asked.title for task in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert titles == ["4", "3", "2", "1", "0"]
        assert [order.task_id for order in (await desk.work_orders(limit=5)).items] == [
            task.id for task in (await desk.tasks(limit=5)).items
        ]

    async def test_tasks_by_what_they_are(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        other = "https://git.example/team/other.git"
        one = await desk.submit(a_task("running", priority=9))
        await worker.take()
        two = await desk.submit(a_task("blocked", needs=(one.id,), repository=other))
        three = await desk.submit(a_task("docs", type=TaskType.DOCS))

        async def found(**which: object) -> list[str]:
            return [task.id for task in (await desk.tasks(m.TaskFilter.model_validate(which))).items]

        assert await found(status="running") == [one.id]
        assert await found(status="blocked") == [two.id]
        assert await found(status="pending") == [three.id]
        assert await found(type=TaskType.DOCS) == [three.id]
        assert await found(repository=other) == [two.id]
        assert await found(repository=other, status="running") == []
        assert [order.id for order in (await desk.work_orders(OrderStatus.RUNNING)).items] == [one.work_order_id]
        stranger = await site.front_desk(Scope(role=Role.VIEWER, repositories=(other,)))
        assert [task.id for task in (await stranger.tasks()).items] == [two.id]
        with pytest.raises(NotFound):
            await stranger.task(one.id)

    async def test_what_makes_no_sense_is_refused(self, site: Site) -> None:
        desk = await site.front_desk()
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: desk.tasks(limit=0),
            lambda: desk.tasks(limit=201),
            lambda: desk.tasks(cursor="x"),
            lambda: desk.requests(cursor="tsk_x"),
            lambda: desk.tasks(m.TaskFilter(status="sleeping")),
        ]
        for attempt in attempts:
            with pytest.raises(InvalidInput):
                await attempt()

    @pytest.mark.parametrize("odd", ["x", "tsk_", "tsk_0", "'; DROP TABLE tasks", "ä", "tsk_" + "z" * 26, "%00"])
    async def test_what_is_not_there_is_not_found(self, site: Site, odd: str) -> None:
        desk, plane = await site.front_desk(), (await a_worker(site)).plane
        reply = m.Reply(verdict="answer")
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: desk.task(odd),
            lambda: desk.cancel(odd),
            lambda: desk.retry(odd),
            lambda: desk.work_order(odd),
            lambda: desk.cancel_order(odd),
            lambda: desk.requeue(odd),
            lambda: desk.execution(odd),
            lambda: desk.transcript(odd),
            lambda: desk.diff(odd),
            lambda: desk.evidence(odd),
            lambda: desk.request(odd),
            lambda: desk.respond(odd, reply),
            lambda: desk.worker(odd),
            lambda: desk.revoke_key(odd),
            lambda: plane.artifact(odd, "bundle"),
            lambda: plane.response(odd),
            lambda: plane.start(odd, m.Held(token=1)),
        ]
        for attempt in attempts:
            with pytest.raises((NotFound, InvalidInput)):
                await attempt()

    async def test_the_queues(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        running = await desk.submit(a_task("running", priority=5))
        await desk.submit(a_task("blocked", needs=(running.id,)))
        await worker.take_and_start()
        await desk.submit(a_task("pending"))
        await desk.submit(a_task("high", queue="high_priority", type=TaskType.DOCS))
        site.clock.advance(10)
        report = await desk.queue()
        lines = {(line.queue, line.type): line for line in report.lines}
        default = lines["default", TaskType.TEST]
        assert (default.pending, default.blocked, default.running, default.waiting) == (1, 1, 1, 0)
        assert default.oldest_pending_seconds == pytest.approx(10)
        assert lines["high_priority", TaskType.DOCS].pending == 1
        assert report.totals[OrderStatus.PENDING] == 3
        assert report.totals[OrderStatus.COMPLETED] == 0
        assert {kind: wanted for kind, wanted in report.demand.items() if wanted} == {
            TaskType.TEST: 2,
            TaskType.DOCS: 1,
        }
        assert set(report.demand) == set(TaskType)  # what scales workers needs a number for each, 0 too


class Events:
    async def test_a_journey_is_told_in_order(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        other = await desk.submit(a_task("other", type=TaskType.DOCS))
        task = await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await worker.store_result(claimed)
        await worker.complete(claimed)
        seen = await events_until(desk, EventKind.ORDER_COMPLETED)
        kinds = [event.kind for event in seen if event.task_id == task.id]
        assert kinds == [
            EventKind.TASK_SUBMITTED,
            EventKind.ORDER_CLAIMED,
            EventKind.ORDER_STARTED,
            EventKind.EXECUTION_RESULT_STORED,
            EventKind.ORDER_COMPLETED,
        ]
        assert [event.seq for event in seen] == sorted({event.seq for event in seen})
        assert {event.worker_id for event in seen if event.kind is EventKind.ORDER_CLAIMED} == {worker.id}
        assert any(event.task_id == other.id for event in seen)
        of_task = await events_until(desk, EventKind.ORDER_COMPLETED, task_id=task.id)
        assert [event.kind for event in of_task] == kinds
        rest = await events_until(desk, EventKind.ORDER_COMPLETED, after=seen[2].seq)
        assert rest == seen[3:]

    async def test_new_events_come_as_they_happen(self, site: Site) -> None:
        desk = await site.front_desk()
        first = await desk.submit(a_task())
        stream = desk.events(after=0)
        async with asyncio.timeout(25):
            async for event in stream:
                if event.task_id == first.id:
                    break
            upcoming = asyncio.ensure_future(anext(stream))
            second = await desk.submit(a_task("second"))
            assert (await upcoming).task_id == second.id


class Keys:
    async def test_a_key_is_made_and_ended(self, site: Site) -> None:
        desk = await site.front_desk()
        created = await desk.create_key(adm.NewKey(name="laptop", scope=Scope(role=Role.VIEWER)))
        assert created.secret.startswith(created.key.prefix)
        assert created.key in await desk.keys()
        revoked = await desk.revoke_key(created.key.id)
        assert revoked.revoked_at is not None
        assert await desk.revoke_key(created.key.id) == revoked
        with pytest.raises(NotFound):
            await desk.revoke_key(new_id("key", site.clock.now()))
        assert not any(created.secret in str(key) for key in await desk.keys())

    async def test_a_key_is_given_another_secret(self, site: Site) -> None:
        desk = await site.front_desk()
        created = await desk.create_key(adm.NewKey(name="laptop", scope=Scope(role=Role.VIEWER)))
        rotated = await desk.rotate_key(created.key.id, adm.Rotation(overlap_seconds=60))
        assert rotated.secret.startswith(rotated.key.prefix)
        assert (rotated.key.id, rotated.key.scope, rotated.key.former_prefix) == (
            created.key.id,
            created.key.scope,
            created.key.prefix,
        )
        assert rotated.key.former_until == site.clock.now() + timedelta(seconds=60)
        assert rotated.key in await desk.keys()
        await desk.revoke_key(created.key.id)
        with pytest.raises(Conflict):
            await desk.rotate_key(created.key.id)
        with pytest.raises(NotFound):
            await desk.rotate_key(new_id("key", site.clock.now()))

    async def test_no_key_makes_a_wider_one(self, site: Site) -> None:
        here, there = "https://git.example/a.git", "https://git.example/b.git"
        everywhere = await site.front_desk()
        wide = await everywhere.create_key(adm.NewKey(name="wide", scope=Scope(role=Role.VIEWER)))
        narrow = await site.front_desk(Scope(role=Role.ADMIN, repositories=(here,), worker_types=(TaskType.DOCS,)))
        inside = Scope(role=Role.MEMBER, repositories=(here,), worker_types=(TaskType.DOCS,))
        made = await narrow.create_key(adm.NewKey(name="inside", scope=inside))
        assert {key.id for key in await narrow.keys()} == {made.key.id, (await narrow.who_am_i()).key.id}
        for wider in ({"repositories": ()}, {"repositories": (here, there)}, {"worker_types": ()}):
            with pytest.raises(Forbidden):
                await narrow.create_key(adm.NewKey(name="wider", scope=inside.model_copy(update=wider)))
        careful = await site.front_desk(Scope(role=Role.ADMIN, permission_level=PermissionLevel.SUPERVISED))
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: careful.create_key(adm.NewKey(name="wider", scope=Scope(role=Role.WORKER))),
            lambda: narrow.rotate_key(wide.key.id),
            lambda: narrow.revoke_key(wide.key.id),
        ]
        for attempt in attempts:
            with pytest.raises(Forbidden):
                await attempt()
        assert wide.key in await everywhere.keys()

    async def test_roles(self, site: Site) -> None:
        admin = await site.front_desk()
        task = await admin.submit(a_task())
        viewer = await site.front_desk(Scope(role=Role.VIEWER))
        member = await site.front_desk(Scope(role=Role.MEMBER))
        worker = await site.front_desk(Scope(role=Role.WORKER))
        assert (await viewer.task(task.id)).task == task
        assert (await worker.who_am_i()).key.scope.role is Role.WORKER
        new_key = adm.NewKey(name="more", scope=Scope(role=Role.ADMIN))
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: viewer.submit(a_task()),
            lambda: viewer.submit_all(m.TaskBatch(tasks=(named("a"),))),
            lambda: viewer.cancel(task.id),
            lambda: viewer.retry(task.id),
            lambda: worker.submit(a_task()),
            lambda: worker.tasks(),
            lambda: worker.queue(),
            lambda: member.create_key(new_key),
            lambda: member.keys(),
            lambda: member.revoke_key("key_" + "0" * 26),
            lambda: member.rotate_key("key_" + "0" * 26),
            lambda: member.audit(),
            lambda: viewer.verify_audit(),
            lambda: member.drain_worker("wrk_x"),
        ]
        for attempt in attempts:
            with pytest.raises(Forbidden):
                await attempt()
        plane = await site.worker_plane(Scope(role=Role.ADMIN))
        with pytest.raises(Forbidden):
            await plane.claim(m.ClaimRequest(worker_id="wrk_x", execution_id=new_id("exe", site.clock.now())))

    async def test_health(self, site: Site) -> None:
        assert (await (await site.front_desk()).health()).status == "ok"


class Audit:
    async def test_what_is_done_to_keys_stands_in_it(self, site: Site) -> None:
        desk = await site.front_desk()
        key = (await desk.create_key(adm.NewKey(name="laptop", scope=Scope(role=Role.VIEWER)))).key
        await desk.rotate_key(key.id)
        await desk.revoke_key(key.id)
        entries = (await desk.audit()).items
        about = [entry.kind for entry in reversed(entries) if entry.data.get("key_id") == key.id]
        assert about == [AuditKind.KEY_CREATED, AuditKind.KEY_ROTATED, AuditKind.KEY_REVOKED]
        me = f"key:{(await desk.who_am_i()).key.id}"
        assert {entry.actor for entry in entries if entry.data.get("key_id") == key.id} == {me}

    async def test_it_seals_whatever_happens(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        for _ in range(3):
            await desk.submit(a_task())
            await worker.complete(await worker.take())
        last = (await events_until(desk, EventKind.ORDER_COMPLETED))[-1].seq
        found = await desk.verify_audit()
        assert (found.broken_at, found.more) == (None, False)
        assert found.events >= last
        assert (await desk.audit(limit=1)).items[0].hash == found.hash
        again = await desk.verify_audit(found.seq, found.hash)
        assert (again.entries, again.broken_at) == (0, None)
        other = await desk.verify_audit(found.seq, "f" * 64)
        assert other.broken_at == found.seq

    async def test_in_pages(self, site: Site) -> None:
        desk = await site.front_desk()
        for number in range(5):
            await desk.create_key(adm.NewKey(name=str(number), scope=Scope(role=Role.VIEWER)))
        whole = (await desk.audit(limit=200)).items
        first = await desk.audit(limit=2)
        second = await desk.audit(first.next_cursor, limit=200)
        assert first.items + second.items == whole
        assert [entry.seq for entry in whole] == list(range(len(whole), 0, -1))
        for earlier, later in itertools.pairwise(reversed(whole)):
            assert later.previous == earlier.hash
        with pytest.raises(InvalidInput):
            await desk.audit("nonsense")


async def events_until(desk: FrontDesk, last: EventKind, *, after: int = 0, task_id: str | None = None) -> list[Event]:
    """The events behind number `after`, up to the first of that kind."""
    seen: list[Event] = []
    async with asyncio.timeout(25):
        async for event in desk.events(after=after, task_id=task_id):
            seen.append(event)
            if event.kind is last:
                break
    return seen
