"""Deliveries that cross each other: what has arrived counts as delivered, whatever was pushed on top of it."""

import asyncio
from dataclasses import replace
from pathlib import Path

from agentvine.domain.retry import FailureReason
from agentvine.domain.sensitive import Sensitive
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.eventually import eventually
from agentvine.worker.conclusion import Delivered, Failed
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.host_lock import exclusive
from agentvine.worker.place import place_of, sweep
from tests.integration.houses import FIXED, fixes, house

SAME_LINES = {"calc.py": "def add(a, b):\n    return sum((a, b))\n"}


async def test_what_a_dead_worker_pushed_counts_under_the_pushes_of_others_and_stricter_rules(tmp_path: Path) -> None:
    strict = Sensitive.model_validate({"rule": [{"name": "sums", "why": "they count", "paths": ["calc.py"]}]})
    async with house(tmp_path, fixes()) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="autonomous")
        first, _ = await h.execute(await h.claim(TaskType.BUGFIX))  # and dies before it says so
        assert isinstance(first, Delivered), first
        await h.push_by_somebody({"other.py": "x = 1\n"})
        tip = await h.push_by_somebody(SAME_LINES)
        await h.site.pass_time(300)
        second = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(second, TaskExecutor(replace(h.shop, sensitive=strict)))
        assert isinstance(conclusion, Delivered), conclusion
        assert conclusion.delivery == first.delivery
        assert (await h.report(second, conclusion, progress)).status is OrderStatus.COMPLETED
        assert await h.on_remote("main", "rev-parse") == tip


async def test_a_push_with_another_on_top_before_it_could_be_read_back(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        hook = h.remote / "hooks" / "post-receive"
        hook.write_text(
            "#!/bin/sh\n"
            "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b\n"
            "git update-ref refs/heads/main $(git commit-tree -p main -m 'feat: on top' 'main^{tree}')\n"
        )
        hook.chmod(0o755)
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="autonomous")
        _, conclusion, order = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert order.status is OrderStatus.COMPLETED
        assert await h.on_remote("main~1", "rev-parse") == conclusion.delivery.new_sha
        assert await h.on_remote("main:calc.py", "show") == FIXED.strip()


async def test_a_push_that_was_taken_back_is_not_there(tmp_path: Path) -> None:
    async with house(tmp_path, fixes()) as h:
        base = await h.on_remote("main", "rev-parse")
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="autonomous")
        first, _ = await h.execute(await h.claim(TaskType.BUGFIX))
        assert isinstance(first, Delivered), first
        await h.repository.git("push", "--quiet", "--force", str(h.remote), f"{base}:main")
        clash = await h.repository.commit(SAME_LINES, "fix: another way")
        await h.repository.git("push", "--quiet", str(h.remote), "HEAD:main")
        await h.site.pass_time(300)
        conclusion, _ = await h.execute(await h.claim(TaskType.BUGFIX), TaskExecutor(h.shop))
        assert isinstance(conclusion, Failed), conclusion
        assert conclusion.failure.reason is FailureReason.BRANCH_MOVED
        assert await h.on_remote("main", "rev-parse") == clash


async def test_a_place_is_held_also_when_a_sweeper_removed_its_lock_in_between(tmp_path: Path) -> None:
    lock = tmp_path / "exe_1.lock"
    taken, leave = asyncio.Event(), asyncio.Event()

    async def stays() -> None:
        async with place_of(tmp_path, "exe_1"):
            taken.set()
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        async with exclusive(lock, 1):  # as `sweep` does
            group.create_task(stays())
            await eventually(lambda: opened(lock) == 2)
            lock.unlink()
        await taken.wait()
        try:
            assert lock.exists()
            await sweep(tmp_path)
            assert (tmp_path / "exe_1" / "checkouts").exists()
        finally:
            leave.set()
    assert list(tmp_path.iterdir()) == []


def opened(file: Path) -> int:
    """How often this process has the file open."""
    return sum(path.is_symlink() and path.readlink() == file for path in Path("/proc/self/fd").iterdir())
