"""Commands to a Redis server by hand, to do to it what nobody should."""

import asyncio
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis


async def redis_command(url: str, *parts: str | int) -> object:
    """The server's reply to one command; an error reply is raised as RuntimeError. `url` as `EmbeddedBroker` has it."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_unix_connection(unquote(address.path))
    try:
        replies = hiredis.Reader()
        for command in (("AUTH", parse_qs(address.query)["password"][0]), parts):
            writer.write(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]  # its stub means one part
        await _next(reader, replies)
        reply = await _next(reader, replies)
        if isinstance(reply, hiredis.HiredisError):
            raise RuntimeError(str(reply))
        return reply
    finally:
        writer.close()
        await writer.wait_closed()


async def _next(reader: asyncio.StreamReader, replies: hiredis.Reader) -> object:
    while (reply := replies.gets()) is False:
        data = await reader.read(65_536)
        if not data:
            raise ConnectionError("the server closed the connection")
        replies.feed(data)
    return reply
