"""What is sensitive waits for somebody to agree: a call at the gate, or the part of a result that no gate has seen."""

import asyncio
from dataclasses import replace
from pathlib import Path

from agentvine.demo.script import Scenario, ToolCall, Turn
from agentvine.domain.evidence import CheckOutcome
from agentvine.domain.request import RequestKind, RequestStatus, WorkerRequest
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.eventually import eventually
from agentvine.wire import messages as m
from agentvine.worker.conclusion import Delivered, Parked
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.verification.policy import SENSITIVE_CHECK
from tests.integration.houses import FIXED, REPRODUCING, House, bash, commit, house, turn, workshop, write

TITLE = "Adding is wrong"
CI = ".github/workflows/ci.yml"
FIX = (write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING))
SNEAK = (
    f"mkdir -p .github/workflows hello && python3 -c \"open('{CI}', 'w').write('on: push'); "
    "open('hello/LICEN' + 'SE', 'w').write('MIT')\""
)
APPROVED, DENIED = m.Reply(verdict="approved"), m.Reply(verdict="denied", message="we have no runners")


def plays(*turns: Turn) -> Scenario:
    return Scenario(name="approvals", match=(TITLE,), turns=turns)


async def open_request(h: House, number: int = 1) -> WorkerRequest:
    """The `number`th request that was asked, once it is there and open."""

    async def asked() -> WorkerRequest | None:
        found = (await h.desk.requests(status=None)).items
        still = [one for one in found if one.status is RequestStatus.OPEN]
        return still[0] if len(found) == number and len(still) == 1 else None

    request = await eventually(asked, within=240)
    assert request is not None
    assert request.kind is RequestKind.APPROVAL
    assert request.options == ("approve", "deny")
    return request


def said_to_the_model(h: House) -> str:
    return "".join(request.raw.decode() for request in h.model.model.requests)


async def test_what_is_sensitive_is_done_once_somebody_agreed_and_nobody_is_asked_again(tmp_path: Path) -> None:
    """One call is approved, another with other input, one denied; the result is delivered with what was approved."""
    edit = ToolCall(name="Edit", input={"file_path": f"{{workspace}}/{CI}", "old_string": "main", "new_string": "dev"})
    scenario = plays(
        turn(*FIX, commit("fix: add")),
        turn(write(CI, "on: main\n")),
        turn(edit),
        turn(write("requirements.txt", "leftpad\n")),
        turn(bash("echo x >> LICENSE"), when="requirements.txt"),
        turn(commit("ci: all of it"), when="re:we have no runners"),
        Turn(text="Done."),
    )
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.BUGFIX, TITLE)
        claimed = await h.claim(TaskType.BUGFIX)
        running = asyncio.create_task(h.execute(claimed))

        first = await open_request(h)
        assert first.call is not None
        assert (first.message, first.call.tool, first.call.rule) == (
            f"May the agent write `{CI}`?",
            "Write",
            "ci-and-deployment",
        )
        assert (first.call.input["content"], first.call.paths) == ("on: main\n", (CI,))
        assert "sensitive by the rule ci-and-deployment" in first.context
        await h.desk.respond(first.id, APPROVED)
        second = await open_request(h, 2)
        assert second.call is not None
        assert second.message == f"May the agent change `{CI}`?"
        assert list(second.call.leaves) == [CI], "what the file was before is approved, so what it will be is known"
        await h.desk.respond(second.id, APPROVED)
        third = await open_request(h, 3)
        assert third.call is not None
        changed = {**third.call.input, "content": "rightpad\n"}
        await h.desk.respond(
            third.id, m.Reply(verdict="approved", message="that one is maintained", changed_input=changed)
        )
        fourth = await open_request(h, 4)
        await h.desk.respond(fourth.id, DENIED)

        conclusion, progress = await running
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(claimed, conclusion, progress)).status is OrderStatus.COMPLETED
        assert await h.on_remote(f"main:{CI}", "show") == "on: dev"
        assert await h.on_remote("main:requirements.txt", "show") == "rightpad"
        told = said_to_the_model(h)
        for words in ("approved this call with another input", "that one is maintained", "rightpad"):
            assert words in told
        evidence = await h.desk.evidence(claimed.lease.execution_id)
    assert [(call.tool, call.rule, call.changed) for call in evidence.approved_calls] == [
        ("Write", "ci-and-deployment", False),
        ("Edit", "ci-and-deployment", False),
        ("Write", "dependencies", True),
    ]
    assert [(call.tool, call.rule) for call in evidence.refused_calls] == [("Bash", "licences")]
    (check,) = [check for check in evidence.checks if check.name == SENSITIVE_CHECK]
    assert (check.outcome, check.why[:17]) == (CheckOutcome.PASSED, "approved by key:k")


