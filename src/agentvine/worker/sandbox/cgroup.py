"""Control groups, where this worker may use them: the only exact limits on memory, processes and CPU of a whole box.

Version 2 needs a delegated subtree (systemd's `Delegate=yes`, marked with the attribute user.delegate) or root;
version 1 needs root. See cgroups(7) and the kernel's Documentation/admin-guide/cgroup-v2.rst. Where neither is there,
nothing here fails: there is no group, and the watch does what it can.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentvine.kit.doorbell import pause
from agentvine.worker.sandbox.limits import Breach, Limit, Limits

_PREFIX = "agentvine-"
_WANTED = ("memory", "pids", "cpu")
_PERIOD = 100_000  # microseconds
_DELEGATED = "user.delegate"
_ATTEMPTS = 100
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A place beneath which groups can be made."""

    version: int
    controllers: frozenset[str]
    directory: Path


def hierarchies(membership: str, mounts: str) -> list[Hierarchy]:
    """Where this process stands, from /proc/self/cgroup and /proc/self/mounts; whether it may be used there is open.

    With version 2 the controllers are not known yet: they are those that its directory offers.
    """
    own: dict[str, str] = {}
    for line in membership.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            own[name] = path
    found = []
    for line in mounts.splitlines():
        _, where, kind, options = line.split(" ")[:4]
        if kind == "cgroup2" and "" in own:
            found.append(Hierarchy(2, frozenset(), Path(where + own[""])))
        elif kind == "cgroup" and (held := frozenset(_WANTED) & frozenset(options.split(","))):
            found.append(Hierarchy(1, held, Path(where + own.get(min(held), "/"))))
    return found


def settings(version: int, controllers: Iterable[str], limits: Limits) -> dict[str, str]:
    """What is written into the files of a group."""
    quota = int(limits.cpus * _PERIOD)
    written: Mapping[str, dict[str, str]]
    if version == 2:
        written = {
            "memory": {
                "memory.max": str(limits.memory_bytes),
                "memory.swap.max": "0",
                "memory.oom.group": "1",
            },
            "pids": {"pids.max": str(limits.processes)},
            "cpu": {"cpu.max": f"{quota} {_PERIOD}"},
        }
    else:
        written = {
            "memory": {
                "memory.limit_in_bytes": str(limits.memory_bytes),
                "memory.memsw.limit_in_bytes": str(limits.memory_bytes),
            },
            "pids": {"pids.max": str(limits.processes)},
            "cpu": {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(quota)},
        }
    return {name: value for controller in sorted(controllers) for name, value in written[controller].items()}


_OPTIONAL = frozenset({"memory.swap.max", "memory.memsw.limit_in_bytes", "memory.oom.group"})
"""Absent without swap accounting, or in older kernels."""


class ControlGroups:
    """The hierarchies that this worker may use."""

    def __init__(self, usable: Iterable[Hierarchy]) -> None:
        self._usable = tuple(usable)

    @classmethod
    def of_this_process(cls) -> "ControlGroups":
        """Find out by trying. Removes what earlier workers left behind."""
        try:
            membership = Path("/proc/self/cgroup").read_text(encoding="utf-8")
            mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
        except OSError:
            return cls(())
        usable: list[Hierarchy] = []
        held: frozenset[str] = frozenset()
        for candidate in hierarchies(membership, mounts):
            with contextlib.suppress(OSError):
                hierarchy = _prepared(candidate)
                if hierarchy.controllers - held:
                    _sweep(hierarchy.directory)
                    _try(hierarchy)
                    usable.append(hierarchy)
                    held |= hierarchy.controllers
        return cls(usable)

    @property
    def controllers(self) -> frozenset[str]:
        """What is limited exactly: some of memory, pids, cpu."""
        return frozenset().union(*(hierarchy.controllers for hierarchy in self._usable))

    @property
    def means(self) -> str:
        """For the evidence."""
        versions = sorted({hierarchy.version for hierarchy in self._usable})
        return " and ".join(["rlimits", *(f"control groups v{version}" for version in versions)])

    def group(self, limits: Limits) -> "Group | None":
        """Make a group with these limits; None where there is no hierarchy. Raises OSError if it cannot be made."""
        if not self._usable:
            return None
        name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        group = Group([])
        try:
            for hierarchy in self._usable:
                directory = hierarchy.directory / name
                directory.mkdir(mode=0o755)
                group.directories.append(directory)
                _write(directory, settings(hierarchy.version, hierarchy.controllers, limits))
        except OSError:
            group.remove()
            raise
        return group


