"""Who plays in the conformance suite: workers that do as they are told, and what they talk about."""

from dataclasses import dataclass
from typing import Any

from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.execution import Delivery, Usage
from agentvine.domain.ids import new_id
from agentvine.domain.key import Scope
from agentvine.domain.request import RequestKind, WorkerRequest
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.task import NewTask
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.testing.site import WORKER, Site
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane

REPOSITORY = "https://git.example/team/project.git"
BASE, HEAD = "a" * 40, "b" * 40
PUSHED = Delivery(kind="push", branch="main", old_sha=BASE, new_sha=HEAD)
ELSEWHERE = Delivery(kind="branch", branch="agentvine/test/1", new_sha="c" * 40)
BUNDLE = "bundle"
LEFT = m.Reply(verdict="answer", message="the left one")
RIGHT = m.Reply(verdict="answer", message="the right one")
APPROVED = m.Reply(verdict="approved")


def a_task(title: str = "do it", **more: Any) -> NewTask:
    """A task of the type `test` unless told otherwise."""
    wanted: dict[str, Any] = {"type": TaskType.TEST, "title": title, "repository": REPOSITORY, "branch": "main"}
    return NewTask(**(wanted | more))


def used(cost_usd: float) -> Usage:
    return Usage(input_tokens=10, output_tokens=5, turns=1, cost_usd=cost_usd)


async def until_due(site: Site, order: WorkOrder) -> None:
    """Let the time pass for which an order that will be tried again has to wait."""
    assert order.not_before is not None
    await site.pass_time((order.not_before - site.clock.now()).total_seconds())


@dataclass(frozen=True)
class Hand:
    """A registered worker. Each method says one thing to the server."""

    site: Site
    plane: ControlPlane
    id: str

    def execution_id(self) -> str:
        return new_id("exe", self.site.clock.now())

    def claim_request(self, **more: Any) -> m.ClaimRequest:
        return m.ClaimRequest(**({"worker_id": self.id, "execution_id": self.execution_id()} | more))

    async def claim(self, **more: Any) -> m.Claimed | None:
        return await self.plane.claim(self.claim_request(**more))

    async def take(self, **more: Any) -> m.Claimed:
        """Claim what must be there."""
        claimed = await self.claim(**more)
        assert claimed is not None, "there is no order to claim"
        return claimed

    async def take_and_start(self) -> m.Claimed:
        claimed = await self.take()
        await self.plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
        return claimed

    async def renew(self, *claims: m.Claimed) -> list[str]:
        """The status of each lease."""
        refs = tuple(m.LeaseRef(work_order_id=one.order.id, token=one.lease.token) for one in claims)
        reply = await self.plane.renew(m.Renewal(worker_id=self.id, leases=refs))
        return [lease.status for lease in reply.leases]

    async def complete(self, claimed: m.Claimed, delivery: Delivery = PUSHED, cost: float = 0.0) -> WorkOrder:
        done = m.Completion(token=claimed.lease.token, delivery=delivery, usage=used(cost), summary="I did it.")
        return WorkOrder(**dict(await self.plane.complete(claimed.order.id, done)))

    async def complete_for(self, claimed: m.Claimed, ask: m.ClaimRequest) -> m.Claimed | None:
        """Complete, and get the next order."""
        done = m.Completion(token=claimed.lease.token, delivery=PUSHED, usage=used(0.0), next=ask)
        return (await self.plane.complete(claimed.order.id, done)).next

    async def fail(
        self, claimed: m.Claimed, reason: FailureReason = FailureReason.AGENT_CRASHED, cost: float = 0.0
    ) -> WorkOrder:
        failure = Failure(reason=reason, detail="it broke")
        report = m.FailureReport(token=claimed.lease.token, failure=failure, usage=used(cost))
        return await self.plane.fail(claimed.order.id, report)

    async def release(self, claimed: m.Claimed) -> WorkOrder:
        return await self.plane.release(claimed.order.id, m.Surrender(token=claimed.lease.token))

    def question(self, claimed: m.Claimed, kind: RequestKind = RequestKind.CLARIFICATION, **more: Any) -> m.NewRequest:
        wanted: dict[str, Any] = {
            "token": claimed.lease.token,
            "id": new_id("req", self.site.clock.now()),
            "kind": kind,
            "message": "Which one?",
        }
        return m.NewRequest(**(wanted | more))

    async def park(self, claimed: m.Claimed, question: m.NewRequest) -> WorkerRequest:
        parking = m.Parking(token=claimed.lease.token, request=question, usage=used(0.25))
        return await self.plane.park(claimed.order.id, parking)

    async def say(self, claimed: m.Claimed, first: int, *entries: str) -> None:
        """Send entries of the transcript."""
        batch = m.TranscriptBatch(
            token=claimed.lease.token, first=first, entries=tuple({"text": entry} for entry in entries)
        )
        await self.plane.add_transcript(claimed.lease.execution_id, batch)

    async def store_result(self, claimed: m.Claimed, outcome: CheckOutcome = CheckOutcome.PASSED) -> None:
        """A bundle, a diff and the evidence."""
        execution_id, token = claimed.lease.execution_id, claimed.lease.token
        await self.plane.store_artifact(execution_id, token, BUNDLE, b"the commits")
        await self.plane.store_artifact(execution_id, token, "diff", "+ naïve\n".encode())
        await self.plane.add_evidence(
            execution_id, m.EvidenceReport(token=token, evidence=evidence_of(claimed, outcome))
        )


def evidence_of(claimed: m.Claimed, outcome: CheckOutcome = CheckOutcome.PASSED) -> Evidence:
    """What a verification found."""
    return Evidence(
        execution_id=claimed.lease.execution_id,
        task_id=claimed.task.id,
        type=claimed.task.asked.type,
        made_at=claimed.lease.expires_at,
        base_sha=BASE,
        head_sha=HEAD,
        checks=(Check(name="tests pass", outcome=outcome, why="" if outcome is CheckOutcome.PASSED else "two fail"),),
    )


async def a_worker(
    site: Site,
    name: str = "wrk_one",
    type_: TaskType = TaskType.TEST,
    *,
    scope: Scope = WORKER,
    specializations: tuple[str, ...] = (),
) -> Hand:
    """A worker that has registered, with a key of its own."""
    hand = Hand(site, await site.worker_plane(scope), name)
    await hand.plane.register(registration(name, type_, specializations))
    return hand


def registration(name: str, type_: TaskType = TaskType.TEST, specializations: tuple[str, ...] = ()) -> m.Registration:
    config = m.WorkerConfiguration(specializations=specializations)
    return m.Registration(id=name, name="a worker", worker_type=type_, version="1.0", config=config)
