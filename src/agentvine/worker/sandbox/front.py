"""Opens what a box needs, becomes an ordinary user if it is root, and turns into bubblewrap.

    python -I -S -B front.py PLAN [ARGUMENT…]

A script of its own, with the standard library only. It stands between the worker and bwrap because whoever starts the
agent may be a library that knows nothing of file descriptors: what bwrap is told (argv is public on a machine), the
system call filter and the files of the box go to it in files without a name that are opened here. ARGUMENTs are added
to the command.

PLAN holds records, each `kind value`, ended by NUL; `bubblewrap.py` writes it:

    bwrap PATH, home PATH       the program, and the directory that holds it and its libraries
    libraries PATH              a directory in `home` where its libraries lie, if it has some of its own
    control PATH                the worker's unix socket; the connection goes on to the launcher
    user ID                     as root: what to become, user and group
    group PATH                  a control group's file to write the own pid to
    nice N, reluctance N        CPU niceness; oom_score_adj
    own PATH                    as root: a directory of the worker's that is given to that user, with all in it
    word WORD                   an argument of bwrap
    path PATH                   an argument of bwrap that names a place on the host
    data TEXT                   an argument of bwrap that is a file descriptor, of a file with this content
    file PATH                   an argument of bwrap that is a file descriptor, of this file
    run WORD, handover          the command; `handover` stands for the descriptor of the connection

As root it also makes every path reachable for the user that it becomes, in a mount namespace of its own: bwrap resolves
them as that user, who may not enter, say, /root.
"""

# ruff: noqa: PTH102, PTH112, PTH118, PTH119, PTH120, PTH123
# pathlib would double the time to start. _socket and the late imports: as in launcher.py.

from __future__ import annotations

import _socket
import os
import sys

TYPE_CHECKING = False  # type checkers take it for true
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NoReturn

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 0x1000, 0x4000, 1 << 18
_MFD_EXEC = 0x10  # since Linux 6.3 (linux/memfd.h)
_STAGE = "/tmp"  # noqa: S108  covered in a namespace of its own; every system has it, and anybody may enter
_ARGUMENTS = frozenset({"word", "path", "data", "file"})
_COMMAND = frozenset({"run", "handover"})

Record = tuple[str, str]


class Plan:
    """What PLAN says."""

    def __init__(self, content: str) -> None:
        records = [record.partition(" ") for record in content.split("\0")[:-1]]
        self.records = [(kind, value) for kind, _, value in records]

    def all(self, *kinds: str) -> list[str]:
        return [value for kind, value in self.records if kind in kinds]

    def one(self, kind: str) -> str:
        """Raises LookupError if it is not there."""
        return self.all(kind)[0]

    @property
    def user(self) -> int | None:
        told = self.all("user")
        return int(told[0]) if told else None


def _connect(path: str) -> int:
    """Connect to the worker; by its name in the directory, for a whole path may be too long for an address."""
    out = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    out.connect(f"{_path_of(directory)}/{os.path.basename(path)}")
    os.close(directory)
    return _kept(out.detach())


def _kept(descriptor: int) -> int:
    os.set_inheritable(descriptor, True)
    return descriptor


def _path_of(descriptor: int) -> str:
    """A path that leads to an open file, whatever covers its name by now."""
    return f"/proc/self/fd/{descriptor}"


