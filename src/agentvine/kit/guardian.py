"""Runs one command and leaves nothing of it behind.

    python -I -S -B guardian.py [--grace SECONDS] [--parent PID] -- COMMAND…

A script of its own, with the standard library only, because it must start in milliseconds and hold little memory. It is
the reaper of all that descends from the command (prctl(2), PR_SET_CHILD_SUBREAPER): a process that daemonises becomes
its child instead of init's, and so cannot get away. When the command has ended, when the guardian is told to stop, or
when its parent has died, even by SIGKILL (PR_SET_PDEATHSIG), every descendant is killed; then it exits with the
command's exit code (128 + n for a signal; 126 and 127 as a shell has them; 125 if there could be no guard).

SIGTERM, SIGINT and SIGHUP are passed on to the command, which has `--grace` seconds to end; a second one, or SIGUSR1,
ends the patience at once. PR_SET_PDEATHSIG fires when the *thread* that started the guardian ends: start it from one
that lives as long as the work does. Once the guardian itself is killed with SIGKILL nothing can be promised, except
that the command (not its descendants) dies with it.
"""

# ruff: noqa: PTH123, PTH208, SIM105  pathlib, contextlib or typing would each double the time that it takes to start

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

TYPE_CHECKING = False  # type checkers take it for true
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLITE = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
AT_ONCE = signal.SIGUSR1
_WATCHED = _POLITE | {AT_ONCE, signal.SIGCHLD}
SWEEP_SECONDS = 10.0
"""How long the killed may take to die. One that hangs in the kernel, or another user's, needs longer."""


class Entry:
    """One process, as /proc/PID/stat shows it (proc(5))."""

    __slots__ = ("parent", "session", "started", "state")

    def __init__(self, stat: bytes) -> None:
        fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold anything
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.started = int(fields[19])
        """Clock ticks since boot; together with the pid it names a process for good."""


def processes() -> dict[int, Entry]:
    """All processes that /proc shows now, by pid, zombies included."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (entry := _read(name)) is not None:
            table[int(name)] = entry
    return table


def _read(pid: str) -> Entry | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return Entry(file.read())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def started(pid: int) -> int | None:
    """When `pid` was started, in clock ticks since boot; None if there is no such process."""
    entry = _read(str(pid))
    return None if entry is None else entry.started


def descendants(roots: Iterable[int], table: Mapping[int, Entry]) -> set[int]:
    """The pids in `table` that descend from `roots`, without the roots."""
    children: dict[int, list[int]] = {}
    for pid, entry in table.items():
        children.setdefault(entry.parent, []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


class _Family:
    """The children of this process, reaped as they end."""

    def __init__(self, command: int) -> None:
        self._command = command
        self.code: int | None = None
        """The command's exit code, once it has ended."""

    def reap(self) -> bool:
        """Collect whoever has ended. False if no child is left; as orphans become children, no descendant is then."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._command:
                    code = os.waitstatus_to_exitcode(status)
                    self.code = code if code >= 0 else 128 - code
        except ChildProcessError:
            return False

    def attend(self, grace: float, parent: int) -> None:
        """Wait until the command has ended, or its time is up."""
        deadline: float | None = None
        while self.reap() and self.code is None:
            patience = 3600.0 if deadline is None else deadline - time.monotonic()
            if patience <= 0 or os.getppid() != parent:
                return
            caught = signal.sigtimedwait(_WATCHED, patience)
            number = caught.si_signo if caught is not None else None
            if number == AT_ONCE or (number in _POLITE and deadline is not None):
                return
            if number in _POLITE and number is not None:
                deadline = time.monotonic() + grace
                _kill(self._command, number)

    def sweep(self) -> list[int]:
        """Kill every descendant, again and again, until none is left. Returns those that would not die in time."""
        deadline = time.monotonic() + SWEEP_SECONDS
        while self.reap():
            left = sorted(descendants([os.getpid()], processes()))
            if time.monotonic() > deadline:
                return left
            for pid in left:
                _kill(pid, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, 0.02)  # bounded: one may have been born during the look
        return []


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _environment() -> dict[bytes, bytes]:
    """The environment as it was handed to this process: Python adds LC_CTYPE to its own (PEP 538)."""
    with open("/proc/self/environ", "rb") as file:
        pairs = [entry.partition(b"=") for entry in file.read().split(b"\0") if entry]
    return {name: value for name, _, value in pairs}


def _become(command: Sequence[str], guardian: int, mask: Iterable[int]) -> NoReturn:
    """Turn this forked process into the command."""
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:
            os._exit(125)
        os.setsid()  # so that a command which signals its own group does not hit the guardian
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores them, and an ignored signal survives exec
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvpe(command[0], [*command], _environment())  # noqa: S606  that is its purpose
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _arguments(argv: Sequence[str]) -> tuple[float, int, list[str]]:
    grace, parent = 2.0, os.getppid()
    rest = list(argv)
    while rest and rest[0] != "--":
        name, value = rest[0], rest[1]
        if name == "--grace":
            grace = float(value)
        elif name == "--parent":
            parent = int(value)
        else:
            raise ValueError(f"unknown option {name}")
        rest = rest[2:]
    if len(rest) < 2:
        raise ValueError("no command after --")
    return grace, parent, rest[1:]


def main(argv: Sequence[str]) -> int:
    """Guard the command in `argv`; returns the exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an inherited SIG_IGN would take the exit codes away
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        grace, parent, command = _arguments(argv)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (ValueError, IndexError, OSError) as error:
        sys.stderr.write(f"guardian: {error}\n")
        return 125
    if os.getppid() != parent:  # it died before the line above could take effect
        return 128 + signal.SIGTERM
    guardian = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, guardian, mask)
    family = _Family(pid)
    family.attend(grace, parent)
    left = family.sweep()
    if left:
        sys.stderr.write(f"guardian: still there after SIGKILL: {left}\n")
    return family.code if family.code is not None else 128 + signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
