"""How long an order stays with a worker, and what happens when the worker does not."""

from collections.abc import Awaitable, Callable

import pytest

from agentvine.domain.errors import Forbidden, LeaseLost, NotFound, Superseded
from agentvine.domain.execution import Outcome, Phase, Usage
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from agentvine.testing.cast import PUSHED, Hand, a_task, a_worker, evidence_of, registration
from agentvine.testing.site import Site
from agentvine.wire import messages as m


class Leases:
    async def test_a_claim_that_is_not_acknowledged_comes_back(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take()
        await site.pass_time(site.terms.claim_ack_seconds - 1)
        assert (await desk.work_order(claimed.order.id)).status is OrderStatus.RUNNING
        await site.pass_time(site.terms.reaper_interval + 1)
        order = await desk.work_order(claimed.order.id)
        assert (order.status, order.attempts, order.charged) == (OrderStatus.PENDING, 1, 1)
        again = await worker.take()
        assert (again.order.id, again.lease.token) == (order.id, 2)

    async def test_start_makes_it_last(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take()
        lease = await worker.plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
        assert lease.expires_at is not None
        assert (lease.expires_at - site.clock.now()).total_seconds() == site.terms.lease_seconds
        again = await worker.plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
        assert again == lease
        assert (await desk.execution(claimed.lease.execution_id)).phase is Phase.PREPARING

    async def test_renewing_keeps_it(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        for _ in range(4):
            await site.pass_time(site.terms.lease_seconds * 2 / 3)
            assert await worker.renew(claimed) == ["renewed"]
        await worker.complete(claimed)

    async def test_a_renewal_answers_for_each_lease(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        claims = []
        for number in range(3):
            await desk.submit(a_task(str(number)))
            claims.append(await worker.take_and_start())
        kept, cancelled, done = claims
        await desk.cancel(cancelled.task.id)
        await worker.complete(done)
        assert await worker.renew(done, cancelled, kept) == ["lost", "cancelled", "renewed"]
        other = await a_worker(site, "wrk_other")
        assert await other.renew(kept) == ["lost"]
        stranger = m.LeaseRef(work_order_id=kept.order.id[:-1] + "0", token=1)
        reply = await worker.plane.renew(m.Renewal(worker_id=worker.id, leases=(stranger,)))
        assert reply.leases[0].status == "lost"

    async def test_an_ended_lease_is_worth_nothing(self, site: Site) -> None:
        desk, first = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        stale = await first.take_and_start()
        await site.pass_time(site.terms.lease_seconds + site.terms.reaper_interval)
        order = await desk.work_order(stale.order.id)
        assert order.status is OrderStatus.PENDING
        assert order.failure is not None
        assert order.failure.reason is FailureReason.WORKER_LOST
        await _refused_everywhere(first, stale)
        second = await a_worker(site, "wrk_second")
        fresh = await second.take_and_start()
        assert fresh.lease.token == 2
        before = await desk.task(stale.task.id)
        await _refused_everywhere(first, stale)
        assert await desk.task(stale.task.id) == before
        await second.complete(fresh)
        assert (await desk.execution(stale.lease.execution_id)).outcome is Outcome.LOST

    async def test_only_the_holder_speaks(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        other = await a_worker(site, "wrk_other")
        with pytest.raises(Forbidden):
            await other.complete(claimed)
        with pytest.raises(Forbidden):
            await other.say(claimed, 0, "not mine")
        missing = claimed.order.id[:-1] + ("0" if claimed.order.id[-1] != "0" else "1")
        with pytest.raises(NotFound):
            await worker.plane.start(missing, m.Held(token=1))

    async def test_an_order_that_kills_workers_is_quarantined(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task(max_attempts=10))
        for _ in range(3):
            await worker.take_and_start()
            await site.pass_time(site.terms.lease_seconds + site.terms.reaper_interval)
        order = await desk.work_order(task.work_order_id)
        assert order.status is OrderStatus.FAILED
        assert order.failure is not None
        assert order.failure.reason is FailureReason.QUARANTINED

    async def test_a_stall_of_the_server_takes_no_lease(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        site.clock.advance(600)
        await site.pass_time(site.terms.reaper_interval)
        assert await worker.renew(claimed) == ["renewed"]
        await site.pass_time(site.terms.lease_seconds + site.terms.reaper_interval)
        assert await worker.renew(claimed) == ["lost"]

    @pytest.mark.parametrize("hours", [2, -2])
    async def test_a_jump_of_the_clock_takes_no_lease(self, site: Site, hours: int) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        site.clock.set_back(hours * 3600)
        await site.pass_time(site.terms.reaper_interval)
        assert await worker.renew(claimed) == ["renewed"]
        await site.pass_time(site.terms.lease_seconds + site.terms.reaper_interval)
        assert await worker.renew(claimed) == ["lost"]


class Workers:
    async def test_registering_again_gives_up_what_was_held(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await worker.plane.register(registration(worker.id))
        assert (await desk.work_order(claimed.order.id)).status is OrderStatus.PENDING
        assert (await worker.take()).order.id == claimed.order.id

    async def test_of_two_processes_of_one_worker_the_later_one_speaks(self, site: Site) -> None:
        desk = await site.front_desk()
        first, second = await site.worker_planes(2)
        await first.register(registration("wrk_one"))
        old, new = Hand(site, first, "wrk_one"), Hand(site, second, "wrk_one")
        await desk.submit(a_task())
        held = await old.take_and_start()
        await second.register(registration("wrk_one"))
        beat = m.Heartbeat(status=WorkerStatus.BUSY)
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: old.claim(),
            lambda: old.renew(held),
            lambda: first.heartbeat("wrk_one", beat),
            lambda: first.deregister("wrk_one"),
        ]
        for attempt in attempts:
            with pytest.raises(Superseded):
                await attempt()
        await _refused_everywhere(old, held)
        assert (await new.take()).order.id == held.order.id
        assert (await second.heartbeat("wrk_one", beat)).commands == ()
        assert (await desk.worker("wrk_one")).status is not WorkerStatus.OFFLINE

    async def test_with_one_key_each_worker_speaks_for_itself(self, site: Site) -> None:
        desk = await site.front_desk()
        one, two = await site.worker_planes(2)
        await one.register(registration("wrk_one"))
        await two.register(registration("wrk_two"))
        await desk.submit(a_task())
        await desk.submit(a_task())
        hand, stranger = Hand(site, one, "wrk_one"), Hand(site, two, "wrk_two")
        mine, hers = await hand.take_and_start(), await stranger.take_and_start()
        assert mine.lease.token == hers.lease.token, "a token is a number; what counts is whose lease it is of"
        before = await desk.task(mine.task.id)
        refs = (m.LeaseRef(work_order_id=mine.order.id, token=mine.lease.token),)
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: two.start(mine.order.id, m.Held(token=mine.lease.token)),
            lambda: stranger.complete(mine),
            lambda: stranger.fail(mine),
            lambda: stranger.release(mine),
            lambda: stranger.say(mine, 0, "not mine"),
            lambda: stranger.park(mine, stranger.question(mine)),
            lambda: two.ask(mine.lease.execution_id, stranger.question(mine)),
            lambda: two.store_artifact(mine.lease.execution_id, mine.lease.token, "bundle", b"evil"),
            lambda: two.claim(hand.claim_request()),
            lambda: two.renew(m.Renewal(worker_id="wrk_one", leases=refs)),
            lambda: two.heartbeat("wrk_one", m.Heartbeat(status=WorkerStatus.IDLE)),
            lambda: two.deregister("wrk_one"),
        ]
        for attempt in attempts:
            with pytest.raises(Forbidden):
                await attempt()
        assert await desk.task(mine.task.id) == before
        await hand.complete(mine)

    async def test_a_lease_is_of_one_order(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        await worker.release(await worker.take_and_start())
        twice = await worker.take_and_start()
        await desk.submit(a_task())
        once = await worker.take_and_start()
        assert (twice.lease.token, once.lease.token) == (2, 1)
        before = await desk.task(once.task.id)
        with pytest.raises(LeaseLost):
            await worker.plane.complete(
                once.order.id, m.Completion(token=twice.lease.token, delivery=PUSHED, usage=Usage())
            )
        with pytest.raises(LeaseLost):
            batch = m.TranscriptBatch(token=twice.lease.token, first=0, entries=({"text": "x"},))
            await worker.plane.add_transcript(once.lease.execution_id, batch)
        stale = m.Completion(token=1, delivery=PUSHED, usage=Usage())
        with pytest.raises(LeaseLost):
            await worker.plane.complete(twice.order.id, stale)
        assert await desk.task(once.task.id) == before
        assert (await desk.work_order(twice.order.id)).status is OrderStatus.RUNNING

    async def test_leaving_gives_up_what_is_held(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await worker.plane.deregister(worker.id)
        assert (await desk.worker(worker.id)).status is WorkerStatus.OFFLINE
        order = await desk.work_order(claimed.order.id)
        assert (order.status, order.charged, order.workers_lost) == (OrderStatus.PENDING, 1, 1)
        await worker.plane.deregister(worker.id)
        await worker.plane.deregister("wrk_never_seen")

    async def test_leaving_before_it_was_begun_costs_an_order_nothing(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take()
        await worker.plane.deregister(worker.id)
        order = await desk.work_order(claimed.order.id)
        assert (order.status, order.charged, order.workers_lost) == (OrderStatus.PENDING, 0, 0)
        assert (await desk.execution(claimed.lease.execution_id)).outcome is Outcome.RELEASED
        with pytest.raises(LeaseLost):
            await worker.plane.start(order.id, m.Held(token=claimed.lease.token))

    async def test_another_key_cannot_take_over_a_living_worker(self, site: Site) -> None:
        worker = await a_worker(site)
        other = await site.worker_plane()
        with pytest.raises(Forbidden):
            await other.register(registration(worker.id))
        await worker.plane.deregister(worker.id)
        await other.register(registration(worker.id))

    async def test_a_heartbeat_is_seen(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        beat = m.Heartbeat(status=WorkerStatus.IDLE)
        assert (await worker.plane.heartbeat(worker.id, beat)).commands == ()
        seen = await desk.worker(worker.id)
        assert seen.worker_type == "test"
        assert [one.id for one in await desk.workers()] == [worker.id]

    async def test_an_unknown_worker_is_told_to_register(self, site: Site) -> None:
        plane = await site.worker_plane()
        reply = await plane.heartbeat("wrk_unknown", m.Heartbeat(status=WorkerStatus.IDLE))
        assert [command.kind for command in reply.commands] == ["register"]

    async def test_a_worker_is_drained(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        await desk.drain_worker(worker.id)
        reply = await worker.plane.heartbeat(worker.id, m.Heartbeat(status=WorkerStatus.IDLE))
        assert [command.kind for command in reply.commands] == ["drain"]
        assert await worker.claim() is None
        with pytest.raises(NotFound):
            await desk.drain_worker("wrk_nobody")

    async def test_a_worker_hears_of_what_it_lost(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        claims = []
        for number in range(2):
            await desk.submit(a_task(str(number)))
            claims.append(await worker.take_and_start())
        await desk.cancel(claims[0].task.id)
        held = tuple(claim.order.id for claim in claims)
        beat = m.Heartbeat(status=WorkerStatus.BUSY, current_tasks=held)
        reply = await worker.plane.heartbeat(worker.id, beat)
        assert [(command.kind, command.work_order_id) for command in reply.commands] == [("cancel", held[0])]

    async def test_another_key_cannot_beat_for_it(self, site: Site) -> None:
        worker, other = await a_worker(site), await site.worker_plane()
        with pytest.raises(Forbidden):
            await other.heartbeat(worker.id, m.Heartbeat(status=WorkerStatus.IDLE))

    async def test_a_silent_worker_counts_as_offline(self, site: Site) -> None:
        desk, quiet, lively = await site.front_desk(), await a_worker(site), await a_worker(site, "wrk_lively")
        for _ in range(site.terms.silent_heartbeats + 1):
            await site.pass_time(site.terms.heartbeat_interval)
            await lively.plane.heartbeat(lively.id, m.Heartbeat(status=WorkerStatus.IDLE))
        assert (await desk.worker(quiet.id)).status is WorkerStatus.OFFLINE
        assert (await desk.worker(lively.id)).status is WorkerStatus.IDLE


async def _refused_everywhere(worker: Hand, stale: m.Claimed) -> None:
    plane, order_id, execution_id, token = worker.plane, stale.order.id, stale.lease.execution_id, stale.lease.token
    question = worker.question(stale)
    attempts = [
        plane.start(order_id, m.Held(token=token)),
        plane.phase(execution_id, m.PhaseReport(token=token, phase=Phase.WORKING)),
        worker.say(stale, 0, "late"),
        plane.store_artifact(execution_id, token, "bundle", b"late"),
        plane.add_evidence(execution_id, m.EvidenceReport(token=token, evidence=evidence_of(stale))),
        plane.deliver(order_id, m.DeliveryIntent(token=token, delivery=PUSHED)),
        worker.complete(stale),
        worker.fail(stale),
        worker.release(stale),
        worker.park(stale, question),
        plane.ask(execution_id, question),
    ]
    for attempt in attempts:
        with pytest.raises(LeaseLost):
            await attempt
