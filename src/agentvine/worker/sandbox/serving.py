"""Serving on a listener that came out of a box: whoever speaks there is hostile."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from socket import socket

import h11

from agentvine.kit.logs import logger

HEAD_LIMIT = 65_536
"""The most bytes of a request's line and headers."""
_PIECE = 65_536
_HEAD_SECONDS = 30.0

_log = logger("egress")


class Door(ABC):
    """Serves the connections of one listener at a time, at most `most` at once. Implements supervision's `Service`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self._shut = False
        self._turned_away = 0

    async def serve(self, listener: socket) -> None:
        """Serve until cancelled; then every connection is closed."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    connection, _ = await loop.sock_accept(listener)
                    if self._shut or self._open >= self._most:
                        connection.close()
                        if not self._shut:
                            self.turned_away()
                        continue
                    self._open += 1
                    tasks.create_task(self._guarded(connection))
        finally:
            listener.close()
            if self._turned_away > 1:
                _log.warning("connections out of a box were turned away", count=self._turned_away)

    async def _guarded(self, connection: socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=_PIECE)
            async with closing(writer):
                await self.attend(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError, asyncio.IncompleteReadError):
            return  # it hung up, said nothing for too long, or spoke no HTTP
        except Exception:  # noqa: BLE001  one connection's outermost guard: the others go on
            _log.exception("a connection out of a box failed")
        finally:
            self._open -= 1

    @abstractmethod
    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; it is closed afterwards."""

    def turned_away(self) -> None:
        """Told of each connection that was closed because there were too many. Only the first is logged."""
        self._turned_away += 1
        if self._turned_away == 1:
            _log.warning("too many connections out of a box", most=self._most)

    @property
    def is_shut(self) -> bool:
        """Whether `shut` was called."""
        return self._shut

    def shut(self, reason: str) -> None:
        """Accept no more connections, for good: they are closed unread."""
        if not self._shut:
            self._shut = True
            _log.warning("a box is served no longer", reason=reason)


@contextlib.asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close a connection at the end of the block, without waiting for the other side."""
    try:
        yield
    finally:
        writer.close()


class Conversation:
    """The server's side of HTTP/1.1 on one connection (RFC 9112), on top of h11."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._state = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)

    async def request(self, seconds: float = _HEAD_SECONDS) -> h11.Request | None:
        """The next request's head; None if there is none. Raises TimeoutError, h11.RemoteProtocolError."""
        async with asyncio.timeout(seconds):
            event = await self._next()
        if not isinstance(event, h11.Request):
            return None
        if sum(len(name) + len(value) for name, value in event.headers) > HEAD_LIMIT:  # h11 minds only unfinished ones
            raise h11.RemoteProtocolError("the headers are too large")
        return event

    async def body(self) -> AsyncIterator[bytes]:
        """The body of the request, in pieces. Raises h11.RemoteProtocolError, TimeoutError."""
        while True:
            async with asyncio.timeout(_HEAD_SECONDS):
                event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise h11.RemoteProtocolError("the body ends before its end")

    async def head(self, status: int, headers: dict[str, str]) -> None:
        """Begin a response. Without a length, or in answer to HTTP/1.0, the connection ends with it."""
        named = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._send(h11.Response(status_code=status, headers=named, reason=b""))

    async def data(self, piece: bytes) -> None:
        """Go on with a response."""
        await self._send(h11.Data(data=piece))

    async def end(self) -> bool:
        """End a response. True if the same connection may bring another request."""
        await self._send(h11.EndOfMessage())
        if self._state.our_state is h11.MUST_CLOSE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        return True

    async def answer(self, status: int, content: bytes, headers: dict[str, str]) -> bool:
        """Send a whole response. True if the same connection may bring another request."""
        await self.head(status, {**headers, "content-length": str(len(content))})
        if content:
            await self.data(content)
        return await self.end()

    @property
    def gone(self) -> bool:
        """Whether the other side has hung up, as far as is known."""
        return self._reader.at_eof() or self._writer.is_closing()

    @property
    def answering(self) -> bool:
        """Whether a response has begun."""
        return self._state.our_state is not h11.SEND_RESPONSE and self._state.our_state is not h11.IDLE

    async def switch(self) -> bytes:
        """Agree to a CONNECT. Returns what has come after it already."""
        await self._send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        return self._state.trailing_data[0]

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._state.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._state.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            self._state.receive_data(await self._reader.read(_PIECE))

    async def _send(self, event: h11.Event) -> None:
        sent = self._state.send(event)
        if sent:
            self._writer.write(sent)
            await self._writer.drain()
