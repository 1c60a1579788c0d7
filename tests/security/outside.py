"""The world outside of a box, as far as tests need one: a server that is told what to say, and a door to it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agentvine.worker.sandbox.serving import Door
from tests.security.boxes import SOON


@dataclass
class Server:
    """A server of the outside world: says what it is told to, and remembers what it heard."""

    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                self.heard.append(piece)
                if b"\r\n\r\n" in piece or b"PING" in piece:
                    writer.write(self.answer if b"PING" not in piece else b"PONG")
                    await writer.drain()
                    if b"connection: close" in self.answer and b"PING" not in piece:
                        break
        writer.close()


@asynccontextmanager
async def outside(server: Server) -> AsyncIterator[Server]:
    listening = await asyncio.start_server(server.attend, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()  # only: since Python 3.12 a server that is left as a context waits for its connections


@asynccontextmanager
async def served(door: Door) -> AsyncIterator[int]:
    """Serve a door on a port of this host, as if it had come out of a box."""
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(door.serve(listener))
    try:
        yield listener.getsockname()[1]
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert listener.fileno() == -1


async def say(port: int, request: bytes, *, then: Callable[[bytes], bool] | None = None) -> bytes:
    """Send a request and read the answer, up to its end or until `then` is content."""
    async with asyncio.timeout(SOON):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        answer = b""
        with contextlib.suppress(ConnectionError):
            while (piece := await reader.read(65_536)) and not (then and then(answer + piece)):
                answer += piece
            answer += piece
        writer.close()
        return answer


def has(wanted: bytes) -> Callable[[bytes], bool]:
    return lambda heard: wanted in heard
