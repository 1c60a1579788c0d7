"""The gate and a real server, without an agent: what an approval covers, and what becomes of a call without one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue

from agentvine.domain.approval import blob_id, leaf
from agentvine.domain.ids import new_id
from agentvine.domain.request import RequestStatus, ToolUse, WorkerRequest
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.clock import SystemClock
from agentvine.testing.databases import sqlite_database
from agentvine.testing.eventually import eventually
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.agent.base import Decision, ToolCall, Verdict
from agentvine.worker.agent.refusals import Refusals
from agentvine.worker.agent.tools import TypeGate
from agentvine.worker.approving import Approvals, Foresight
from agentvine.worker.asking import Asking
from agentvine.worker.bare_repository import TreeFile
from agentvine.worker.queue_client import QueueClient

LOCK = "uv.lock"
STAGING_IS_FREE = """
[[rule]]
name = "never-ci"
reason = "no"
decide = "deny"
match = { paths = [".github/**", "deploy/prod/**"] }
[[rule]]
name = "staging-is-free"
reason = "r"
decide = "approve"
match = { rules = ["ci-and-deployment"], paths = ["deploy/staging/**"] }
[[rule]]
name = "commands-are-free"
reason = "r"
decide = "approve"
match = { tools = ["Bash"], rules = ["ci-and-deployment"] }
"""


@dataclass
class Door:
    """A gate of an order that was claimed, and the people behind it."""

    site: InProcessSite
    plane: ControlPlane
    desk: FrontDesk
    claimed: m.Claimed
    gate: Asking
    workspace: Path
    refusals: Refusals = field(default_factory=Refusals)
    approvals: Approvals = field(default_factory=Approvals)

    def write(self, content: JsonValue, path: str = LOCK) -> "asyncio.Task[Verdict]":
        return self.call("Write", file_path=path, content=content)

    def call(self, tool: str, /, **given: JsonValue) -> "asyncio.Task[Verdict]":
        return asyncio.create_task(self.gate(ToolCall("toolu_1", tool, given)))

    def link(self, target: str) -> str:
        """A link in the checkout that leads to `target` from now on."""
        link = self.workspace / "link.yml"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        return link.name

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

        gate = asking(plane, claimed, workspace, approvals, expiry, refusals)
        yield Door(site, plane, desk, claimed, gate, workspace, refusals, approvals)


def asking(
    plane: ControlPlane,
    claimed: m.Claimed,
    workspace: Path,
    approvals: Approvals,
    expiry: float = 3600.0,
    refusals: Refusals | None = None,
) -> Asking:
    async def base() -> Sequence[TreeFile]:
        return [TreeFile("100644", blob_id(b"a b\n"), 4, LOCK)]

    return Asking(
        TypeGate(PROFILES[TaskType.FEATURE], workspace),
        QueueClient(plane, None, "wrk_f", SystemClock()),
        claimed,
        hold=20.0,
        expiry=expiry,
        refusals=refusals,
        approvals=approvals,
        foresight=Foresight(workspace, base, approvals),
    )


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


async def test_where_a_link_leads_elsewhere_the_approval_does_not_hold(tmp_path: Path) -> None:
    async with door(tmp_path, STAGING_IS_FREE) as d:
        link = d.link("deploy/staging/a.yml")
        assert (await d.write("x\n", link)).decision is Decision.ALLOW
        d.link(".github/workflows/ci.yml")
        assert (await d.write("x\n", link)).decision is Decision.DENY
        assert [list(grant.leaves) for grant in d.approvals.grants] == [["deploy/staging/a.yml"]]
        d.link("deploy/other/a.yml")
        late = d.write("x\n", link)
        await d.open_one()
        d.link("deploy/prod/a.yml")
        await d.reply("approved")
        verdict = await late
        assert (verdict.decision, verdict.reason) == (
            Decision.DENY,
            "What the call names leads to other files than when it was asked for: make it again.",
        ), "it led elsewhere when it was approved"
        d.link("deploy/other/a.yml")
        assert (await d.write("x\n", link)).decision is Decision.ALLOW
        assert len(await d.requests()) == 3


async def test_an_approval_grants_what_was_shown_and_not_what_is_there_now(tmp_path: Path) -> None:
    async with door(tmp_path) as d:
        (d.workspace / LOCK).write_bytes(b"a b\n")
        edit = {"file_path": LOCK, "old_string": "a", "new_string": "c"}
        first = d.call("Edit", **edit)
        await d.reply("approved")
        assert (await first).decision is Decision.ALLOW
        shown = leaf("100644", blob_id(b"c b\n"))
        assert [grant.leaves for grant in d.approvals.grants] == [{LOCK: shown}]
        whole = d.write("a d\n")
        await d.reply("approved")
        assert (await whole).decision is Decision.ALLOW
        (d.workspace / LOCK).write_bytes(b"a d\n")
        assert (await d.call("Edit", **edit)).decision is Decision.ALLOW, "the answer stands"
        assert [grant.leaves for grant in d.approvals.grants if grant.tool == "Edit"] == [{LOCK: shown}]

        await d.plane.release(d.claimed.order.id, m.Surrender(token=d.claimed.lease.token))
        other, fresh = tmp_path / "elsewhere", Approvals()
        other.mkdir()
        (other / LOCK).write_bytes(b"a b\n")
        gate = asking(d.plane, await claim(d.plane), other, fresh)
        assert (await gate(ToolCall("toolu_2", "Edit", edit))).decision is Decision.ALLOW, "it is the same call there"
        assert [grant.leaves for grant in fresh.grants] == [{LOCK: shown}]
        assert len(await d.requests()) == 2


async def test_a_call_of_more_files_than_can_be_listed_is_approved_by_no_rule(tmp_path: Path) -> None:
    async with door(tmp_path, STAGING_IS_FREE) as d:
        assert (await d.call("Bash", command="touch deploy/x.yml")).decision is Decision.ALLOW
        many = " ".join(f"src/f{number}.py" for number in range(201))
        verdict = await d.call("Bash", command=f"touch {many} deploy/x.yml")
        assert verdict.decision is Decision.DENY
        (asked,) = [one for one in await d.requests() if one.response and one.response.verdict == "denied"]
        assert asked.response is not None
        assert asked.response.made_by == "policy:never-ci"


async def test_asked_again_it_is_asked_in_the_words_of_today(tmp_path: Path) -> None:
    async with door(tmp_path) as d:
        call = ToolUse(tool="Write", input={}, rule="dependencies", digest="0" * 64)
        first = d.gate.request_for(call, "May the agent write `a`?", "because")
        await d.plane.ask(d.claimed.lease.execution_id, first)
        failure = Failure(reason=FailureReason.VERIFICATION_FAILED, detail="x")
        await d.plane.fail(d.claimed.order.id, m.FailureReport(token=d.claimed.lease.token, failure=failure))
        await d.desk.retry(d.claimed.order.task_id)
        claimed = await claim(d.plane)
        update = {"token": claimed.lease.token, "message": "May the agent write `b`?", "options": ("deny",)}
        again = await d.plane.ask(claimed.lease.execution_id, first.model_copy(update=update))
        kept = await d.desk.request(first.id)
        assert (again.message, kept.message, kept.options, kept.status) == (
            "May the agent write `b`?",
            "May the agent write `b`?",
            ("deny",),
            RequestStatus.OPEN,
        )


async def test_a_question_that_cannot_be_written_down_is_refused_and_the_rest_is_asked(tmp_path: Path) -> None:
    async with door(tmp_path) as d:
        deep: JsonValue = {}
        for _ in range(100_000):
            deep = {"a": deep}
        for given in ({"question": "\ud800?"}, {"question": "x", "options": ["\udfff"]}, {"question": "x", "a": deep}):
            verdict = await d.call(ASK_TOOL, **given)
            assert verdict.decision is Decision.DENY
            assert verdict.reason.startswith("Nobody can be asked: ")
        assert (await d.call(ASK_TOOL, question="\0 ")).reason == "The call asks nothing: put one question."
        assert await d.requests() == ()
        odd = d.call(ASK_TOOL, question="x\0", options=["a\x01\x7fb", "\x02"])
        assert ((await d.open_one()).message, (await d.open_one()).options) == ("x", ("a b",))
        await d.reply("answer", message="yes")
        assert (await odd).decision is Decision.ALLOW


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
