"""Where one box reports to the worker: which process it is, and the listeners that it passes out.

front.py connects before anything hostile runs; the connection is inherited by launcher.py, which sends the listeners
over it, and then, if the command cannot be started, why; a successful start closes it. The socket lies in the
execution's private directory and is gone after the first connection.
"""

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path

from agentvine.worker.sandbox import launcher

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))
_NAME = "control"
_LONGEST_MESSAGE = 500
_MOST_LISTENERS = 8


class Reception:
    """Waits for one box, from `open` to `close`."""

    def __init__(self, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        self.address = directory / _NAME
        self.process: asyncio.Future[tuple[int, int]] = loop.create_future()
        """The pid of bubblewrap, and a pidfd of it (pidfd_open(2)), which `close` closes."""
        self.listeners: asyncio.Future[list[socket.socket]] = loop.create_future()
        """What was passed out, perhaps nothing; done as soon as everything is ready for the command."""
        self.absent: str | None = None
        """Why the command could not be started, if it was missing or no program."""
        self._loop = loop
        self._entrance: socket.socket | None = None
        self._connection: socket.socket | None = None

    def open(self) -> None:
        """Listen. Raises OSError."""
        entrance = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._entrance = entrance
        directory = os.open(self.address.parent, os.O_PATH | os.O_DIRECTORY)
        try:  # by its name in the directory: a whole path may be too long for an address
            entrance.bind(f"/proc/self/fd/{directory}/{_NAME}")
        finally:
            os.close(directory)
        entrance.listen(1)
        entrance.setblocking(False)
        self._loop.add_reader(entrance, self._accept)

    def drain(self) -> None:
        """Take what was said and not yet read; for when the process has ended."""
        if self._entrance is not None:
            self._accept()
        while self._connection is not None and self._receive():
            pass

    def close(self) -> None:
        """Close everything, listeners that nobody serves included."""
        self._forget(self._entrance)
        self._entrance = None
        self._forget(self._connection)
        self._connection = None
        if not self.process.cancel() and not self.process.cancelled():
            os.close(self.process.result()[1])
        if not self.listeners.cancel() and not self.listeners.cancelled():
            for listener in self.listeners.result():
                listener.close()

    def _accept(self) -> None:
        assert self._entrance is not None  # noqa: S101
        try:
            connection, _ = self._entrance.accept()
        except BlockingIOError:
            return
        pid, user, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if user != os.getuid():
            connection.close()
            return
        self._forget(self._entrance)
        self._entrance = None
        self.address.unlink(missing_ok=True)
        connection.setblocking(False)
        self._connection = connection
        self._loop.add_reader(connection, self._receive)
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            self.process.set_result((pid, os.pidfd_open(pid)))

    def _receive(self) -> bool:
        """Take one message. False if there was none."""
        assert self._connection is not None  # noqa: S101
        try:
            message, descriptors, _, _ = socket.recv_fds(self._connection, _LONGEST_MESSAGE, _MOST_LISTENERS)
        except BlockingIOError:
            return False
        except ConnectionError:
            message, descriptors = b"", []
        if message == launcher.READY and not self.listeners.done():
            self.listeners.set_result([socket.socket(fileno=descriptor) for descriptor in descriptors])
        elif message.startswith(launcher.ABSENT):
            self.absent = message.removeprefix(launcher.ABSENT).decode("utf-8", "replace")
        else:
            self._forget(self._connection)
            self._connection = None
        return True

    def _forget(self, gate: socket.socket | None) -> None:
        if gate is not None:
            self._loop.remove_reader(gate)
            gate.close()
