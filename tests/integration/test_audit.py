"""The audit log: who was refused stands in it, what happened is sealed by it, whoever changes either is found out."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.domain.audit import AuditEntry, AuditKind
from agentvine.domain.errors import AgentVineError, Forbidden, LeaseLost, NotFound, Unauthenticated
from agentvine.domain.event import EventKind
from agentvine.domain.key import Role, Scope
from agentvine.server.audit import NOBODY, AuditTrail, Gathered, Refusal
from agentvine.store import events
from agentvine.store.unit import Dialect, Unit
from agentvine.testing.cast import a_task, a_worker
from agentvine.testing.clock import ManualClock
from agentvine.testing.eventually import eventually
from agentvine.testing.http import HttpSite, api, http_site, server_on
from agentvine.testing.site import in_process_site
from agentvine.wire import administration as adm
from agentvine.wire import messages as m

HERE, THERE = "https://git.example/a.git", "https://git.example/b.git"


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[HttpSite]:
    async with http_site(database_url, tmp_path) as site:
        yield site


async def refused(desk: HTTPFrontDesk) -> list[AuditEntry]:
    """Refusals, oldest first."""
    return [entry for entry in reversed((await desk.audit(limit=200)).items) if entry.kind is AuditKind.REFUSED]


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_kind_of_refusal_is_told(site: HttpSite) -> None:
    desk, worker = await site.front_desk(), await a_worker(site)
    task = await desk.submit(a_task(repository=HERE))
    claimed = await worker.take_and_start()
    viewer = await site.front_desk(Scope(role=Role.VIEWER, repositories=(THERE,)))
    member = await site.front_desk(Scope(role=Role.MEMBER, repositories=(THERE,)))
    with pytest.raises(Forbidden):
        await viewer.submit(a_task())
    with pytest.raises(NotFound):
        await viewer.task(task.id)
    with pytest.raises(Forbidden):
        await member.submit(a_task(repository=HERE))
    with pytest.raises(LeaseLost):
        await worker.plane.start(claimed.order.id, m.Held(token=7))
    async with api(site.url, "av_0123456789_" + "1" * 43) as nobody:
        with pytest.raises(Unauthenticated):
            await HTTPFrontDesk(nobody).tasks()
    told = {(entry.data["error"], entry.data["route"]): entry for entry in await refused(desk)}
    assert told.keys() == {
        ("forbidden", "/tasks"),
        ("out of scope", "/tasks/{task_id}"),
        ("lease_lost", "/work-orders/{work_order_id}/start"),
        ("unauthenticated", "/tasks"),
    }
    assert {entry.actor for entry in told.values()} >= {NOBODY, f"key:{(await viewer.who_am_i()).key.id}"}
    assert told["out of scope", "/tasks/{task_id}"].data["task_id"] == task.id
    assert told["unauthenticated", "/tasks"].data["key_begins"] == "av_0123456789"
    assert "1" * 43 not in str(told)


async def test_what_is_merely_wrong_is_no_refusal(site: HttpSite) -> None:
    desk = await site.front_desk()
    with pytest.raises(NotFound):
        await desk.task("tsk_" + "0" * 26)
    with pytest.raises(AgentVineError):
        await desk.tasks(limit=0)
    assert await refused(desk) == []


async def test_strangers_cannot_fill_the_disk(site: HttpSite) -> None:
    desk = await site.front_desk()
    async with api(site.url, "") as nobody:
        for _ in range(300):
            with pytest.raises(Unauthenticated):
                await HTTPFrontDesk(nobody).tasks()
    entries = await refused(desk)
    assert len(entries) == 1
    assert entries[0].data["count"] == 300


def test_refusals_are_bounded_and_counted() -> None:
    clock = ManualClock()
    gathered = Gathered(clock)
    total = written = 0
    for second in range(180):
        for number in range(50):
            source = f"10.0.{second}.{number}"
            gathered.add(Refusal(NOBODY, (source,), {"from": source}))
            gathered.add(Refusal("key:a", (str(second * 50 + number),), {}))
            total += 2
        drafts = gathered.due(everything=False)
        written += sum(int(str(draft.data["count"])) for draft in drafts)
        assert len(drafts) <= 80
        clock.advance(1)
    drafts = gathered.due(everything=True)
    assert written + sum(int(str(draft.data["count"])) for draft in drafts) == total
    assert gathered.due(everything=True) == []


async def test_the_log_of_a_server_that_runs_is_complete_when_it_ends(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url, api(url) as admin, api(url, "") as nobody:
        desk = HTTPFrontDesk(admin)
        await desk.submit(a_task())
        with pytest.raises(Unauthenticated):
            await HTTPFrontDesk(nobody).tasks()
        await eventually(lambda: _kinds(tmp_path) >= {"events", "refused", "key.created"})
        with pytest.raises(Unauthenticated):
            await HTTPFrontDesk(nobody).queue()
    with sqlite3.connect(tmp_path / "agentvine.db") as database:
        counts = database.execute("SELECT SUM(json_extract(data, '$.count')) FROM audit WHERE kind = 'refused'")
        assert counts.fetchone() == (2,)
        assert (
            database.execute("SELECT MAX(seq) FROM events").fetchone()
            == database.execute("SELECT MAX(events_to) FROM audit").fetchone()
        )
    database.close()


def _kinds(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "agentvine.db") as database:
        found = {kind for (kind,) in database.execute("SELECT kind FROM audit")}
    database.close()
    return found


# ── the chain ────────────────────────────────────────────────────────────────────────────────────────────────────


def _unguarded(unit: Unit) -> None:
    """As somebody would who owns the database."""
    if unit.dialect is Dialect.POSTGRESQL:
        unit.run("SET LOCAL session_replication_role = replica")  # no triggers in this transaction
    else:
        unit.run("DROP TRIGGER audit_stays_UPDATE")
        unit.run("DROP TRIGGER audit_stays_DELETE")


TAMPERING = {
    "an entry changed": (["UPDATE audit SET actor = 'key:other' WHERE seq = 2"], 2, "content was changed"),
    "an entry's data changed": (["UPDATE audit SET data = '{}' WHERE seq = 2"], 2, "content was changed"),
    "a moment changed": (["UPDATE audit SET at = at + 1 WHERE seq = 3"], 3, "content was changed"),
    "an entry gone": (["DELETE FROM audit WHERE seq = 2"], 2, "missing"),
    "the first gone": (["DELETE FROM audit WHERE seq = 1"], 1, "missing"),
    "its hash changed": (["UPDATE audit SET hash = previous WHERE seq = 2"], 2, "content was changed"),
    "an event changed": (["UPDATE events SET actor = 'key:other' WHERE seq = 3"], None, "one was changed"),
    "an event's data changed": (["UPDATE events SET data = '{}' WHERE seq = 4"], None, "one was changed"),
    "an event gone": (["DELETE FROM events WHERE seq = 3"], None, "not complete"),
    "the last event gone": (["DELETE FROM events WHERE seq = (SELECT MAX(seq) FROM events)"], None, "not complete"),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_whatever_is_changed_is_found(database_url: str, tmp_path: Path, what: str) -> None:
    statements, seq, why = TAMPERING[what]
    async with in_process_site(database_url, tmp_path) as site:
        desk, worker = await site.front_desk(), await a_worker(site)
        for _ in range(2):
            await desk.submit(a_task())
            await worker.complete(await worker.take())
        assert (await desk.verify_audit()).broken_at is None
        await desk.create_key(adm.NewKey(name="later", scope=Scope(role=Role.VIEWER)))
        assert (await desk.verify_audit()).broken_at is None

        def tamper(unit: Unit) -> None:
            _unguarded(unit)
            for statement in statements:
                assert unit.run(statement) == 1

        await site.database.write(tamper)
        found = await desk.verify_audit()
        assert found.broken_at is not None
        assert seq is None or found.broken_at == seq
        assert why in found.why


async def test_an_event_that_is_added_later_is_found(database_url: str, tmp_path: Path) -> None:
    async with in_process_site(database_url, tmp_path) as site:
        desk = await site.front_desk()
        await desk.submit(a_task())
        await desk.verify_audit()

        def forge(unit: Unit) -> None:
            unit.run("UPDATE events SET seq = seq + 100 WHERE seq = 1")

        await site.database.write(forge)
        assert "not complete" in (await desk.verify_audit()).why


async def test_a_head_that_was_noted_down_shows_what_was_cut_off(database_url: str, tmp_path: Path) -> None:
    async with in_process_site(database_url, tmp_path) as site:
        desk = await site.front_desk()
        noted = await desk.verify_audit()

        def cut(unit: Unit) -> None:
            _unguarded(unit)
            unit.run("DELETE FROM audit WHERE seq = (SELECT MAX(seq) FROM audit)")

        await site.database.write(cut)
        site.clock.advance(1)
        assert (await desk.verify_audit()).broken_at is None, "what is left is a good log"
        assert (await desk.verify_audit(noted.seq, noted.hash)).broken_at == noted.seq


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"])
async def test_the_database_refuses_to_change_it(database_url: str, tmp_path: Path, statement: str) -> None:
    async with in_process_site(database_url, tmp_path) as site:
        desk = await site.front_desk()
        before = (await desk.audit()).items
        with pytest.raises(Exception, match="only added to"):
            await site.database.write(lambda unit: unit.run(statement))
        assert (await desk.audit()).items == before


async def test_a_long_log_is_verified_in_parts(database_url: str, tmp_path: Path) -> None:
    async with in_process_site(database_url, tmp_path) as site:
        desk = await site.front_desk()

        def many(unit: Unit) -> None:
            for number in range(24_000):
                events.write(
                    unit, events.Fact(EventKind.WORKER_OFFLINE, site.clock.now(), "server", data={"n": number})
                )

        await site.database.write(many)
        first = await desk.verify_audit()
        assert first.more
        rest = await desk.verify_audit(first.seq, first.hash)
        assert (rest.more, rest.broken_at) == (False, None)
        assert first.events + rest.events >= 24_000


async def test_several_servers_write_one_log(database_url: str, tmp_path: Path) -> None:
    async with in_process_site(database_url, tmp_path) as site:
        desk = await site.front_desk()
        trails = [AuditTrail(site.database, site.clock) for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            for number, trail in enumerate(trails):
                for turn in range(5):
                    trail.refused(Refusal(f"key:{number}", (str(turn),), {"turn": turn}))
                    group.create_task(trail.seal(everything=True))
                    group.create_task(desk.submit(a_task()))
        found = await desk.verify_audit()
        assert found.broken_at is None
        entries = (await desk.audit(limit=200)).items
        assert sum(int(str(entry.data["count"])) for entry in entries if entry.kind is AuditKind.REFUSED) == 20


async def test_who_reads_it_waits_for_what_is_being_written(database_url: str, tmp_path: Path) -> None:
    async with in_process_site(database_url, tmp_path) as site:
        desk = await site.front_desk()
        for number in range(20):
            site.desk.trail.refused(Refusal("key:a", (str(number),), {"number": number}))
            writing = asyncio.ensure_future(site.desk.trail.seal())
            await asyncio.wait([writing], timeout=0)  # it has begun
            entries = (await desk.audit(limit=200)).items
            assert number in {entry.data.get("number") for entry in entries}
            await writing


async def test_a_refusal_holds_no_secret(site: HttpSite) -> None:
    (plane,) = await site.worker_planes(1)
    desk = await site.front_desk()
    async with api(site.url, await site.site.secret(Scope(role=Role.WORKER))) as client:
        with pytest.raises(Unauthenticated):
            await HTTPControlPlane(client).claim(m.ClaimRequest(worker_id="wrk_x", execution_id="exe_" + "1" * 26))
        entries = await refused(desk)
        assert entries[0].actor.startswith("key:key_")
        assert not re.search(r"av_\w{10}_", str(entries))
        assert plane is not None
