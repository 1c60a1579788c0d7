"""A usage limit that one worker runs into holds for all that share its account, until its end and no longer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.domain.errors import NotFound
from agentvine.domain.retry import LONGEST_WAIT, Failure, FailureReason
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.server.terms import Terms
from agentvine.testing.cast import Hand, a_task, registration
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from tests.integration.town import running_town


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(database_url, tmp_path, Terms(reaper_interval=10.0)) as site:
        yield site


async def of_account(site: InProcessSite, name: str, account: str) -> Hand:
    """A worker that uses the model under this account."""
    hand = Hand(site, await site.worker_plane(), name)
    new = registration(name)
    config = new.config.model_copy(update={"model_account": account})
    await hand.plane.register(new.model_copy(update={"config": config}))
    return hand


async def limited(worker: Hand, claimed: m.Claimed, seconds: float | None) -> None:
    """The model's side says no."""
    failure = Failure(reason=FailureReason.MODEL_RATE_LIMITED, detail="resets 3pm", retry_after_seconds=seconds)
    await worker.plane.fail(claimed.order.id, m.FailureReport(token=claimed.lease.token, failure=failure))


async def test_all_of_an_account_wait_until_the_reset_and_no_attempt_is_charged(site: InProcessSite) -> None:
    desk = await site.front_desk()
    one, two = await of_account(site, "wrk_one", "shared"), await of_account(site, "wrk_two", "shared")
    other = await of_account(site, "wrk_other", "another")
    tasks = {(await desk.submit(a_task(str(number)))).id for number in range(4)}
    claimed = await one.take_and_start()
    began = site.clock.now()
    await limited(one, claimed, 600.0)
    order = await desk.work_order(claimed.order.id)
    assert (order.status, order.charged) == (OrderStatus.PENDING, 0)
    assert order.not_before is not None
    assert 600 <= (order.not_before - began).total_seconds() < 660
    (told,) = (await desk.queue()).limits
    assert (told.account, told.told_by, (told.until - began).total_seconds()) == ("shared", "wrk_one", 600)
    assert [await one.claim(), await two.claim()] == [None, None]
    assert (await other.take_and_start()).task.id in tasks
    await site.pass_time(20)
    assert site.control.limits.degraded().keys() == {"model shared"}
    started = [await _first_claim(site, worker, 700) for worker in (one, two)]
    assert all(600 <= (at - began.timestamp()) < 660 + 2 for at in started)
    assert (await desk.queue()).limits == ()
    assert site.control.limits.degraded() == {}


async def _first_claim(site: InProcessSite, worker: Hand, most: float) -> float:
    """When this worker is given an order."""
    for _ in range(int(most)):
        if await worker.claim() is not None:
            break
        site.clock.advance(1.0)
    return site.clock.now().timestamp()


async def test_a_shorter_limit_does_not_cut_a_longer_one_short_and_one_can_be_lifted(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await of_account(site, "wrk_one", "shared")
    for number in range(2):
        await desk.submit(a_task(str(number)))
    first, second = await worker.take_and_start(), await worker.take_and_start()
    await limited(worker, first, 3600.0)
    await limited(worker, second, None)
    (told,) = await desk.model_limits()
    assert (told.until - site.clock.now()).total_seconds() == 3600
    assert await desk.lift_model_limit("shared") == ()
    with pytest.raises(NotFound):
        await desk.lift_model_limit("shared")
    third = await desk.submit(a_task("third"))
    assert (await worker.take()).task.id == third.id


async def test_a_limit_of_a_week_and_one_told_on_a_clock_that_was_set_right(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await of_account(site, "wrk_one", "shared")
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    site.clock.set_back(-10 * 365 * 86_400)
    await site.pass_time(10)
    await limited(worker, claimed, LONGEST_WAIT)
    order = await desk.work_order(claimed.order.id)
    assert WorkOrder.model_validate_json(order.model_dump_json()) == order, "a client can read it"
    site.clock.set_back(10 * 365 * 86_400)
    await site.pass_time(10)
    assert await desk.model_limits() == ()
    assert (await worker.take()).task.id == order.task_id


async def test_people_see_a_limit_and_lift_it(tmp_path: Path) -> None:
    async with running_town(tmp_path, reaper_interval=0.1) as town:
        await town.submitted()
        claimed = await town.working()
        failure = Failure(reason=FailureReason.MODEL_RATE_LIMITED, detail="resets 3pm", retry_after_seconds=7200)
        await town.plane.fail(claimed.order.id, m.FailureReport(token=claimed.lease.token, failure=failure))
        shown = await town.ok("queue")
        assert "model limits" in shown
        assert "resets 3pm" in shown
        assert "its workers get work again" in await town.ok("lift", "default")
        assert "model limits" not in await town.ok("queue")
        assert "default" in await town.refused("lift", "default")
