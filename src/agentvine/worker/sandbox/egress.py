"""The proxy for everything but the model: lets through what the operator has listed, and notes every attempt.

It speaks CONNECT and plain HTTP (RFC 9110, 9.3.6 and RFC 9112, 3.2.2). Names are resolved here, and the connection goes
to the very address that was judged, so that a name cannot be changed between the two. Redirects are not followed: a
client that does asks again, and is judged again.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import h11

from agentvine.kit.clock import Clock
from agentvine.worker.sandbox.base import EgressRecord, Way
from agentvine.worker.sandbox.serving import Conversation, Door, closing
from agentvine.worker.sandbox.targets import Address, AllowList, InvalidTarget, Target

MOST_CONNECTIONS = 64
_CONNECT_SECONDS = 15.0
_IDLE_SECONDS = 300.0
_PIECE = 65_536
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer", b"upgrade", b"host"}
)


class _Refused(Exception):
    """This may not be reached; the message says why."""


@dataclass(slots=True)
class _Traffic:
    out: int = 0
    back: int = 0


class Proxy(Door):
    """Serves one box. `record` is told of each request when it is over."""

    def __init__(self, allowed: AllowList, record: Callable[[EgressRecord], None], clock: Clock) -> None:
        super().__init__(MOST_CONNECTIONS)
        self._allowed = allowed
        self._record = record
        self._clock = clock

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Conversation(reader, writer)
        request = await client.request()
        if request is None:
            return
        asked = request.target.decode("latin-1").encode("unicode_escape").decode()[:300]
        traffic = _Traffic()
        try:
            target = self._admitted(request)
            host, port = await self._resolved(target)
            async with asyncio.timeout(_CONNECT_SECONDS):
                upstream = await asyncio.open_connection(str(host), port, limit=_PIECE)
        except (_Refused, InvalidTarget) as refusal:
            self._note(asked, False, str(refusal), traffic)
            await client.answer(403, f"not allowed: {refusal}\n".encode(), {"content-type": "text/plain"})
            return
        except (OSError, TimeoutError) as error:
            self._note(asked, True, f"could not be reached: {error}", traffic)
            await client.answer(502, b"could not be reached\n", {"content-type": "text/plain"})
            return
        async with closing(upstream[1]):
            try:
                if request.method == b"CONNECT":
                    await _tunnel(client, (reader, writer), upstream, traffic)
                else:
                    await _forward(request, target, client, writer, upstream, traffic)
            finally:
                self._note(asked, True, "", traffic)

    def turned_away(self) -> None:
        self._note("", False, f"more than {MOST_CONNECTIONS} connections at once", _Traffic())

    def _admitted(self, request: h11.Request) -> Target:
        """Where the request wants to go. Raises _Refused, InvalidTarget."""
        text = request.target.decode("ascii", "replace")
        if request.method == b"CONNECT":
            target, default = Target.parse(text), None
        else:
            parts = urlsplit(text)
            if parts.scheme != "http" or "@" in parts.netloc:
                raise _Refused("neither CONNECT nor a plain http:// address")
            target, default = Target.parse(parts.netloc, 80), 80
        for name, value in request.headers:
            if name == b"host" and Target.parse(value.decode("ascii", "replace"), default or target.port) != target:
                raise _Refused("the Host header names another place")
        if not self._allowed.admits(target):
            raise _Refused(f"{target} is not on the list")
        return target

    async def _resolved(self, target: Target) -> tuple[Address, int]:
        """An address of the target that may be connected to. Raises _Refused, OSError."""
        if target.address is not None:
            found = [target.address]
        else:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(_CONNECT_SECONDS):
                answers = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            found = [ip_address(answer[4][0]) for answer in answers]
        for address in found:
            if self._allowed.admits_address(address, target.port):
                return address, target.port
        raise _Refused(f"{target} leads to {found[0] if found else 'nowhere'}, which is not an address of the internet")

    def _note(self, asked: str, allowed: bool, reason: str, traffic: _Traffic) -> None:
        self._record(EgressRecord(self._clock.now(), Way.PROXY, asked, allowed, reason, traffic.out, traffic.back))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _tunnel(client: Conversation, inside: Streams, upstream: Streams, traffic: _Traffic) -> None:
    early = await client.switch()
    upstream[1].write(early)
    traffic.out += len(early)

    def outward(size: int) -> None:
        traffic.out += size

    def inward(size: int) -> None:
        traffic.back += size

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_pump(inside[0], upstream[1], outward))
        tasks.create_task(_pump(upstream[0], inside[1], inward))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, count: Callable[[int], None]) -> None:
    while True:
        async with asyncio.timeout(_IDLE_SECONDS):
            piece = await source.read(_PIECE)
        if not piece:
            break
        count(len(piece))
        sink.write(piece)
        await sink.drain()
    if sink.can_write_eof() and not sink.is_closing():
        sink.write_eof()


async def _forward(
    request: h11.Request,
    target: Target,
    client: Conversation,
    writer: asyncio.StreamWriter,
    upstream: Streams,
    traffic: _Traffic,
) -> None:
    """Pass on exactly one request, framed anew, and whatever comes back until the end of the connection."""
    parts = urlsplit(request.target.decode("ascii"))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = target.host if target.port == 80 else str(target)
    headers = [(name, value) for name, value in request.headers if name not in _HOP_BY_HOP]
    server = h11.Connection(h11.CLIENT)
    head = h11.Request(
        method=request.method, target=path, headers=[(b"host", host.encode()), (b"connection", b"close"), *headers]
    )

    async def send(event: h11.Event) -> None:
        data = server.send(event) or b""
        traffic.out += len(data)
        upstream[1].write(data)
        await upstream[1].drain()

    await send(head)
    async for piece in client.body():
        await send(h11.Data(data=piece))
    await send(h11.EndOfMessage())

    def inward(size: int) -> None:
        traffic.back += size

    await _pump(upstream[0], writer, inward)
