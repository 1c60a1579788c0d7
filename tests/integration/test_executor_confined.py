"""Whole executions in the sandbox: what it holds back, what goes over a limit, and what the evidence says of it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.demo.script import Scenario, Turn
from agentvine.demo.script import Usage as Tokens
from agentvine.domain.execution import Phase
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.eventually import eventually
from agentvine.worker.access import Offer
from agentvine.worker.conclusion import Delivered, Failed, Progress
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.settings import SandboxKind
from tests.integration.houses import (
    FILES,
    FIXED,
    KEY,
    REPRODUCING,
    bash,
    commit,
    fixes,
    house,
    turn,
    write,
)


async def test_the_agent_and_the_tests_run_confined_and_the_evidence_says_how(tmp_path: Path) -> None:
    """Both look for the worker's key and its folders; neither finds any, and both find the workspace where it is. A
    host that the repository asks for and the worker offers is open; one that only the task asks for is not."""
    look = "pwd; env; ls -a / /home /root 2>&1; ls " + str(tmp_path / "origin")
    curl = (
        "curl -sS -m 5 https://offered.example/; curl -sS -m 5 https://wished.example/; curl -sS -m 5 http://10.0.0.1/"
    )
    done = turn(write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING), bash(look), bash(curl))
    seeing = Scenario(
        name="seeing",
        match=("Adding is wrong",),
        turns=(
            done,
            Turn(tool_calls=(commit("fix: add"),), expect=("/workspace", "held-outside", "No such file")),
            Turn(text="done"),
        ),
    )
    probe = f"import os\n\n\ndef test_confined():\n    assert not os.path.exists({str(tmp_path / 'origin')!r})\n"
    files = {
        **FILES,
        "tests/test_place.py": probe + "    assert 'ANTHROPIC_API_KEY' not in os.environ\n",
        ".agentvine.toml": '[sandbox]\nhosts = ["offered.example:443"]\n',
    }
    async with house(tmp_path, seeing, files=files, offer=Offer(on_demand=("offered.example:443",))) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", hosts=["wished.example:443"])
        claimed, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert evidence.sandbox.startswith("bubblewrap")
        assert evidence.usage.cost_usd > 0
        model = [contact for contact in evidence.egress if contact.way == "model"]
        assert model
        assert all(contact.allowed for contact in model)
        heard = b"".join(request.raw for request in h.model.model.requests)
        assert KEY.encode() not in heard
        assert {request.headers["x-api-key"] for request in h.model.model.requests} == {KEY}
        said = {contact.target: contact.reason for contact in evidence.egress if contact.way == "proxy"}
        assert set(said) == {"offered.example:443", "wished.example:443", "http://10.0.0.1/"}
        assert "list" in said["wished.example:443"]
        assert "list" not in said["offered.example:443"]  # it was let through, and there is no such host
        log = await h.plane.artifact(claimed.lease.execution_id, "egress.jsonl")
        assert len(log.splitlines()) == sum(contact.count for contact in evidence.egress if contact.way != "wish")
        (wish,) = (contact for contact in evidence.egress if contact.way == "wish")
        assert (wish.target, wish.allowed) == ("wished.example:443", False)


async def test_without_a_sandbox_the_evidence_says_so_and_a_place_can_be_kept_to_look_into(tmp_path: Path) -> None:
    async with house(tmp_path, fixes(), sandbox=SandboxKind.NONE) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        keeps = TaskExecutor(replace(h.shop, keep_places=True))
        conclusion = await keeps.execute(claimed, Progress(claimed, h.plane))
        assert isinstance(conclusion, Delivered), conclusion
        kept = tmp_path / "worker" / "executions" / claimed.lease.execution_id
        assert (kept / "workspace" / "calc.py").read_text() == FIXED
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert evidence.sandbox.startswith("none")
        assert evidence.usage.cost_usd > 0


async def test_an_agent_that_goes_over_a_limit_ends_with_that_reason(tmp_path: Path) -> None:
    greedy = turn(bash("for i in $(seq 20); do head -c 20000000 /dev/zero > f$i; done; tail -f /dev/null"))
    scenario = Scenario(name="greedy", match=("Adding is wrong",), turns=(greedy,))
    async with house(tmp_path, scenario, limits=Limits(disk_bytes=100 << 20)) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed), conclusion
        assert conclusion.failure.reason is FailureReason.LIMIT_EXCEEDED
        assert "limit on disk" in conclusion.failure.detail
        assert order.status is OrderStatus.FAILED


async def test_tests_that_go_over_a_limit_end_it_too(tmp_path: Path) -> None:
    flood = (
        "import signal\n\n\ndef test_flood():\n    open('big', 'wb').write(b'x' * (200 << 20))\n    signal.pause()\n"
    )
    files = {**FILES, "tests/test_flood.py": flood}
    async with house(tmp_path, fixes(), files=files, limits=Limits(disk_bytes=64 << 20)) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed), conclusion
        assert conclusion.failure.reason is FailureReason.LIMIT_EXCEEDED


async def test_a_spent_budget_is_a_reason_of_its_own(tmp_path: Path) -> None:
    dear = turn(bash("true"))
    dear = dear.model_copy(update={"usage": Tokens(input_tokens=2_000_000, output_tokens=10)})
    scenario = Scenario(name="dear", match=("Adding is wrong",), turns=(dear, Turn(text="never")))
    async with house(tmp_path, scenario) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", budget={"usd": 0.5})
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed), conclusion
        assert conclusion.failure.reason is FailureReason.BUDGET_EXCEEDED


async def test_the_server_knows_what_was_spent_before_the_run_is_over(tmp_path: Path) -> None:
    """Else a worker that is lost in the middle would take the bill with it."""
    busy = turn(bash("tail -f /dev/null"))
    async with house(tmp_path, Scenario(name="busy", match=("Adding is wrong",), turns=(busy,))) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        eager = TaskExecutor(replace(h.shop, tell_seconds=0.05))
        running = asyncio.create_task(eager.execute(claimed, Progress(claimed, h.plane)))

        async def told() -> bool:
            execution = await h.desk.execution(claimed.lease.execution_id)
            assert execution.phase in {Phase.CLAIMED, Phase.PREPARING, Phase.WORKING}, "the next phase tells it anyway"
            return execution.usage.cost_usd > 0

        await eventually(told, within=240)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