def _write(directory: Path, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        try:
            (directory / name).write_text(value, encoding="utf-8")
        except OSError:
            if name not in _OPTIONAL:
                raise


def _try(hierarchy: Hierarchy) -> None:
    """Raise OSError if a group with limits cannot be made here."""
    directory = hierarchy.directory / f"{_PREFIX}{os.getpid()}-0"
    directory.mkdir(mode=0o755)
    try:
        _write(directory, settings(hierarchy.version, hierarchy.controllers, Limits()))
    finally:
        directory.rmdir()


def _prepared(candidate: Hierarchy) -> Hierarchy:
    """With version 2, hand the controllers down to groups to be made. Raises OSError if that is not for us to do."""
    if candidate.version == 1:
        return candidate
    directory = candidate.directory
    offered = frozenset((directory / "cgroup.controllers").read_text(encoding="utf-8").split()) & frozenset(_WANTED)
    control = directory / "cgroup.subtree_control"
    if not offered <= frozenset(control.read_text(encoding="utf-8").split()):
        if (directory / "cgroup.type").exists():  # the root group has none, and may hold processes and groups at once
            _withdraw(directory)
        control.write_text(" ".join(f"+{name}" for name in sorted(offered)), encoding="utf-8")
    return Hierarchy(2, offered, directory)


def _withdraw(directory: Path) -> None:
    """Move this worker, and what shares its group, into a leaf: a group with processes cannot limit its subgroups."""
    if _DELEGATED not in os.listxattr(directory) and "trusted.delegate" not in os.listxattr(directory):
        raise PermissionError(f"{directory} is not delegated")
    leaf = directory / "agentvine"
    leaf.mkdir(exist_ok=True)
    for pid in (directory / "cgroup.procs").read_text(encoding="utf-8").split():
        with contextlib.suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(pid, encoding="utf-8")


def _sweep(directory: Path) -> None:
    """Remove the empty groups of workers that are gone."""
    for left in directory.glob(f"{_PREFIX}*-*"):
        pid = left.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            with contextlib.suppress(OSError):
                left.rmdir()


class Group:
    """The group of one box, in every hierarchy that is used."""

    def __init__(self, directories: list[Path]) -> None:
        self.directories = directories

    @property
    def entrances(self) -> list[Path]:
        """The files into which a process writes its pid to join."""
        return [directory / "cgroup.procs" for directory in self.directories]

    def breach(self, limits: Limits) -> Breach | None:
        """What the kernel had to do to keep the limits, if anything."""
        kills = self._count("memory.events", "oom_kill") + self._count("memory.oom_control", "oom_kill")
        if kills:
            return Breach(Limit.MEMORY, f"more than {limits.memory_bytes >> 20} MiB were asked for")
        if self._count("pids.events", "max"):
            return Breach(Limit.PROCESSES, f"more than {limits.processes} processes and threads were asked for")
        return None

    def _count(self, file: str, name: str) -> int:
        for directory in self.directories:
            with contextlib.suppress(OSError, ValueError):
                lines = (directory / file).read_text(encoding="utf-8").splitlines()
                return sum(int(line.split()[1]) for line in lines if line.split()[0] == name)
        return 0

    async def close(self) -> None:
        """Remove it; what was in it has been killed, and may take a moment to be gone."""
        for _ in range(_ATTEMPTS):
            self.remove()
            if not self.directories:
                return
            await pause(0.02)

    def remove(self) -> None:
        """Remove it, as far as it is empty."""
        for directory in [*self.directories]:
            with contextlib.suppress(OSError):
                directory.rmdir()
                self.directories.remove(directory)
