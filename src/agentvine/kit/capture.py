"""What a process says: always read, so that it never waits for its reader, and never kept beyond a limit."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import IO

LineSink = Callable[[str, str], None]
"""Takes the stream's name, `stdout` or `stderr`, and a line without its end. Must not raise."""

_LONGEST_LINE = 65_536


class Output(asyncio.Protocol):
    """One output: always read, kept up to a limit (the first and the last half of it), handed on line by line."""

    def __init__(self, name: str, limit: int, on_line: LineSink | None) -> None:
        self._name = name
        self._on_line = on_line
        self._head_room = limit - limit // 2
        self._tail_room = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._line = bytearray()
        self.dropped = 0
        self._source: IO[bytes] | None = None
        self._transport: asyncio.BaseTransport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pipe(self, stack: contextlib.ExitStack) -> int:
        """A new pipe to read from. Returns the end for the process to write to, which the stack closes.

        Own pipes, because waiting for an asyncio process that has some also waits, in some versions of Python, for
        everybody who inherited them.
        """
        reading, writing = os.pipe()
        stack.callback(os.close, writing)
        self._source = os.fdopen(reading, "rb", 0)
        return writing

    async def listen(self) -> None:
        """Read from the pipe from now on."""
        await asyncio.get_running_loop().connect_read_pipe(lambda: self, self._source)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._flush()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._on_line is not None:
            self._split(data)
        room = self._head_room - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._tail_room
        if excess > 0:
            del self._tail[:excess]
            self.dropped += excess

    def close(self) -> None:
        """Read no further."""
        if self._transport is not None:
            self._transport.close()
        elif self._source is not None:
            self._source.close()

    def content(self) -> bytes:
        """What was kept."""
        if not self.dropped:
            return bytes(self._head + self._tail)
        return b"%b\n[... %d bytes dropped ...]\n%b" % (bytes(self._head), self.dropped, bytes(self._tail))

    def _split(self, data: bytes) -> None:
        self._line += data
        if b"\n" in data:
            *lines, self._line = self._line.split(b"\n")
            for line in lines:
                self._emit(line)
        while len(self._line) > _LONGEST_LINE:
            self._emit(self._line[:_LONGEST_LINE])
            del self._line[:_LONGEST_LINE]

    def _flush(self) -> None:
        if self._line:
            self._emit(self._line)
            self._line = bytearray()

    def _emit(self, line: bytearray) -> None:
        if self._on_line is not None:
            self._on_line(self._name, line.decode("utf-8", "replace").removesuffix("\r"))
