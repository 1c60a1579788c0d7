"""Results leave once a person agreed, on top of what others pushed, and after a worker died: once."""

import asyncio
from pathlib import Path

import pytest

from agentvine.demo.script import Scenario, Turn
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.eventually import eventually
from agentvine.testing.git_repository import git
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane
from agentvine.worker.checkpoint import CHECKPOINT
from agentvine.worker.conclusion import Delivered, Failed, Parked, Progress
from agentvine.worker.executor import TaskExecutor
from tests.integration.houses import (
    FIXED,
    bash,
    commit,
    fixes,
    house,
    processes_of,
    turn,
    workshop,
)

# ── a person decides ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_person_sends_it_back_says_no_has_it_tried_again_and_lets_it_go(tmp_path: Path) -> None:
    said = turn(bash("echo '# Calc adds' > README.md"), commit("docs: say so"), when="Say it in the README")
    noted = turn(bash("echo adds > NOTES.md"), commit("docs: note it"), when="Say it in the notes")
    scenario = fixes()
    scenario = scenario.model_copy(
        update={"turns": (*scenario.turns, said, Turn(text="Said."), noted, Turn(text="Noted."))}
    )
    async with house(tmp_path, scenario) as h:
        task = await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="human_required")
        base = await h.repository.head()
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked)
        assert order.status is OrderStatus.WAITING
        assert "a test reproduces the bug: passed" in conclusion.request.context
        assert (await git("branch", cwd=h.remote)).split() == ["*", "main"]

        # a comment brings Claude back to work
        await h.desk.respond(conclusion.request.id, m.Reply(verdict="denied", message="Say it in the README, too."))
        second, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked), conclusion
        assert order.status is OrderStatus.WAITING
        page = await h.desk.transcript(second.lease.execution_id)
        assert "Adding is right now." in str(page.entries)
        assert "Said." in str(page.entries)

        # a plain no is the end, until somebody says what is to be different
        await h.desk.respond(conclusion.request.id, m.Reply(verdict="denied"))
        asked = len(h.model.model.requests)
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.DENIED
        assert order.status is OrderStatus.FAILED
        assert len(h.model.model.requests) == asked
        await h.desk.retry(task.id, m.Retry(comment="Say it in the notes."))
        last, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked), conclusion
        assert b"Say it in the notes." in h.model.model.requests[-1].raw

        # approved, it leaves, and nobody asks Claude again
        await h.desk.respond(conclusion.request.id, m.Reply(verdict="approved"))
        asked = len(h.model.model.requests)
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert order.status is OrderStatus.COMPLETED
        assert conclusion.delivery.kind == "branch"
        assert conclusion.summary == "Noted."
        assert len(h.model.model.requests) == asked
        branch = conclusion.delivery.branch
        assert await h.on_remote(branch, "rev-parse") == conclusion.delivery.new_sha
        message = await h.on_remote(branch, "log", "-1", "--format=%B")
        assert f"AgentVine-Execution: {last.lease.execution_id}" in message
        assert await h.on_remote(f"{branch}:README.md", "show") == "# Calc adds"
        assert await h.on_remote(f"{branch}:NOTES.md", "show") == "adds"
        assert await h.on_remote(f"{branch}:calc.py", "show") == FIXED.strip()
        assert await h.on_remote("main", "rev-parse") == base


# ── others push, workers die ─────────────────────────────────────────────────────────────────────────────────────────


