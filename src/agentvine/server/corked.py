"""uvicorn's HTTP protocol, with one system call for an answer instead of two, and with our problem documents.

uvicorn writes the head of an answer and its body one after the other, and uvloop sends each at once. For answers of a
few hundred bytes the second send costs as much as all of the parsing.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agentvine.server.refusals import plain_refusal

MOST_HELD_BACK = 65_536
"""Bytes. More goes out at once, so that whoever sends much is slowed down by a slow reader."""


class CorkedProtocol(HttpToolsProtocol):
    """To be used as uvicorn's `http`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(cast("asyncio.Transport", _Corked(transport, self.loop)))
        # uvicorn gives up an idle connection only once something was asked on it.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says to something that is not HTTP."""
        answer = plain_refusal(400, msg, {"Connection": "close"})
        head = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (head, bytes(answer.body)))
        self.transport.close()


class _Corked:
    """A transport that sends once, at the end of this turn of the loop, what was written during it."""

    __slots__ = ("_loop", "_parts", "_size", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_HELD_BACK:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts and not self._transport.is_closing():
            self._transport.write(b"".join(self._parts))
        self._parts.clear()
        self._size = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)
