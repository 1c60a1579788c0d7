"""What a box looks like from inside, as arguments for bubblewrap: built purely, compared as text by the tests.

Why each part is there: `--unshare-all` would be silent where user namespaces fail, so each is named. A process that
started as uid 0 can write to kernel settings in /proc/sys without any capability, so /proc is read-only. bwrap's own
root and /dev are tmpfs of up to half the memory, so they are closed at the end. Arguments that are file descriptors
or places on the host are kept apart (`Record`), because front.py must open them or make them reachable.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.worker.sandbox.limits import Limits, resource_limits

Record = tuple[str, str]
"""A kind and a value, as front.py reads them."""

WORKSPACE = "/workspace"
"""Where the workspace is, in every box: transcripts and virtual environments hold absolute paths."""
HOME = "/home/agent"
LAUNCHER = "/run/agentvine/launcher.py"
PROXY_PORT = 3128
MODEL_PORT = 8118
USER = 1000
_NAME = "agent"

_ETC = (
    "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust",
    "crypto-policies", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "mime.types",
    "protocols", "services", "terminfo", "fonts",
)  # fmt: skip
_FILES = {
    "/etc/passwd": f"root:x:0:0:root:/root:/bin/false\n{_NAME}:x:{USER}:{USER}::{HOME}:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "/etc/group": f"root:x:0:\n{_NAME}:x:{USER}:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "/etc/resolv.conf": "",
    "/etc/gitconfig": f"[safe]\n\tdirectory = *\n[user]\n\tname = {_NAME}\n\temail = {_NAME}@localhost\n",
}
_SHARED_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class System:
    """The read-only part of the host that a box shows."""

    directories: tuple[str, ...] = ("/usr",)
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links of the root, (name, target): on a merged /usr, /bin and its like."""
    tools: tuple[Path, ...] = ()
    """Tool chains outside of those directories; each is seen at its own path."""
    hidden: tuple[Path, ...] = ()
    """Files beneath `tools` that may hold credentials; seen empty."""
    programs: tuple[str, ...] = ("/usr/local/bin", "/usr/bin", "/bin")
    """PATH."""
    interpreter: Path = Path("/usr/bin/python3")
    """A Python that is seen at this path inside."""


@dataclass(frozen=True, slots=True)
class Room:
    """One box, for one command."""

    workspace: Path
    limits: Limits = field(default_factory=Limits)
    writable: bool = True
    readable: tuple[Path, ...] = ()
    """More of the host, read-only and at its own path."""
    kept: Mapping[Path, str] = field(default_factory=dict)
    """Directories of the host that can be written to, and where they are seen."""
    environment: Mapping[str, str] = field(default_factory=dict)
    proxy: bool = False
    model: bool = False

    @property
    def ports(self) -> tuple[int, ...]:
        """What the launcher listens on, in the order in which it hands the listeners over."""
        wanted = ((PROXY_PORT, self.proxy), (MODEL_PORT, self.model))
        return tuple(port for port, served in wanted if served)


def arguments(system: System, room: Room, launcher: str, filter_file: Path, directory: str = WORKSPACE) -> list[Record]:
    """bwrap's arguments. `launcher` is the text of launcher.py; `directory` is where the command starts, inside."""
    return [
        *_isolation(),
        *_root(system),
        *_private(room, launcher),
        *_mounts(system, room),
        *_words("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", directory),
        *_environment(system, room),
        *_words("--seccomp"),
        ("file", str(filter_file)),
    ]


def command(system: System, room: Room, argv: Sequence[str]) -> list[Record]:
    """What bwrap starts: the launcher, with the limits, in front of `argv`."""
    words = [str(system.interpreter), "-I", "-S", "-B", LAUNCHER]
    for name, value in resource_limits(room.limits).items():
        words += ["--limit", f"{name}={value}"]
    for port in room.ports:
        words += ["--port", str(port)]
    handover: list[Record] = [("run", "--handover"), ("handover", "")]
    return [*(("run", word) for word in words), *handover, *(("run", word) for word in ["--", *argv])]


def _words(*words: str) -> list[Record]:
    return [("word", word) for word in words]


def _isolation() -> list[Record]:
    namespaces = ("user", "pid", "ipc", "uts", "net", "cgroup-try")
    return _words(
        *(f"--unshare-{name}" for name in namespaces),
        *("--uid", str(USER), "--gid", str(USER), "--hostname", "agentvine"),
        *("--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
    )


def _root(system: System) -> list[Record]:
    records: list[Record] = []
    for directory in system.directories:
        records += _words("--ro-bind", directory, directory)
    for name, target in system.links:
        records += _words("--symlink", target, name)
    for name in _ETC:
        records += _words("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for path, content in _FILES.items():
        records += _file(path, content)
    return records


def _file(path: str, content: str) -> list[Record]:
    return [*_words("--perms", "0444", "--ro-bind-data"), ("data", content), ("word", path)]


def _private(room: Room, launcher: str) -> list[Record]:
    memory = ("--size", str(_SHARED_MEMORY), "--perms", "1777", "--tmpfs", "/dev/shm")  # noqa: S108  inside
    scratch = ("--size", str(room.limits.scratch_bytes), "--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108  inside
    home = ("--size", str(room.limits.scratch_bytes), "--perms", "0700", "--tmpfs", HOME)
    return [*_words("--proc", "/proc", "--dev", "/dev", *memory, *scratch, *home), *_file(LAUNCHER, launcher)]


def _mounts(system: System, room: Room) -> list[Record]:
    records: list[Record] = []
    for path in _outermost([*system.tools, *room.readable]):
        records += [("word", "--ro-bind"), ("path", str(path)), ("word", str(path))]
    for path in system.hidden:
        records += _file(str(path), "")
    for path, inside in room.kept.items():
        records += [("word", "--bind"), ("path", str(path)), ("word", inside)]
    bind = "--bind" if room.writable else "--ro-bind"
    return [*records, ("word", bind), ("path", str(room.workspace)), ("word", WORKSPACE)]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """`paths` without those that lie beneath another of them."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(above) for above in kept):
            kept.append(path)
    return kept


def _environment(system: System, room: Room) -> list[Record]:
    variables = {
        "PATH": ":".join(system.programs),
        "HOME": HOME,
        "USER": _NAME,
        "LOGNAME": _NAME,
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",  # noqa: S108  inside
        "LANG": "C.UTF-8",
    }
    if room.proxy:
        proxy = f"http://127.0.0.1:{PROXY_PORT}"
        variables |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
        variables |= dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1")
    if room.model:
        variables |= {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{MODEL_PORT}", "ANTHROPIC_API_KEY": "held-outside"}
    variables |= room.environment
    return [record for name, value in variables.items() for record in _words("--setenv", name, value)]
