"""What is old goes, what is live stays with all that it needs, and the audit log can still be verified."""

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import Forbidden, NotFound
from agentvine.domain.key import Role, Scope
from agentvine.domain.precedent import Remember
from agentvine.domain.work_order import OrderStatus
from agentvine.store import plain
from agentvine.store.artifacts import SPARED_SECONDS, ArtifactFolder
from agentvine.testing.cast import HEAD, Hand, a_task, a_worker
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire.front_desk import FrontDesk
from tests.integration.town import running_town

DAY = 86_400.0
MONTH = adm.Pruning(older_than_seconds=30 * DAY)
FOREVER = {"audit", "keys", "readers", "model_limits", "rounds"}
OF_FORGES = {"repositories", "repository_spellings", "repository_days", "errands", "follow_ups"}
OF_FORGES |= {"intake", "intake_tasks", "intake_looks"}
"""Here nothing is in these; follow-ups that are pruned are tried in tests/contract/test_follow_up.py."""


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(database_url, tmp_path) as site:
        yield site


def counts(url: str) -> dict[str, int]:
    """How many rows each table has."""
    with plain.snapshot(url) as there:
        return {table: sum(1 for _ in there.rows(table)) for table in there.tables}


async def finished(desk: FrontDesk, worker: Hand, title: str, **more: object) -> str:
    """The id of a task that was completed, with a row in every table of what belongs to one."""
    task = await desk.submit(a_task(title, **more), idempotency_key=title)
    await desk.comment(task.id, m.NewComment(text="well"))
    claimed = await worker.take_and_start()
    assert claimed.task.id == task.id
    request = await worker.plane.ask(claimed.lease.execution_id, worker.question(claimed))
    await desk.respond(request.id, m.Reply(verdict="answer", message="yes"))
    await worker.say(claimed, 0, "hello", "there")
    await worker.store_result(claimed)
    await worker.complete(claimed)
    return task.id


def grown_old(site: InProcessSite, days: float) -> None:
    """Time passes, and nobody looks. Contents are as old as their rows say."""
    site.clock.advance(days * DAY)


async def test_what_is_old_and_over_goes_with_all_that_belongs_to_it(
    site: InProcessSite, database_url: str, tmp_path: Path
) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    empty = counts(database_url)
    old = [await finished(desk, worker, f"old {number}") for number in range(2)]
    await worker.plane.deregister(worker.id)
    await site.desk.trail.seal(everything=True)
    grown_old(site, 40)
    later = await a_worker(site, "wrk_later")
    young = await finished(desk, later, "young")
    before = counts(database_url)
    would = await desk.prune(MONTH.model_copy(update={"dry_run": True}))
    assert counts(database_url) == before
    contents = sum(1 for path in (tmp_path / "artifacts").rglob("*") if path.is_file())
    done = await desk.prune(MONTH)
    assert (done.orders, done.executions, done.transcript_entries, done.artifacts, done.workers) == (2, 2, 4, 4, 1)
    assert done.events > 10
    assert would.model_copy(update={"dry_run": False}) == done.model_copy(update={"files": 0, "file_bytes": 0})
    for task in old:
        with pytest.raises(NotFound):
            await desk.task(task)
    assert (await desk.task(young)).order.status is OrderStatus.COMPLETED
    left = counts(database_url)
    assert {name for name in left if left[name] < before[name]} == left.keys() - FOREVER - OF_FORGES - {
        "needs",
        "precedents",
    }
    assert empty["keys"] <= left["keys"]
    assert sum(1 for path in (tmp_path / "artifacts").rglob("??*") if len(path.name) == 64) == contents  # young shares
    assert await events_verified(desk)
    assert (await desk.prune(MONTH)).model_dump(exclude_defaults=True) == {"dry_run": False}


async def events_verified(desk: FrontDesk) -> bool:
    """The log holds, and says what was pruned by whom."""
    checked = await desk.verify_audit()
    entries = (await desk.audit()).items
    pruned = [entry for entry in entries if entry.kind is AuditKind.PRUNED]
    return checked.broken_at is None and checked.pruned_to > 0 and pruned[0].actor.startswith("key:")


