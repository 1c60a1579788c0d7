"""A network that misbehaves on demand: a TCP proxy before an HTTP server, on the loopback interface.

It knows just enough of HTTP/1.1 to tell which request an answer belongs to: a client sends its next request on a
connection only when it has the answer to the last one.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agentvine.testing.loopback import LoopbackServer

_CHUNK = 65_536


@dataclass(slots=True)
class Mischief:
    """What is done to the answers to certain requests. `struck` counts how often it was done."""

    part: str
    """Requests whose first line (method, path) holds this."""
    times: int
    passes: asyncio.Event | None
    """None: the answer is lost and the connection closed. Else it is held until this is set."""
    struck: int = 0

    def release(self) -> None:
        """Let held answers go, and hold no more."""
        self.times = self.struck
        if self.passes is not None:
            self.passes.set()


@dataclass(slots=True)
class _Link:
    """One connection through the proxy."""

    request: str = ""
    answered: bool = True


class Proxy(LoopbackServer):
    """Use it as an async context manager; `url` leads to the server at `host` and `port`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        super().__init__()
        self._target = (host, port)
        self._mischiefs: list[Mischief] = []
        self.shut = False
        self.refused = 0
        """Connections that could not be passed on, because of `cut` or because no server was there."""
        self.requests: list[str] = []
        """First lines of all requests that were passed on."""

    @property
    def url(self) -> str:
        """Leads to the server, through here."""
        return self.address

    def lose_answers(self, part: str, times: int = 1) -> Mischief:
        """The server does what it is asked, and nobody hears of it."""
        return self._add(Mischief(part, times, None))

    def hold_answers(self, part: str, times: int = 1_000_000) -> Mischief:
        """The answers come when `release` is called."""
        return self._add(Mischief(part, times, asyncio.Event()))

    async def cut(self) -> None:
        """Break all connections, and every new one, until `mend`."""
        self.shut = True
        await self.break_links()

    def mend(self) -> None:
        self.shut = False

    def count(self, part: str) -> int:
        """How many requests with `part` in their first line were passed on."""
        return sum(part in line for line in self.requests)

    def _add(self, mischief: Mischief) -> Mischief:
        self._mischiefs.append(mischief)
        return mischief

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As in `LoopbackServer`: pass on what comes, both ways."""
        try:
            with _closing(writer):
                if self.shut:
                    self.refused += 1
                else:
                    await self._connect(reader, writer)
        except OSError:
            self.refused += 1

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        link = _Link()
        with _closing(server_writer):
            up = asyncio.create_task(self._pass_requests(link, reader, server_writer))
            down = asyncio.create_task(self._pass_answers(link, server_reader, writer))
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.wait({up, down})

    async def _pass_requests(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if link.answered:
                link.answered = False
                link.request = data.partition(b"\r\n")[0].decode("latin-1")
                self.requests.append(link.request)
            writer.write(data)
            await writer.drain()

    async def _pass_answers(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if not link.answered and (mischief := self._next_for(link.request)) is not None:
                mischief.struck += 1
                if mischief.passes is None:
                    return
                await mischief.passes.wait()
            link.answered = True
            writer.write(data)
            await writer.drain()

    def _next_for(self, request: str) -> Mischief | None:
        fitting = (one for one in self._mischiefs if one.struck < one.times and one.part in request)
        return next(fitting, None)


@contextmanager
def _closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()
