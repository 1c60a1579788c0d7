"""A receiver of webhooks for tests: a real HTTP server that answers as it is told."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came in one request."""

    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, JsonValue]:
        document: dict[str, JsonValue] = json.loads(self.body)
        return document


@dataclass(slots=True)
class Receiver:
    """`answers` are given one by one, as status line and headers; None: none at all; "": it hangs up. After them it
    says 204."""

    url: str
    deliveries: list[Delivery] = field(default_factory=list)
    answers: deque[str | None] = field(default_factory=deque)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.deliveries.append(Delivery(headers, body))
            answer = self.answers.popleft() if self.answers else "204 No Content"
            if answer is None:
                await reader.read()  # until the other side hangs up
            if not answer:
                return
            writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()


@asynccontextmanager
async def receiver(*answers: str | None) -> AsyncIterator[Receiver]:
    """One on a free port of this machine."""
    made = Receiver("", answers=deque(answers))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield made
    finally:
        server.close()
