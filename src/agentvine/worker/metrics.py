"""What the worker and all that it started use of the machine."""

import os
import stat
import threading
from pathlib import Path

import psutil

from agentvine.domain.worker import Metrics
from agentvine.kit.clock import Clock

_MEGABYTE = 1024 * 1024
_GIGABYTE = 1024**3
_BLOCK = 512  # the unit of st_blocks (stat(2))
_DISK_SECONDS = 300.0


class ResourceMeter:
    """Reads /proc and walks the workspace directory: call `read` in a thread.

    The walk is dear, so its result is used for five minutes. `stop` ends one that is under way.
    """

    def __init__(self, clock: Clock, workspace_dir: Path, process: psutil.Process | None = None) -> None:
        self._clock = clock
        self._workspace_dir = workspace_dir
        self._process = process or psutil.Process()
        self._born_at = clock.elapsed()
        self._read_at = self._born_at
        self._cpu_seconds = {self._process: _cpu_seconds(self._process) or 0.0}
        self._disk_bytes = 0
        self._measured_at = float("-inf")
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def read(self) -> Metrics:
        """The present figures; CPU is the mean since the last call. Blocks."""
        now = self._clock.elapsed()
        family = self._family()
        cpu_seconds = {process: seconds for process in family if (seconds := _cpu_seconds(process)) is not None}
        used = sum(seconds - self._cpu_seconds.get(process, 0.0) for process, seconds in cpu_seconds.items())
        since, self._read_at, self._cpu_seconds = max(now - self._read_at, 0.001), now, cpu_seconds
        return Metrics(
            cpu_percent=round(max(used, 0.0) / since * 100, 1),
            memory_mb=round(sum(_resident(process) for process in family) / _MEGABYTE, 1),
            disk_usage_gb=round(self._disk(now) / _GIGABYTE, 3),
            uptime_seconds=round(now - self._born_at, 1),
        )

    def _family(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def _disk(self, now: float) -> int:
        if now >= self._measured_at + _DISK_SECONDS:
            self._disk_bytes, self._measured_at = disk_usage(self._workspace_dir, self._stopped), now
        return self._disk_bytes


def disk_usage(directory: Path, stopped: threading.Event) -> int:
    """Bytes on disk beneath `directory`, hard links counted once, symbolic links not followed; blocks.

    What vanishes or cannot be read meanwhile counts nothing. Ends early, with what it has, when `stopped` is set.
    """
    total, seen, waiting = 0, set[tuple[int, int]](), [os.fspath(directory)]
    while waiting and not stopped.is_set():
        try:
            with os.scandir(waiting.pop()) as entries:
                found = [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries]
        except OSError:
            continue
        for path, status in found:
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
            elif status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * _BLOCK
    return total


def _cpu_seconds(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return times.user + times.system


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
