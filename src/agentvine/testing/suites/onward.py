"""A completion that asks for the next order in the same breath."""

import pytest

from agentvine.domain.errors import Forbidden, LeaseLost
from agentvine.domain.work_order import OrderStatus
from agentvine.testing.cast import a_task, a_worker
from agentvine.testing.site import Site


class Onward:
    async def test_a_completion_brings_the_next_order(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        for title in ("one", "two"):
            await desk.submit(a_task(title))
            site.clock.advance(0.001)
        first = await worker.take_and_start()
        ask = worker.claim_request(number=2)
        second = await worker.complete_for(first, ask)
        assert second is not None
        assert (second.task.asked.title, second.lease.execution_id) == ("two", ask.execution_id)
        assert (await desk.work_order(first.order.id)).status is OrderStatus.COMPLETED
        assert await worker.complete_for(first, ask) == second, "as the answer may have been lost"
        assert await worker.renew(second) == ["renewed"]

    async def test_the_next_one_may_be_what_was_waiting_for_this_one(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        needed = await desk.submit(a_task("needed"))
        later = await desk.submit(a_task("later", needs=(needed.id,)))
        following = await worker.complete_for(await worker.take_and_start(), worker.claim_request())
        assert following is not None
        assert following.task.id == later.id

    async def test_nothing_comes_of_it_later(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        ask = worker.claim_request(number=2)
        assert await worker.complete_for(claimed, ask) is None
        await desk.submit(a_task("came later"))
        assert await worker.complete_for(claimed, ask) is None, "nobody would take what a late copy of it got"
        assert (await worker.take(number=3)).task.asked.title == "came later"

    async def test_what_is_the_matter_with_the_next_one_takes_no_completion_back(self, site: Site) -> None:
        desk, worker, other = await site.front_desk(), await a_worker(site), await a_worker(site, "wrk_other")
        for number in range(3):
            await desk.submit(a_task(str(number)))
        others = await other.take_and_start()
        claimed = await worker.take_and_start()
        taken = worker.claim_request(execution_id=others.lease.execution_id)
        assert await worker.complete_for(claimed, taken) is None
        assert (await desk.work_order(claimed.order.id)).status is OrderStatus.COMPLETED
        last = await worker.take_and_start()
        await desk.drain_worker(worker.id)
        assert await worker.complete_for(last, worker.claim_request()) is None
        assert (await desk.work_order(last.order.id)).status is OrderStatus.COMPLETED

    async def test_nobody_claims_in_anothers_name_with_it(self, site: Site) -> None:
        desk, worker, other = await site.front_desk(), await a_worker(site), await a_worker(site, "wrk_other")
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        with pytest.raises(Forbidden):
            await worker.complete_for(claimed, worker.claim_request(worker_id=other.id))
        assert (await desk.work_order(claimed.order.id)).status is OrderStatus.RUNNING

    async def test_what_is_not_completed_brings_nothing(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        task = await desk.submit(a_task())
        stale = await worker.take_and_start()
        await worker.release(stale)
        claimed = await worker.take_and_start()
        await desk.cancel(task.id)
        other = await desk.submit(a_task("another"))
        for over in (stale, claimed):
            with pytest.raises(LeaseLost):
                await worker.complete_for(over, worker.claim_request())
        assert (await desk.work_order(other.work_order_id)).status is OrderStatus.PENDING