async def test_what_others_pushed_meanwhile_is_kept_and_the_result_verified_on_top(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        progress = Progress(claimed, h.plane)
        pushed: list[str] = []

        async def deliver(order: str, intent: m.DeliveryIntent) -> object:
            if not pushed:
                pushed.append(await h.push_by_somebody({"other.py": "x = 1\n"}))
            return await h.plane.deliver(order, intent)

        progress.plane = _With(h.plane, deliver=deliver)  # type: ignore[assignment]
        conclusion = await h.executor.execute(claimed, progress)
        assert isinstance(conclusion, Delivered), conclusion
        order = await h.report(claimed, conclusion, progress)
        assert order.status is OrderStatus.COMPLETED
        assert conclusion.delivery.old_sha == pushed[0]
        assert await h.on_remote("main~1", "rev-parse") == pushed[0]
        assert await h.on_remote("main:other.py", "show") == "x = 1"
        assert await h.on_remote("main:calc.py", "show") == FIXED.strip()
        evidence = await h.desk.evidence(claimed.lease.execution_id)
        assert (evidence.base_sha, evidence.head_sha) == (pushed[0], conclusion.delivery.new_sha)


async def test_a_clash_with_others_is_left_to_a_person(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        progress = Progress(claimed, h.plane)

        async def deliver(order: str, intent: m.DeliveryIntent) -> object:
            await h.push_by_somebody({"calc.py": "def add(a, b):\n    return b + a\n"})
            return await h.plane.deliver(order, intent)

        progress.plane = _With(h.plane, deliver=deliver)  # type: ignore[assignment]
        conclusion = await h.executor.execute(claimed, progress)
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.BRANCH_MOVED
        assert "calc.py" in conclusion.failure.detail


class _With:
    """A control plane that is the real one but for what a test puts in its way."""

    def __init__(self, plane: ControlPlane, **instead: object) -> None:
        self._plane = plane
        self._instead = instead

    def __getattr__(self, name: str) -> object:
        return self._instead.get(name) or getattr(self._plane, name)


class _Died(Exception):
    """The worker is gone, in the middle of a line."""


@pytest.mark.parametrize(
    ("level", "pushed"),
    [
        ("autonomous", False),
        pytest.param("supervised", False, marks=pytest.mark.every_case("the two beside it")),
        ("supervised", True),
    ],
)
async def test_whoever_comes_after_a_dead_worker_only_delivers(tmp_path: Path, level: str, pushed: bool) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level=level)
        claimed = await h.claim(TaskType.BUGFIX)
        progress = Progress(claimed, h.plane)

        async def dies(order: str, intent: m.DeliveryIntent) -> object:
            await h.plane.deliver(order, intent)
            raise _Died

        if pushed:
            conclusion, _ = await h.execute(claimed)
            assert isinstance(conclusion, Delivered), conclusion
        else:
            progress.plane = _With(h.plane, deliver=dies)  # type: ignore[assignment]
            with pytest.raises(_Died):
                await h.executor.execute(claimed, progress)
        asked = len(h.model.model.requests)
        await h.site.pass_time(300)  # nobody renews: the order goes to somebody else
        elsewhere = TaskExecutor(await workshop(tmp_path / "worker", h.model, h.plane))
        second = await h.claim(TaskType.BUGFIX)
        assert second.earlier is not None
        assert second.earlier.verified
        conclusion, progress = await h.execute(second, elsewhere)
        assert isinstance(conclusion, Delivered), conclusion
        order = await h.report(second, conclusion, progress)
        assert order.status is OrderStatus.COMPLETED
        assert len(h.model.model.requests) == asked
        assert await h.on_remote(conclusion.delivery.branch, "rev-parse") == conclusion.delivery.new_sha
        log = await h.on_remote(conclusion.delivery.branch, "log", "--format=%B")
        assert log.count("AgentVine-Task") == 1
        assert f"AgentVine-Execution: {claimed.lease.execution_id}" in log


async def test_what_is_lost_before_it_is_stored_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        progress = Progress(claimed, h.plane)

        async def dies(execution_id: str, token: int, name: str, content: bytes) -> None:
            if not name.startswith(CHECKPOINT):
                raise _Died
            await h.plane.store_artifact(execution_id, token, name, content)

        progress.plane = _With(h.plane, store_artifact=dies)  # type: ignore[assignment]
        with pytest.raises(_Died):
            await h.executor.execute(claimed, progress)
        await h.site.pass_time(300)
        before = len(h.model.model.requests)
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert len(h.model.model.requests) == before + 1, "nothing of it is done again"
        assert b"was lost" in h.model.model.requests[-1].raw


async def test_a_budget_that_is_used_up_ends_it(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        conclusion, _ = await h.execute(claimed.model_copy(update={"budget_left_usd": 0.0}))
        assert isinstance(conclusion, Failed)
        assert conclusion.failure.reason is FailureReason.BUDGET_EXCEEDED
        assert not h.model.model.requests


async def test_an_order_that_is_lost_is_not_delivered(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        base = await h.repository.head()
        claimed = await h.claim(TaskType.BUGFIX)

        def lost() -> None:
            raise _Died

        with pytest.raises(_Died):
            await h.executor.execute(claimed, Progress(claimed, h.plane, ensure_held=lost))
        assert await h.on_remote("main", "rev-parse") == base


async def test_cancelled_it_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    busy = turn(bash("setsid nohup tail -f /dev/null >/dev/null 2>&1 & touch here; tail -f /dev/null"))
    async with house(tmp_path, Scenario(name="busy", match=("Adding is wrong",), turns=(busy,))) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        claimed = await h.claim(TaskType.BUGFIX)
        running = asyncio.create_task(h.executor.execute(claimed, Progress(claimed, h.plane)))
        place = tmp_path / "worker" / "executions" / claimed.lease.execution_id
        await eventually(lambda: (place / "workspace" / "here").exists())
        assert processes_of(place)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not processes_of(place)
        assert list(place.parent.iterdir()) == []
