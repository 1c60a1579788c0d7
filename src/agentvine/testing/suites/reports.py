"""What workers report of an execution, and what others then find."""

import asyncio

import pytest

from agentvine.domain.errors import InvalidInput, NotFound
from agentvine.domain.evidence import CheckOutcome
from agentvine.domain.execution import Phase
from agentvine.domain.statement import opened
from agentvine.kit.signing import VerifyingKey
from agentvine.testing.cast import BASE, HEAD, PUSHED, a_task, a_worker, evidence_of, used
from agentvine.testing.site import Site
from agentvine.wire import messages as m


class Reports:
    async def test_phases_only_go_on(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        token, execution_id = claimed.lease.token, claimed.lease.execution_id
        working = m.PhaseReport(token=token, phase=Phase.WORKING, base_sha=BASE, session_id="s1", usage=used(0.5))
        await worker.plane.phase(execution_id, working)
        await worker.plane.phase(execution_id, m.PhaseReport(token=token, phase=Phase.PREPARING, session_id="late"))
        await worker.plane.phase(execution_id, m.PhaseReport(token=token, phase=Phase.VERIFYING))
        execution = await desk.execution(execution_id)
        assert (execution.phase, execution.base_sha, execution.session_id) == (Phase.VERIFYING, BASE, "s1")
        assert execution.usage == used(0.5)

    async def test_the_last_report_counts_for_the_dead(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        report = m.PhaseReport(token=claimed.lease.token, phase=Phase.WORKING, usage=used(0.5))
        await worker.plane.phase(claimed.lease.execution_id, report)
        await site.pass_time(site.terms.lease_seconds + site.terms.reaper_interval)
        assert (await desk.work_order(claimed.order.id)).spent_usd == 0.5
        again = await worker.take_and_start()
        assert (await worker.complete(again, cost=0.25)).spent_usd == 0.75

    async def test_a_transcript_is_kept_once(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await worker.say(claimed, 0, "a", "b", "c\0\u202e🌱")
        await worker.say(claimed, 1, "X", "Y", "d")
        page = await desk.transcript(claimed.lease.execution_id)
        assert [entry["text"] for entry in page.entries] == ["a", "b", "c\0\u202e🌱", "d"]
        assert (page.next, page.over) == (4, False)
        await worker.complete(claimed)
        rest = await worker.plane.transcript(claimed.lease.execution_id, after=3)
        assert ([entry["text"] for entry in rest.entries], rest.next, rest.over) == (["d"], 4, True)

    async def test_a_transcript_in_pages(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        for first in range(0, 1200, 400):
            await worker.say(claimed, first, *(str(number) for number in range(first, first + 400)))
        await worker.complete(claimed)
        page = await desk.transcript(claimed.lease.execution_id)
        assert (len(page.entries), page.over) == (1000, False)
        page = await desk.transcript(claimed.lease.execution_id, after=page.next)
        assert (len(page.entries), page.next, page.over) == (200, 1200, True)

    async def test_readers_are_woken_by_what_is_said_and_by_the_end(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        execution_id = claimed.lease.execution_id
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            waiting = group.create_task(desk.transcript(execution_id, wait_seconds=30))
            await worker.say(claimed, 0, "at last")
        assert len(waiting.result().entries) == 1
        async with asyncio.timeout(25), asyncio.TaskGroup() as group:
            waiting = group.create_task(desk.transcript(execution_id, after=1, wait_seconds=30))
            await worker.complete(claimed)
        assert waiting.result().over

    async def test_artifacts(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        execution_id, token = claimed.lease.execution_id, claimed.lease.token
        content = bytes(range(256)) * 1000
        await worker.plane.store_artifact(execution_id, token, "bundle", b"first")
        await worker.plane.store_artifact(execution_id, token, "bundle", content)
        await worker.plane.store_artifact(execution_id, token, "empty", b"")
        assert await worker.plane.artifact(execution_id, "bundle") == content
        assert await worker.plane.artifact(execution_id, "empty") == b""
        assert (await desk.execution(execution_id)).artifacts == ("bundle", "empty")
        with pytest.raises(NotFound):
            await worker.plane.artifact(execution_id, "other")
        with pytest.raises((InvalidInput, NotFound)):
            await worker.plane.store_artifact(execution_id, token, "UPPER_case", b"")

    async def test_a_verified_result_is_handed_on(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await worker.store_result(claimed)
        intent = m.DeliveryIntent(token=claimed.lease.token, delivery=PUSHED)
        execution = await worker.plane.deliver(claimed.order.id, intent)
        assert (execution.delivery, execution.head_sha) == (PUSHED, HEAD)
        assert await worker.plane.deliver(claimed.order.id, intent) == execution
        assert await desk.diff(claimed.lease.execution_id) == "+ naïve\n"
        assert (await desk.evidence(claimed.lease.execution_id)).passed
        await site.pass_time(site.terms.lease_seconds + site.terms.reaper_interval)
        second = await worker.take_and_start()
        assert second.earlier is not None
        assert second.earlier.verified
        assert second.earlier.execution.delivery == PUSHED
        assert await worker.plane.artifact(second.earlier.execution.id, "bundle") == b"the commits"
        await site.pass_time(site.terms.lease_seconds + site.terms.reaper_interval)
        third = await worker.take_and_start()
        assert third.earlier is not None
        assert (third.earlier.verified, third.earlier.execution.id) == (True, claimed.lease.execution_id)

    async def test_a_result_that_fell_short_is_not_delivered(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        await worker.store_result(claimed, CheckOutcome.FAILED)
        await worker.release(claimed)
        again = await worker.take()
        assert again.earlier is not None
        assert not again.earlier.verified

    async def test_evidence_without_a_bundle_is_no_result(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        report = m.EvidenceReport(token=claimed.lease.token, evidence=evidence_of(claimed))
        await worker.plane.add_evidence(claimed.lease.execution_id, report)
        await worker.release(claimed)
        again = await worker.take()
        assert again.earlier is not None
        assert not again.earlier.verified

    async def test_evidence_is_signed_when_it_is_recorded(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task())
        claimed = await worker.take_and_start()
        with pytest.raises(NotFound):
            await desk.statement(claimed.lease.execution_id)
        await worker.store_result(claimed)
        key = VerifyingKey.parse((await desk.signing_key()).pem.encode())
        signed = await desk.statement(claimed.lease.execution_id)
        found = opened(signed.encode(), key.id, key.verifies)
        assert found.evidence == await desk.evidence(claimed.lease.execution_id)
        assert (found.repository, found.commit) == (claimed.order.repository, HEAD)
        assert await desk.statement(claimed.lease.execution_id) == signed

    async def test_evidence_is_about_its_own_execution(self, site: Site) -> None:
        desk, worker = await site.front_desk(), await a_worker(site)
        await desk.submit(a_task("one"))
        await desk.submit(a_task("two"))
        one, two = await worker.take_and_start(), await worker.take_and_start()
        with pytest.raises(InvalidInput):
            await worker.plane.add_evidence(
                one.lease.execution_id, m.EvidenceReport(token=one.lease.token, evidence=evidence_of(two))
            )
        with pytest.raises(NotFound):
            await desk.evidence(one.lease.execution_id)
        with pytest.raises(NotFound):
            await desk.diff(one.lease.execution_id)
