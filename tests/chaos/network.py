"""A network between the fleet's processes that can be cut, slowed and made to lose or repeat what goes over it."""

import asyncio
import random
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from agentvine.testing.loopback import LoopbackServer

_CHUNK = 65_536
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_REPEATABLE = re.compile(rb"(POST|PUT) /api/v1/(queue|work-orders|executions|requests)")


class Network(LoopbackServer):
    """A proxy before a server, on TCP, or before a socket of this machine. Use it as an async context manager.

    With `http` it knows where a request begins and ends, and can lose the reply to one, send it twice, or hold it back.
    All of the chances are those of one request.
    """

    def __init__(self, target: tuple[str, int] | Path, seed: int, *, http: bool = False) -> None:
        super().__init__()
        self._target = target
        self._http = http
        self._random = random.Random(seed)
        self.cut_off = False
        self.latency = 0.0
        """Seconds that each piece is held back, each way."""
        self.lose = 0.0
        """The chance that a request is done and its reply is lost."""
        self.repeat = 0.0
        """The chance that a request arrives twice, the second time later, over a connection of its own."""
        self.halve = 0.0
        """The chance that of a piece of an answer only a half arrives, and then nothing more, or the end."""
        self.done: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self._repeats: set[asyncio.Task[None]] = set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for task in self._repeats:
            task.cancel()
        await super().__aexit__(kind, error, at)

    def calm(self) -> None:
        """Be a good network again."""
        self.cut_off, self.latency, self.lose, self.repeat, self.halve = False, 0.0, 0.0, 0.0, 0.0

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As in `LoopbackServer`: carry what comes, both ways."""
        with suppress(OSError):
            if not self.cut_off:
                await self._connect(reader, writer)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection(*self._target)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, thither = await self._open()
        try:
            if self._http:
                await self._carry_requests(reader, writer, there, thither)
            else:
                await self._carry_bytes(reader, writer, there, thither)
        finally:
            thither.close()

    async def _carry_bytes(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        thither: asyncio.StreamWriter,
    ) -> None:
        ways = {asyncio.create_task(self._pump(reader, thither)), asyncio.create_task(self._answers(there, writer))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            await self._hold()
            sink.write(data)
            await sink.drain()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """As `_pump`, the way on which halves can be lost."""
        while data := await source.read(_CHUNK):
            await self._hold()
            if self._random.random() < self.halve:
                self.done["answers halved"] += 1
                sink.write(data[: len(data) // 2])
                await sink.drain()
                if self._random.random() < 0.5:
                    return
                await asyncio.Event().wait()
            sink.write(data)
            await sink.drain()

    async def _hold(self) -> None:
        if self.latency:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.latency):
                    await asyncio.Event().wait()

    async def _carry_requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        thither: asyncio.StreamWriter,
    ) -> None:
        """One request after the other, as a client without pipelining sends them."""
        while True:
            request = await _message(reader)
            if request is None:
                return
            lost = self._random.random() < self.lose
            if self._random.random() < self.repeat and _REPEATABLE.match(request):
                self._repeat(request)
            await self._hold()
            thither.write(request)
            await thither.drain()
            head = await self._read_or_hung_up(reader, there)
            if head is None:
                return
            self.statuses[int(head[9:12])] += 1
            if lost:
                self.done["replies lost"] += 1
                return
            await self._hold()
            writer.write(head)
            await writer.drain()
            if b"text/event-stream" in head.lower() or b"chunked" in head.lower():
                await self._pump(there, writer)
                return

    async def _read_or_hung_up(self, reader: asyncio.StreamReader, there: asyncio.StreamReader) -> bytes | None:
        """The reply; None if the client hangs up before: then its request is to be hung up on, too."""
        reply = asyncio.create_task(_message(there))
        gone = asyncio.create_task(_hung_up(reader))
        try:
            await asyncio.wait({reply, gone}, return_when=asyncio.FIRST_COMPLETED)
            return reply.result() if reply.done() else None
        finally:
            reply.cancel()
            gone.cancel()
            await asyncio.wait({reply, gone})

    def _repeat(self, request: bytes) -> None:
        task = asyncio.create_task(self._say_again(request, self._random.uniform(0.0, 3.0)))
        self._repeats.add(task)
        task.add_done_callback(self._repeats.discard)

    async def _say_again(self, request: bytes, later: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(later):
                await asyncio.Event().wait()
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(20):
                there, thither = await self._open()
                try:
                    thither.write(request)
                    await thither.drain()
                    reply = await _message(there)
                    if reply is not None:
                        self.done["requests repeated"] += 1
                        self.statuses[int(reply[9:12])] += 1
                finally:
                    thither.close()


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    """A whole request or reply; of one without a length the head. None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    found = _LENGTH.search(head)
    return head + await reader.readexactly(int(found[1])) if found else head


async def _hung_up(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof():
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.Event().wait()
