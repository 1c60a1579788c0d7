"""Whether leases end as they stand when a server comes back depends on whether one was at work until a moment ago."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import WorkerStatus
from agentvine.server.reaper import Reaper
from agentvine.server.terms import Terms
from agentvine.store import rounds
from agentvine.testing.cast import Hand, a_task, a_worker
from agentvine.testing.clock import ManualClock
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m

Opens = Callable[[], AbstractAsyncContextManager[InProcessSite]]
"""Starts a server on the same database and clock; it has made its first round."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(database_url: str, tmp_path: Path, clock: ManualClock) -> Opens:
    return partial(in_process_site, database_url, tmp_path, clock=clock)


@pytest.fixture
async def site(server: Opens) -> AsyncIterator[InProcessSite]:
    async with server() as site:
        yield site


async def held(site: InProcessSite, worker_id: str = "wrk_one") -> tuple[Hand, m.Claimed]:
    """A worker, and an order that it has begun."""
    worker = await a_worker(site, worker_id)
    await (await site.front_desk()).submit(a_task(worker_id))
    return worker, await worker.take_and_start()


async def ends(site: InProcessSite, claimed: m.Claimed) -> float | None:
    """In how many seconds the lease ends; None if it did, and the order was taken back."""
    order = await (await site.front_desk()).work_order(claimed.order.id)
    if order.lease is None:
        assert order.status is OrderStatus.PENDING
        assert order.failure is not None
        assert order.failure.reason is FailureReason.WORKER_LOST
        return None
    return (order.lease.expires_at - site.clock.now()).total_seconds()


async def noted(site: InProcessSite) -> datetime | None:
    return await site.database.read(rounds.latest)


async def test_beside_one_that_starts_again_and_again_a_dead_workers_order_is_taken_back(
    site: InProcessSite, server: Opens
) -> None:
    _, dead = await held(site, "wrk_dead")
    worker, alive = await held(site, "wrk_alive")
    left = site.terms.lease_seconds
    while left > 0:
        await site.pass_time(3)
        left -= 3
        async with server() as other:  # which is gone before its second round
            assert await ends(other, dead) == (left or None)
        assert await worker.renew(alive) == ["renewed"]
    assert left == 0
    assert await ends(site, alive) == site.terms.lease_seconds


async def test_one_that_is_back_within_seconds_takes_a_dead_workers_order_back(
    server: Opens, clock: ManualClock
) -> None:
    async with server() as first:
        _, dead = await held(first)
        left = first.terms.lease_seconds
        await first.pass_time(4)
    for _ in range(int(left / 5)):
        clock.advance(1)
        left -= 5
        async with server() as again:
            assert await ends(again, dead) == (left or None)
            await again.pass_time(4)
    assert left == 0


async def away_too_long(clock: ManualClock, site: InProcessSite) -> None:
    await site.pass_time(4)
    clock.advance(site.terms.trusted_pause + 0.001)


async def clock_put_back(clock: ManualClock, site: InProcessSite) -> None:
    await site.pass_time(4)
    clock.set_back(20)


async def clock_put_forward(clock: ManualClock, site: InProcessSite) -> None:
    await site.pass_time(4)
    clock.set_back(-3600)


async def gone_after_its_first_round(clock: ManualClock, site: InProcessSite) -> None:
    clock.advance(3600)
    await Reaper(site.control).sweep()  # who lives no longer has perhaps not taken any request
    clock.advance(1)


@pytest.mark.parametrize("trouble", [away_too_long, clock_put_back, clock_put_forward, gone_after_its_first_round])
async def test_one_that_cannot_know_how_long_none_was_there_gives_every_lease_its_time(
    server: Opens, clock: ManualClock, trouble: Callable[[ManualClock, InProcessSite], Awaitable[None]]
) -> None:
    async with server() as first:
        _, claimed = await held(first)
        await trouble(clock, first)
    async with server() as again:
        assert await ends(again, claimed) == again.terms.lease_seconds


async def test_with_short_leases_less_time_is_trusted(database_url: str, tmp_path: Path, clock: ManualClock) -> None:
    """A worker of a third of a lease ago may not yet have had a second chance to renew."""
    server = partial(in_process_site, database_url, tmp_path, Terms(lease_seconds=9.0), clock)
    async with server() as first:
        _, claimed = await held(first)
        await first.pass_time(4)
    clock.advance(3.5)
    async with server() as again:
        assert await ends(again, claimed) == again.terms.lease_seconds


async def test_a_clock_that_jumps_gives_every_lease_its_time_whoever_else_is_there(
    site: InProcessSite, server: Opens
) -> None:
    _, claimed = await held(site)
    async with server() as other:
        await site.pass_time(4)
        await other.reaper.sweep()
        site.clock.set_back(-(site.terms.clock_jump_seconds + 1))
        await site.reaper.sweep()
        assert await ends(site, claimed) == site.terms.lease_seconds


async def test_the_clocks_of_two_servers_may_differ_by_seconds(server: Opens, clock: ManualClock) -> None:
    async with server() as ahead:
        _, claimed = await held(ahead)
        await ahead.pass_time(4)
    clock.set_back(5)
    async with server() as again:
        assert await ends(again, claimed) == again.terms.lease_seconds - 4 + 5


async def test_who_stood_still_asks_whether_others_did(site: InProcessSite, server: Opens) -> None:
    _, claimed = await held(site)
    async with server() as other:
        await site.pass_time(20)
        assert await ends(site, claimed) == site.terms.lease_seconds - 20
        await other.reaper.sweep()  # 20 s after its first
        assert await ends(site, claimed) == site.terms.lease_seconds - 20
        site.clock.advance(20)  # now both
        await other.reaper.sweep()
        assert await ends(site, claimed) == site.terms.lease_seconds
        site.clock.advance(1)
        await site.reaper.sweep()
        assert await ends(site, claimed) == site.terms.lease_seconds - 1


async def test_a_database_that_stood_still_during_a_round_takes_no_lease(sqlite_url: str, tmp_path: Path) -> None:
    async with in_process_site(sqlite_url, tmp_path) as site:
        worker, claimed = await held(site)
        goes_on = Event()

        async def stands_still() -> None:
            site.clock.advance(600)
            goes_on.set()

        async with asyncio.TaskGroup() as group:  # its tasks begin one after the other
            group.create_task(site.database.write(lambda _: goes_on.wait(60)))
            group.create_task(site.reaper.sweep())
            group.create_task(stands_still())
        await site.pass_time(1)
        assert await worker.renew(claimed) == ["renewed"]


async def test_nobody_is_silent_to_one_that_has_just_started(site: InProcessSite, server: Opens) -> None:
    worker, _ = await held(site)
    site.clock.advance(3600)
    await site.pass_time(4)
    async with server() as other:  # it trusts time, but nobody could speak for an hour
        await other.pass_time(4)
        assert (await (await other.front_desk()).worker(worker.id)).status is not WorkerStatus.OFFLINE


async def test_rounds_are_noted_now_and_then_while_orders_run(site: InProcessSite, server: Opens) -> None:
    await site.pass_time(60)
    assert await noted(site) is None, "an idle server writes nothing"
    worker, claimed = await held(site)
    notes = set()
    async with server() as other:
        for _ in range(10):
            await site.pass_time(2)
            await other.reaper.sweep()
            notes.add(await noted(site))
        assert len(notes) == 5, "one of both, every other round"
    await worker.complete(claimed)
    last = await noted(site)
    await site.pass_time(60)
    assert await noted(site) == last