async def test_nothing_that_is_live_loses_anything(site: InProcessSite, database_url: str) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    needed = await finished(desk, worker, "needed")
    followed = await finished(desk, worker, "followed")
    settled = await desk.submit(a_task("settled"))
    claimed = await worker.take_and_start()
    asked = await worker.plane.ask(claimed.lease.execution_id, worker.question(claimed))
    year = Remember(for_seconds=300 * DAY)
    await desk.respond(asked.id, m.Reply(verdict="answer", message="always", remember=year))
    await worker.complete(claimed)
    going_on = await desk.retry(followed, m.Retry(comment="a little more"))
    parked = await worker.take_and_start()
    await worker.park(parked, worker.question(parked, expires_in_seconds=300 * DAY))
    assert parked.order.id == going_on.id
    blocked = await desk.submit(a_task("blocked", needs=(needed, parked.task.id)))
    await site.desk.trail.seal(everything=True)
    grown_old(site, 200)
    before = counts(database_url)
    done = await desk.prune(MONTH)
    assert (done.orders, done.workers) == (0, 0)
    assert [await desk.task(each) for each in (needed, followed, settled.id, blocked.id)]
    after = counts(database_url)
    kept = {"tasks", "work_orders", "needs", "precedents", "requests", "evidence", "comments", "executions"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    await desk.cancel(parked.task.id)
    grown_old(site, 200)
    assert (await desk.prune(MONTH)).orders == 5


async def test_of_what_stays_parts_can_go(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    task = await finished(desk, worker, "one")
    execution = (await desk.task(task)).executions[0]
    grown_old(site, 31)
    some = adm.Pruning(older_than_seconds=30 * DAY, what=(adm.Prunable.TRANSCRIPTS, adm.Prunable.ARTIFACTS))
    done = await desk.prune(some)
    assert (done.orders, done.transcript_entries, done.artifacts, done.events) == (0, 2, 2, 0)
    assert (await desk.transcript(execution.id)).entries == ()
    with pytest.raises(NotFound):
        await desk.diff(execution.id)
    assert (await desk.evidence(execution.id)).head_sha == HEAD


async def test_only_events_that_the_log_calls_pruned_may_be_missing(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    await finished(desk, worker, "one")
    await site.desk.trail.seal(everything=True)
    grown_old(site, 40)
    await finished(desk, worker, "two")
    await site.desk.trail.seal(everything=True)
    done = await desk.prune(MONTH)
    checked = await desk.verify_audit()
    assert (checked.broken_at, done.events > 0) == (None, True)
    await site.database.write(lambda unit: unit.run("DELETE FROM events WHERE seq = :seq", seq=checked.pruned_to + 1))
    assert (await desk.verify_audit()).broken_at is not None


async def test_only_an_admin_of_everything_may(site: InProcessSite) -> None:
    for scope in (Scope(role=Role.MEMBER), Scope(role=Role.ADMIN, repositories=("https://git.example/a.git",))):
        with pytest.raises(Forbidden):
            await (await site.front_desk(scope)).prune(MONTH)


def test_contents_that_nobody_names_go_and_what_is_stored_again_stays(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path)
    digests = [folder.store(content) for content in (b"named", b"gone", b"again")]
    draft = folder.path(digests[0]).with_name(f".{digests[0]}.0a0b0c0d")
    draft.write_bytes(b"half")
    now = folder.path(digests[0]).stat().st_mtime
    for path in (*map(folder.path, digests), draft):
        os.utime(path, (now - 2 * SPARED_SECONDS,) * 2)
    assert folder.store(b"again") == digests[2]
    with folder.kept():
        assert folder.sweep(lambda _: {digests[0]}, now) == (0, 0)
    assert folder.sweep(lambda _: {digests[0]}, now) == (2, 8)
    assert [folder.path(digest).exists() for digest in digests] == [True, False, True]
    assert not draft.exists()


async def test_the_server_prunes_by_itself_and_people_do(tmp_path: Path) -> None:
    async with running_town(tmp_path, keep_orders_days=1.0) as town:
        await town.submitted()
        await town.completes(await town.working())
        would = await town.json("prune", "--older-than", "1h", "--dry-run", "--what", "orders")
        assert would == adm.Pruned(dry_run=True).model_dump()
        assert "nothing" in await town.ok("prune", "--older-than", "30d")
        assert "write an age of at least an hour" in await town.refused("prune", "--older-than", "soon", code=2)
        assert "is none of" in await town.refused("prune", "--older-than", "3d", "--what", "audit", code=2)


async def test_the_round_of_the_server_removes_what_the_settings_say(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    task = await finished(desk, worker, "one")
    site.clock.advance(timedelta(days=8).total_seconds())
    month = adm.Pruning(older_than_seconds=7 * DAY, what=(adm.Prunable.ORDERS,))
    await site.desk.pruner.prune_all(month, "server")
    with pytest.raises(NotFound):
        await desk.task(task)