def _anonymous(content: bytes) -> int:
    """A file without a name, to be read from its start."""
    descriptor = os.memfd_create("box", 0)
    _fill(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _fill(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _copied(program: str) -> int | str:
    """The program as a file without a name: the box reaches the file that its first process runs (/proc/1/exe) outside
    of all its read-only mounts, and a user who owns it could change its mode.
    """
    with open(program, "rb") as file:
        content = file.read()
        owner = os.fstat(file.fileno()).st_uid
    try:
        copy = os.memfd_create("bwrap", os.MFD_CLOEXEC | _MFD_EXEC)
    except OSError:  # an older kernel does not know the flag, and does not need it
        copy = os.memfd_create("bwrap", os.MFD_CLOEXEC)
    _fill(copy, content)
    if os.access(_path_of(copy), os.X_OK):
        return copy
    if owner == os.getuid():
        raise PermissionError("programs in memory are forbidden (sysctl vm.memfd_noexec), and bwrap is this user's own")
    return program


def _give_away(root: str, user: int) -> None:
    os.chown(root, user, user)
    for where, directories, files in os.walk(root):
        for name in directories + files:
            os.chown(os.path.join(where, name), user, user, follow_symlinks=False)


def _stage(paths: Iterable[str]) -> dict[str, str]:
    """Give each path a second name that any user can reach, seen by this process alone.

    Without CAP_SYS_ADMIN, as root of a container may be, it gives none: there the paths must be reachable as they are.
    """
    import ctypes  # only root needs it

    libc = ctypes.CDLL(None, use_errno=True)

    def call(function: str, *arguments: object) -> None:
        if getattr(libc, function)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{function}: {os.strerror(number)}")

    def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
        told = [None if text is None else text.encode() for text in (source, target, kind, options)]
        call("mount", *told[:3], ctypes.c_ulong(flags), told[3])

    try:
        call("unshare", _CLONE_NEWNS)
    except PermissionError:
        return {}
    mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    opened = [(path, os.open(path, os.O_PATH)) for path in paths]
    mount("stage", _STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    names = {}
    for index, (path, descriptor) in enumerate(opened):
        names[path] = f"{_STAGE}/{index}"
        if os.path.isdir(_path_of(descriptor)):
            os.mkdir(names[path])
        else:
            os.close(os.open(names[path], os.O_CREAT | os.O_EXCL, 0o644))
        mount(_path_of(descriptor), names[path], None, _MS_BIND | _MS_REC)
        os.close(descriptor)
    return names


def _drop(user: int) -> None:
    """Become an ordinary user, for good."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _word(record: Record, names: dict[str, str]) -> str:
    kind, value = record
    if kind == "path":
        return names.get(value, value)
    if kind == "data":
        return str(_anonymous(value.encode()))
    if kind == "file":
        return str(_kept(int(names[value])))
    return value


def _join(plan: Plan) -> None:
    """Enter the control groups and become unimportant, while the rights to do so are still there."""
    for path in plan.all("group"):
        with open(path, "w") as file:
            file.write(str(os.getpid()))
    os.nice(int(plan.one("nice")))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(plan.one("reluctance"))
    except OSError:  # it is already higher, and lowering it is not allowed
        return


def start(plan: Plan, extra: Sequence[str]) -> NoReturn:
    """Turn into bwrap. Raises OSError if something that it needs cannot be had."""
    control = _connect(plan.one("control"))
    _join(plan)
    home = plan.one("home")
    names = {value: str(os.open(value, os.O_RDONLY)) for value in plan.all("file")}
    if plan.user is not None:
        for path in plan.all("own"):
            _give_away(path, plan.user)
        names |= _stage(dict.fromkeys([home, *plan.all("path")]))
        _drop(plan.user)
    words = [_word(record, names) for record in plan.records if record[0] in _ARGUMENTS]
    described = _anonymous(b"".join(word.encode() + b"\0" for word in words))
    command = [value or str(control) for kind, value in plan.records if kind in _COMMAND]
    program, *libraries = (names.get(home, home) + path[len(home) :] for path in plan.all("bwrap", "libraries"))
    environment = {"LD_LIBRARY_PATH": ":".join(libraries)}
    os.execve(_copied(program), ["bwrap", "--args", str(described), "--", *command, *extra], environment)  # noqa: S606


def main(argv: Sequence[str]) -> int:
    """Follow the plan; returns only if it cannot be followed."""
    try:
        with open(argv[0], encoding="utf-8") as file:
            plan = Plan(file.read())
        start(plan, argv[1:])
    except (OSError, ValueError, LookupError) as error:
        sys.stderr.write(f"front: {error}\n")
    return 125


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
