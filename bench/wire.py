"""A lean HTTP/1.1 client for load: httpx would be the thing measured. One request at a time on each connection.

It reads answers with a `Content-Length` or none at all, which is what the server sends on the paths that are measured.
"""

import asyncio
from typing import Any, cast

import orjson


class Connection(asyncio.Protocol):
    """One connection to the server under test."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._address = (host, port)
        self._head = f"Host: {host}:{port}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        self._received = b""
        self._transport: asyncio.WriteTransport
        self._answer: asyncio.Future[tuple[int, bytes]]

    async def open(self) -> "Connection":
        await asyncio.get_running_loop().create_connection(lambda: self, *self._address)
        return self

    def carry(self, name: str, value: str) -> None:
        """Send this header with whatever is sent from now on."""
        self._head += f"{name}: {value}\r\n"

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(
            f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        if not ended:
            return
        _, found, rest = head.lower().partition(b"content-length:")
        length = int(rest.partition(b"\r\n")[0]) if found else 0
        if len(body) == length:
            self._received = b""
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server hung up"))

    def close(self) -> None:
        self._transport.close()


def to_body(value: Any) -> bytes:
    return orjson.dumps(value)
