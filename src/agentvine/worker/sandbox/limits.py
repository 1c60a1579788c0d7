"""How much one execution may use, and what says that it used more."""

from dataclasses import dataclass, field
from enum import StrEnum

PROCESS_SPARE = 8
"""How many more processes the launcher allows than `Limits.processes`, so that going over can be seen."""
_GIB = 1 << 30
_MIB = 1 << 20


class Limit(StrEnum):
    """What a box may use up."""

    MEMORY = "memory"
    PROCESSES = "processes"
    CPU = "cpu"
    DISK = "disk"
    FILES = "files"
    FILE_SIZE = "file_size"
    OPEN_FILES = "open_files"
    SCRATCH = "scratch"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Limits:
    """What all processes of a box may use together, unless a line says otherwise.

    Going over `memory_bytes`, `processes`, `disk_bytes`, `files` or `output_bytes` ends the box (LimitExceeded). The
    others refuse: the write, the open or the allocation fails and the program sees an error.
    """

    memory_bytes: int = 4 * _GIB
    processes: int = 1024
    """Threads count, as the kernel counts them."""
    cpus: float = 2.0
    """Processors' worth of time; kept only where a control group can be used, elsewhere the box is merely nice."""
    disk_bytes: int = 10 * _GIB
    """Workspace and home."""
    files: int = 1_000_000
    """Files and directories in workspace and home."""
    file_size_bytes: int = 4 * _GIB
    """Of a single file."""
    open_files: int = 4096
    """Of a single process."""
    scratch_bytes: int = 256 * _MIB
    """Of /tmp, which lives in memory."""
    output_bytes: int = 256 * _MIB
    """What a command may write to its outputs before it is ended; much less of it is kept."""
    free_disk_bytes: int = _GIB // 2
    """What the box must leave free on the file system that it writes to, and …"""
    free_memory_bytes: int = _GIB // 4
    """… of the machine's memory: the last line against what cannot be counted (deleted open files, memory files)."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was gone over, and what was seen."""

    limit: Limit
    detail: str

    def __str__(self) -> str:
        return f"limit on {self.limit.value.replace('_', ' ')}: {self.detail}"


class LimitExceeded(Exception):
    """The box was ended because it went over a limit; nothing of it is left."""

    def __init__(self, breach: Breach) -> None:
        super().__init__(str(breach))
        self.breach = breach


def resource_limits(limits: Limits) -> dict[str, int]:
    """What the launcher sets with setrlimit(2), by the constant's name.

    RLIMIT_NPROC counts per user namespace, so it has to be set inside. RLIMIT_DATA bounds what one process can write
    to, without forbidding the large reservations that JavaScript engines make (as RLIMIT_AS would).
    """
    return {
        "RLIMIT_NPROC": limits.processes + PROCESS_SPARE,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_FSIZE": limits.file_size_bytes,
        "RLIMIT_DATA": limits.memory_bytes,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 8 * _MIB,
        "RLIMIT_MSGQUEUE": 0,
    }


@dataclass(frozen=True, slots=True)
class Enforcement:
    """How well each limit is kept on this host, for the evidence."""

    exact: frozenset[Limit] = field(default_factory=frozenset)
    """Kept by the kernel."""
    watched: frozenset[Limit] = field(default_factory=frozenset)
    """Looked at every so often: a fast program gets past it before it is ended."""
    means: str = "rlimits"

    def __str__(self) -> str:
        exact = ", ".join(sorted(self.exact)) or "none"
        watched = ", ".join(sorted(self.watched)) or "none"
        return f"{self.means}; exact: {exact}; watched: {watched}"


ALWAYS_EXACT = frozenset({Limit.FILE_SIZE, Limit.OPEN_FILES, Limit.SCRATCH, Limit.PROCESSES, Limit.OUTPUT})
ALWAYS_WATCHED = frozenset({Limit.DISK, Limit.FILES})


def enforcement(controllers: frozenset[str], means: str) -> Enforcement:
    """What can be promised with these control group controllers (`memory`, `cpu`, `pids`)."""
    exact = set(ALWAYS_EXACT)
    watched = set(ALWAYS_WATCHED)
    (exact if "memory" in controllers else watched).add(Limit.MEMORY)
    if "cpu" in controllers:
        exact.add(Limit.CPU)
    return Enforcement(frozenset(exact), frozenset(watched), means)
