"""What the worker says it uses."""

import asyncio
import sys
import threading
from pathlib import Path

from agentvine.kit.clock import SystemClock
from agentvine.kit.process import spawn
from agentvine.testing.eventually import eventually
from agentvine.worker.metrics import ResourceMeter, disk_usage

NOT_STOPPED = threading.Event()


def test_disk_usage_counts_each_file_once_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "big").write_bytes(b"x" * 4_000_000)
    inside = tmp_path / "inside"
    (inside / "deep" / "er").mkdir(parents=True)
    (inside / "deep" / "er" / "file").write_bytes(b"x" * 1_000_000)
    before = disk_usage(inside, NOT_STOPPED)
    assert 1_000_000 <= before < 1_100_000
    (inside / "link").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "same").hardlink_to(inside / "deep" / "er" / "file")
    assert disk_usage(inside, NOT_STOPPED) - before < 100_000


def test_disk_usage_of_nothing_is_nothing(tmp_path: Path) -> None:
    assert disk_usage(tmp_path / "nowhere", NOT_STOPPED) == 0


def test_the_walk_can_be_ended(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    stopped = threading.Event()
    stopped.set()
    assert disk_usage(tmp_path, stopped) == 0


async def test_what_executions_use_is_counted(tmp_path: Path) -> None:
    clock = SystemClock()
    meter = ResourceMeter(clock, tmp_path)
    alone = meter.read()
    assert alone.memory_mb > 5
    hungry = "x = bytearray(100_000_000)\nwhile True: pass"
    async with await spawn([sys.executable, "-c", hungry], cwd=None, env={}):

        async def grew() -> bool:
            metrics = await asyncio.to_thread(meter.read)
            return metrics.memory_mb > alone.memory_mb + 90 and metrics.cpu_percent > 10

        await eventually(grew)
    after = meter.read()
    assert after.memory_mb < alone.memory_mb + 90
    assert after.uptime_seconds > alone.uptime_seconds
