"""What a process says: always read, so that it never waits for its reader, and never kept beyond a limit."""

import asyncio
import contextlib
import os
from collections.abc import Callable

LineSink = Callable[[str, str], None]
"""Takes the stream's name, `stdout` or `stderr`, and a line without its end. Must not raise."""

OutputCount = Callable[[int], None]
"""Takes the number of bytes that have just been read from one of the outputs. Must not raise."""

_LONGEST_LINE = 65_536
_AT_ONCE = 65_536


class Output:
    """One output: always read, kept up to a limit (the first and the last half of it), handed on line by line.

    Reads its own pipe. Asyncio's transports would do, but to make one takes an await, in which a cancellation can come
    between a pipe and its process; and asyncio's own way with subprocesses waits for everybody who inherited a pipe.
    """

    def __init__(self, name: str, limit: int, on_line: LineSink | None, on_output: OutputCount | None = None) -> None:
        self._name = name
        self._on_output = on_output
        self._on_line = on_line
        self._head_room = limit - limit // 2
        self._tail_room = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._line = bytearray()
        self._pipe: int | None = None
        self.dropped = 0
        self.closed = asyncio.Event()

    def listen(self, stack: contextlib.ExitStack) -> int:
        """Read from a new pipe from now on. Returns the end for the process to write to, which the stack closes."""
        self._pipe, writing = os.pipe()
        stack.callback(os.close, writing)
        os.set_blocking(self._pipe, False)
        asyncio.get_running_loop().add_reader(self._pipe, self._read)
        return writing

    def close(self) -> None:
        """Read no further."""
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None
            if self._line:
                self._emit(self._line)
        self.closed.set()

    def content(self) -> bytes:
        """What was kept."""
        if not self.dropped:
            return bytes(self._head + self._tail)
        return b"%b\n[... %d bytes dropped ...]\n%b" % (bytes(self._head), self.dropped, bytes(self._tail))

    def _read(self) -> None:
        if self._pipe is None:
            return
        try:
            data = os.read(self._pipe, _AT_ONCE)
        except BlockingIOError:
            return
        if data:
            self._take(data)
        else:
            self.close()

    def _take(self, data: bytes) -> None:
        if self._on_output is not None:
            self._on_output(len(data))
        if self._on_line is not None:
            self._split(data)
        room = self._head_room - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._tail_room
        if excess > 0:
            del self._tail[:excess]
            self.dropped += excess

    def _split(self, data: bytes) -> None:
        self._line += data
        if b"\n" in data:
            *lines, self._line = self._line.split(b"\n")
            for line in lines:
                self._emit(line)
        while len(self._line) > _LONGEST_LINE:
            self._emit(self._line[:_LONGEST_LINE])
            del self._line[:_LONGEST_LINE]

    def _emit(self, line: bytearray) -> None:
        if self._on_line is not None:
            self._on_line(self._name, line.decode("utf-8", "replace").removesuffix("\r"))
