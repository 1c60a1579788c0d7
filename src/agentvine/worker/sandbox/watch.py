"""Looks at a running box every so often and says when it has gone over a limit that the kernel does not keep."""

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from agentvine.kit import guardian
from agentvine.worker.sandbox.cgroup import Group
from agentvine.worker.sandbox.limits import Breach, Limit, Limits

_DEEPEST = 200
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Watch:
    """Judges one box. `directories` are what it can write to on disk."""

    def __init__(self, limits: Limits, group: Group | None, controllers: frozenset[str], directories: Sequence[Path]):
        self._limits = limits
        self._group = group
        self._exact = controllers if group is not None else frozenset()
        self._directories = tuple(directories)

    def processes(self, root: int) -> Breach | None:
        """Judge memory and processes of everything that descends from the process `root`."""
        if self._group is not None and (breach := self._group.breach(self._limits)) is not None:
            return breach
        if not {"memory", "pids"} <= self._exact:
            pids = [root, *guardian.descendants([root], guardian.processes())]
            memory, tasks = usage_of(pids)
            allowed = self._limits.memory_bytes
            if "pids" not in self._exact and tasks > self._limits.processes:
                return Breach(Limit.PROCESSES, f"{tasks} processes and threads ran, {self._limits.processes} allowed")
            if "memory" not in self._exact and memory > allowed and (share := fair_share_of(pids)) > allowed:
                return Breach(Limit.MEMORY, f"{share >> 20} MiB were in use, {allowed >> 20} allowed")
        return self._machine()

    def disk(self) -> Breach | None:
        """Judge what lies on disk. Reads every directory: call it in a thread, and seldom."""
        limits = self._limits
        for directory in self._directories:
            free = os.statvfs(directory)
            left = free.f_bavail * free.f_frsize
            if left < limits.free_disk_bytes:
                return Breach(Limit.DISK, f"only {left >> 20} MiB are left on the file system of the workspace")
        measured = _Measure(limits)
        for directory in self._directories:
            measured.add(directory)
        return measured.breach

    def _machine(self) -> Breach | None:
        if "memory" in self._exact:
            return None
        available = _field(Path("/proc/meminfo"), b"MemAvailable:")
        if available is not None and available < self._limits.free_memory_bytes:
            return Breach(Limit.MEMORY, f"only {available >> 20} MiB of the machine's memory are left")
        return None


def usage_of(pids: Iterable[int]) -> tuple[int, int]:
    """Bytes of memory of their own, and number of threads, of these processes. Cheap; memory that forked processes
    still share is counted for each of them.
    """
    memory = tasks = 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_bytes()
        except OSError:
            continue
        for line in status.splitlines():
            name, _, value = line.partition(b":")
            if name in {b"RssAnon", b"RssShmem"}:
                memory += int(value.split()[0]) << 10
            elif name == b"Threads":
                tasks += int(value)
    return memory, tasks


def fair_share_of(pids: Iterable[int]) -> int:
    """Bytes of memory of these processes, what is shared divided by those who share it. Dear."""
    memory = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup")
            memory += (_field(rollup, b"Pss_Anon:") or 0) + (_field(rollup, b"Pss_Shmem:") or 0)
    return memory


def _field(path: Path, name: bytes) -> int | None:
    for line in path.read_bytes().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    return None


class _Measure:
    """Adds up files and bytes, and stops when there are too many. Follows nothing."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self._files = 0
        self._linked: set[int] = set()
        self.breach: Breach | None = None

    def add(self, root: Path) -> None:
        descriptor = os.open(root, _DIRECTORY)
        self._enter(descriptor, 0)

    def _enter(self, descriptor: int, depth: int) -> None:
        """Measure an open directory, and close it."""
        try:
            if depth > _DEEPEST:
                self.breach = Breach(Limit.FILES, f"directories lie more than {_DEEPEST} deep in one another")
                return
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    self._count(entry, descriptor, depth)
                    if self.breach is not None:
                        return
        finally:
            os.close(descriptor)

    def _count(self, entry: os.DirEntry[str], parent: int, depth: int) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            return
        self._files += 1
        if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode) or status.st_ino not in self._linked:
            self._bytes += status.st_blocks * 512
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            self._linked.add(status.st_ino)
        self._judge()
        if stat.S_ISDIR(status.st_mode):
            try:
                descriptor = os.open(entry.name, _DIRECTORY, dir_fd=parent)
            except OSError:  # gone, or closed to us: what lies in it cannot be counted
                return
            self._enter(descriptor, depth + 1)

    def _judge(self) -> None:
        if self._files > self._limits.files:
            self.breach = Breach(Limit.FILES, f"more than {self._limits.files} files lie in workspace and home")
        elif self._bytes > self._limits.disk_bytes:
            allowed = self._limits.disk_bytes >> 20
            self.breach = Breach(Limit.DISK, f"workspace and home hold more than {allowed} MiB")