async def test_a_call_waits_without_a_slot_and_is_made_exactly_once_elsewhere(tmp_path: Path) -> None:
    """Parked at the gate; another worker makes the call, with other input. The model hears of it, and adds no turn."""
    scenario = plays(
        turn(*FIX, commit("fix: add")),
        turn(bash("echo asked >> notes.md; echo MIT >> LICENSE")),
        turn(bash("cat notes.md; git add -A; git commit -qm 'docs: licence'")),
        Turn(text="Done.", expect=("changed",)),
    )
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.BUGFIX, TITLE)
        impatient = replace(h.shop, request_hold=0.0)
        claimed = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(claimed, TaskExecutor(impatient))
        assert isinstance(conclusion, Parked), conclusion
        assert (await h.report(claimed, conclusion, progress)).status is OrderStatus.WAITING
        request, before = await open_request(h), len(h.model.model.requests)
        assert request.call is not None
        assert request.message.startswith("May the agent run `echo asked")
        command = "echo changed >> notes.md; echo MIT >> LICENSE"
        reply = m.Reply(verdict="approved", changed_input={**request.call.input, "command": command})
        await h.desk.respond(request.id, reply)

        await h.site.pass_time(2)  # what is asked next is the newer one
        elsewhere = replace(await workshop(tmp_path / "worker", h.model, h.plane), request_hold=0.0)
        again = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(again, TaskExecutor(elsewhere))
        assert "approved this call with another input" in h.model.model.requests[before].raw.decode()
        # What a command leaves is not known before, so its result waits for approval, too: again without a slot.
        assert isinstance(conclusion, Parked), conclusion
        assert (await h.report(again, conclusion, progress)).status is OrderStatus.WAITING
        request, before = await open_request(h, 2), len(h.model.model.requests)
        assert request.call is not None
        assert (request.call.tool, request.call.rule, list(request.call.leaves)) == ("result", "licences", ["LICENSE"])
        assert "+MIT" in request.context
        await h.desk.respond(request.id, APPROVED)

        third = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(third, TaskExecutor(elsewhere))
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(third, conclusion, progress)).status is OrderStatus.COMPLETED
        assert len(h.model.model.requests) == before, "an approved result needs no further turn"
        assert await h.on_remote("main:notes.md", "show") == "changed"
        evidence = await h.desk.evidence(third.lease.execution_id)
    assert evidence.passed
    assert [(call.tool, call.changed) for call in evidence.approved_calls] == [("Bash", True), ("result", False)]


async def test_what_no_gate_has_seen_is_asked_about_and_taken_back_where_it_is_denied(tmp_path: Path) -> None:
    """Denied while the slot is held, and in part taken back; denied when it waits, and taken back elsewhere."""
    scenario = plays(
        turn(*FIX, bash(SNEAK), commit("fix: add")),
        Turn(text="Done."),
        turn(bash("git rm -qr .github && git commit -qm 'ci: back'"), when="we have no runners"),
        Turn(text="Taken back."),
        turn(bash("git rm -q hello/LICENSE && git commit -qm 'docs: back'"), when="did not approve"),
        Turn(text="Taken back, too."),
    )
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.BUGFIX, TITLE)
        claimed = await h.claim(TaskType.BUGFIX)
        running = asyncio.create_task(h.execute(claimed, TaskExecutor(replace(h.shop, request_hold=4.0))))
        request = await open_request(h)
        assert request.call is not None
        assert (request.call.tool, request.call.rule) == ("result", "ci-and-deployment, licences")
        assert set(request.call.leaves) == set(request.call.paths) == {CI, "hello/LICENSE"}
        assert "+on: push" in request.context
        await h.site.pass_time(2)  # what is asked next is the newer one
        await h.desk.respond(request.id, DENIED)
        request = await open_request(h, 2)
        assert request.call is not None
        assert list(request.call.leaves) == ["hello/LICENSE"]
        conclusion, progress = await running
        assert isinstance(conclusion, Parked), conclusion
        assert (await h.report(claimed, conclusion, progress)).status is OrderStatus.WAITING
        assert "hello/LICENSE" in await h.desk.diff(claimed.lease.execution_id)
        await h.desk.respond(request.id, DENIED)
        elsewhere = TaskExecutor(await workshop(tmp_path / "worker", h.model, h.plane))
        again = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(again, elsewhere)
        assert isinstance(conclusion, Delivered), conclusion
        assert (await h.report(again, conclusion, progress)).status is OrderStatus.COMPLETED
        files = await h.on_remote("main", "ls-tree", "-r", "--name-only")
    assert "LICENSE" not in files
    assert ".github" not in files
