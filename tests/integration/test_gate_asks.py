"""The gate and a real server, without an agent: what an approval covers, and what becomes of a call without one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue

from agentvine.domain.ids import new_id
from agentvine.domain.request import RequestStatus, WorkerRequest
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.clock import SystemClock
from agentvine.testing.databases import sqlite_database
from agentvine.testing.eventually import eventually
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk
from agentvine.worker.agent.base import Decision, ToolCall, Verdict
from agentvine.worker.agent.refusals import Refusals
from agentvine.worker.agent.tools import TypeGate
from agentvine.worker.approving import Approvals, Foresight
from agentvine.worker.asking import Asking
from agentvine.worker.bare_repository import TreeFile
from agentvine.worker.queue_client import QueueClient

LOCK = "uv.lock"


@dataclass
class Door:
    """A gate of an order that was claimed, and the people behind it."""

    site: InProcessSite
    plane: ControlPlane
    desk: FrontDesk
    claimed: m.Claimed
    gate: Asking
    refusals: Refusals = field(default_factory=Refusals)
    approvals: Approvals = field(default_factory=Approvals)

    def write(self, content: JsonValue, path: str = LOCK) -> "asyncio.Task[Verdict]":
        call = ToolCall("toolu_1", "Write", {"file_path": path, "content": content})
        return asyncio.create_task(self.gate(call))

    async def requests(self) -> tuple[WorkerRequest, ...]:
        return (await self.desk.requests(status=None)).items

    async def open_one(self) -> WorkerRequest:
        async def asked() -> WorkerRequest | None:
            return next((one for one in await self.requests() if one.status is RequestStatus.OPEN), None)

        found = await eventually(asked)
        assert found is not None
        return found

    async def reply(self, verdict: str, **more: object) -> None:
        request = await self.open_one()
        await self.desk.respond(request.id, m.Reply.model_validate({"verdict": verdict, **more}))


async def claim(plane: ControlPlane) -> m.Claimed:
    await plane.register(m.Registration(id="wrk_f", name="f", worker_type=TaskType.FEATURE, version="1"))
    execution = new_id("exe", SystemClock().now())
    claimed = await plane.claim(m.ClaimRequest(worker_id="wrk_f", execution_id=execution))
    assert claimed is not None
    await plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
    return claimed


@asynccontextmanager
async def door(root: Path, policy: str = "", expiry: float = 3600.0) -> AsyncIterator[Door]:
    rules = root / "policy.toml"
    rules.write_text(policy)
    async with in_process_site(sqlite_database(root), root, policy=rules) as site:
        plane, desk = await site.worker_plane(), await site.front_desk()
        asked = {"type": "feature", "title": "T", "repository": "https://x.example/a.git", "branch": "main"}
        await desk.submit(NewTask.model_validate(asked))
        claimed = await claim(plane)
        workspace = root / "workspace"
        workspace.mkdir()
        refusals, approvals = Refusals(), Approvals()

        async def base() -> Sequence[TreeFile]:
            return []

        gate = Asking(
            TypeGate(PROFILES[TaskType.FEATURE], workspace),
            QueueClient(plane, None, "wrk_f", SystemClock()),
            claimed,
            hold=20.0,
            expiry=expiry,
            refusals=refusals,
            approvals=approvals,
            foresight=Foresight(workspace, base, approvals),
        )
        yield Door(site, plane, desk, claimed, gate, refusals, approvals)


async def test_changed_input_after_an_approval_asks_again_and_the_same_call_does_not(tmp_path: Path) -> None:
    async with door(tmp_path) as d:
        first = d.write("a\n")
        await d.reply("approved")
        assert (await first) == Verdict(Decision.ALLOW)
        assert (await d.write("a\n")).decision is Decision.ALLOW, "the answer stands"
        assert len(await d.requests()) == 1
        other = d.write("a")
        await d.reply("denied", message="keep the newline")
        assert (await other) == Verdict(Decision.DENY, "The controller denied it: keep the newline")
        assert len({one.call.digest for one in await d.requests() if one.call}) == 2
        assert [(call.tool, call.rule) for call in d.refusals.calls] == [("Write", "dependencies")]
        assert [list(grant.leaves) for grant in d.approvals.grants] == [[LOCK]]

        await d.plane.release(d.claimed.order.id, m.Surrender(token=d.claimed.lease.token))
        again = await claim(d.plane)
        assert again.earlier is not None
        (kept,) = again.earlier.approvals
        assert kept.call is not None
        assert kept.call.leaves == d.approvals.grants[0].leaves


async def test_another_input_may_be_approved_but_not_what_no_approval_allows(tmp_path: Path) -> None:
    async with door(tmp_path) as d:
        first = d.write("a\n")
        await d.reply("approved", changed_input={"file_path": LOCK, "content": "b\n"})
        verdict = await first
        assert (verdict.decision, verdict.changed_input) == (Decision.ALLOW, {"file_path": LOCK, "content": "b\n"})
        assert "approved this call with another input" in verdict.reason
        assert '"b\\n"' in verdict.reason
        second = d.write("c\n")
        await d.reply("approved", changed_input={"file_path": "../out", "content": "c\n"})
        verdict = await second
        assert verdict.decision is Decision.DENY
        assert "approved it with another input, but: Only files inside the checkout" in verdict.reason
        assert [grant.changed for grant in d.approvals.grants] == [True]


async def test_without_an_answer_a_call_is_not_made(tmp_path: Path) -> None:
    async with door(tmp_path, expiry=5.0) as d:
        call = d.write("a\n")
        await d.open_one()
        await d.site.pass_time(60)
        verdict = await call
        assert verdict.decision is Decision.DENY
        assert verdict.reason.startswith("Nobody approved it in time: go on without it")
        assert d.gate.failure is None


async def test_without_an_answer_the_order_fails_where_the_policy_says_so(tmp_path: Path) -> None:
    rule = '[[rule]]\nname = "a"\nreason = "r"\ndecide = "ask"\nunanswered = "fail"\nmatch = { tools = ["Write"] }\n'
    async with door(tmp_path, policy=rule, expiry=5.0) as d:
        call = d.write("a\n")
        await d.open_one()
        await d.site.pass_time(60)
        assert (await call).decision is Decision.PARK, "it stops"
        assert d.gate.failure is not None
        assert d.gate.failure.reason is FailureReason.REQUEST_EXPIRED
        assert LOCK in d.gate.failure.detail
        assert (await d.write("x", "src/a.py")).decision is Decision.PARK, "nothing else is done, either"


@pytest.mark.parametrize("content", ["x" * 300_000, "\ud800", "a\0b", "AKIA" + "A" * 16])
async def test_nobody_is_asked_what_nobody_can_be_shown(tmp_path: Path, content: str) -> None:
    async with door(tmp_path) as d:
        verdict = await d.write(content)
        assert verdict.decision is Decision.DENY
        assert "Nobody can be asked" in verdict.reason
        assert await d.requests() == ()
        assert [call.rule for call in d.refusals.calls] == ["dependencies"]
