"""The first program inside a box: makes the listeners, sets the limits, and becomes the command.

    python -I -S -B launcher.py --handover FD [--port PORT…] [--limit NAME=VALUE…] -- COMMAND…

A script of its own, with the standard library only. The limits are set here because RLIMIT_NPROC counts per user
namespace. The listeners are made here because the network namespace exists only here: they are passed out over the
unix socket `handover` to the worker, which serves them, so that no relay runs inside and no socket file lies there. The
same socket tells the worker why a command could not be started; the command itself does not have it.
Exit codes as a shell has them: 126 and 127 if the command cannot be started, 125 if the launcher cannot do its part.
"""

# The modules with an underscore are what `socket` and `signal` wrap; the wrapping would triple the time to start.

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os
import resource
import sys

TYPE_CHECKING = False  # type checkers take it for true
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

READY = b"ready"
"""Sent, with the listeners, before the command starts."""
ABSENT = b"absent "
"""Sent, with the reason, if it cannot be started."""

_LOOPBACK = "127.0.0.1"
_BACKLOG = 64


def restrict(name: str, wanted: int) -> None:
    """Set a limit, soft and hard, as low as asked, or as low as it already is."""
    number = getattr(resource, name)
    hard = resource.getrlimit(number)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(number, (value, value))


def hand_over(ports: Sequence[int], out: _socket.socket) -> None:
    """Listen on each port of the loopback and give the listeners away."""
    descriptors = b""
    for port in ports:
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        listener.bind((_LOOPBACK, port))
        listener.listen(_BACKLOG)
        descriptors += listener.detach().to_bytes(4, sys.byteorder)
    passing = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)] if ports else []
    out.sendmsg([READY], passing)


def become(command: Sequence[str], out: _socket.socket) -> NoReturn:
    """Turn into the command, with nothing open but the standard streams."""
    number = out.fileno()
    os.set_inheritable(number, False)
    os.closerange(3, number)
    os.closerange(number + 1, 65_536)
    for ignored in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(ignored, _signal.SIG_DFL)  # Python ignores them, and that would survive exec
    try:
        os.execvp(command[0], [*command])  # noqa: S606  that is its purpose
    except OSError as error:
        why = f"cannot start {command[0]}: {error.strerror}".encode()[:400]
        out.send(ABSENT + why)
        os.write(2, why + b"\n")
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def main(argv: Sequence[str]) -> NoReturn:
    """Do as `argv` says."""
    words = list(argv)
    ports, limits, handover = [], [], -1
    try:
        while (option := words.pop(0)) != "--":
            value = words.pop(0)
            if option == "--port":
                ports.append(int(value))
            elif option == "--limit":
                limits.append(value.split("=", 1))
            else:
                handover = int(value)
        out = _socket.socket(fileno=handover)
        for name, wanted in limits:
            restrict(name, int(wanted))
        hand_over(ports, out)
    except (OSError, ValueError, LookupError, AttributeError) as error:
        os.write(2, f"launcher: {error}\n".encode())
        os._exit(125)
    become(words, out)


if __name__ == "__main__":
    main(sys.argv[1:])
