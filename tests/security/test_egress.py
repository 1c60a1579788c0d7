"""The proxy out of a box, and every trick that should not open another way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentvine.kit.clock import SystemClock
from agentvine.worker.sandbox.base import EgressRecord
from agentvine.worker.sandbox.bubblewrap import Bubblewrap
from agentvine.worker.sandbox.egress import MOST_CONNECTIONS, Proxy
from agentvine.worker.sandbox.targets import AllowList
from tests.security.boxes import place, python, until
from tests.security.outside import Server, has, outside, say, served


@asynccontextmanager
async def proxied(*allowed: str) -> AsyncIterator[tuple[int, Server, list[EgressRecord]]]:
    """A proxy that allows `allowed`, in which PORT stands for the port of a server on this host."""
    records: list[EgressRecord] = []
    async with outside(Server()) as server:
        entries = [entry.replace("PORT", str(server.port)) for entry in allowed]
        async with served(Proxy(AllowList(entries), records.append, SystemClock())) as port:
            yield port, server, records


async def test_a_listed_place_is_reached_and_noted() -> None:
    async with proxied("127.0.0.1:PORT") as (port, server, records):
        place = f"127.0.0.1:{server.port}"
        answer = await say(port, f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\nPING".encode(), then=has(b"PONG"))
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"PONG")
        await until(lambda: records)
        assert (records[0].target, records[0].allowed, records[0].bytes_out, records[0].bytes_in) == (place, True, 4, 4)


async def test_a_plain_request_is_passed_on_alone_and_cleaned() -> None:
    async with proxied("127.0.0.1:PORT") as (port, server, records):
        place = f"127.0.0.1:{server.port}"
        request = (
            f"POST http://{place}/path?q=1 HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\n"
            "X-Own: kept\r\nContent-Length: 4\r\n\r\nbody"
            f"GET http://{place}/second HTTP/1.1\r\nHost: elsewhere\r\n\r\n"
        )
        answer = await say(port, request.encode())
        assert answer.endswith(b"hello")
        heard = b"".join(server.heard)
        assert heard.startswith(b"POST /path?q=1 HTTP/1.1\r\n")
        assert b"x-own: kept" in heard.lower()
        assert b"body" in heard
        for hidden in (b"second", b"elsewhere", b"proxy-authorization", b"upgrade"):
            assert hidden not in heard.lower()
        await until(lambda: records)
        assert records[0].allowed


CONNECTS = [
    "127.0.0.1:PORT", "127.1:PORT", "0x7f.1:PORT", "2130706433:PORT", "0177.0.0.1:PORT", "localhost:PORT",
    "localhost.:PORT",
    "[::1]:PORT", "[::ffff:127.0.0.1]:PORT", "0.0.0.0:PORT", "[::]:PORT", "169.254.169.254:80", "[fd00:ec2::254]:80",
    "168.63.129.16:80", "10.0.0.1:443", "192.168.1.1:443", "100.100.100.200:80", "example.com:443", "listed.example:80",
    "listed.example.evil.com:443", "evil-listed.example:443", "@127.0.0.1:PORT", "listed.example:443@127.0.0.1:PORT",
    "127.0.0.1:PORT/../x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:PORT:PORT", "",
]  # fmt: skip
"""What may not be reached where only names are listed, one of which leads to this host."""


@pytest.mark.parametrize("target", CONNECTS)
async def test_connect_reaches_only_what_is_listed(target: str) -> None:
    async with proxied("listed.example:443", "localhost:PORT", "other.example:443") as (port, server, records):
        asked = target.replace("PORT", str(server.port))
        answer = await say(port, f"CONNECT {asked} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert not answer.startswith(b"HTTP/1.1 2"), answer
        assert server.connections == 0
        assert not any(record.allowed for record in records)
        assert records or answer[9:10] in {b"4", b""}


async def test_a_name_that_leads_to_this_host_needs_the_address_listed_too() -> None:
    connect = "CONNECT localhost:{0} HTTP/1.1\r\nHost: localhost:{0}\r\n\r\n"
    async with proxied("localhost:PORT") as (port, server, records):
        answer = await say(port, connect.format(server.port).encode())
        assert answer.startswith(b"HTTP/1.1 403")
        assert "127.0.0.1" in records[0].reason or "::1" in records[0].reason
    async with proxied("localhost:PORT", "127.0.0.1:PORT") as (port, server, records):
        answer = await say(port, connect.format(server.port).encode() + b"PING", then=has(b"PONG"))
        assert answer.endswith(b"PONG")


@pytest.mark.parametrize(
    "request_",
    [
        "CONNECT {0} HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nHost: elsewhere\r\n\r\n",
        "CONNECT {0} HTTP/1.1\r\n\r\n",
        "GET http://{0}/ HTTP/1.1\r\nHost: elsewhere\r\n\r\n",
        "GET http://user@{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "GET http://elsewhere#@{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "GET http://elsewhere\\@{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "GET https://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "GET ftp://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "GET file:///etc/passwd HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "GET //{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n X: y\r\n\r\n",
        "GET http://{0}/a b HTTP/1.1\r\nHost: {0}\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
        "SOCKS\r\n\r\n",
        "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nX: " + "y" * 100_000 + "\r\n\r\n",
    ],
)
async def test_a_request_that_says_two_things_is_refused(request_: str) -> None:
    async with proxied("127.0.0.1:PORT") as (port, server, _):
        asked = request_.format(f"127.0.0.1:{server.port}").encode("latin-1")
        answer = await say(port, asked)
        assert not answer.startswith(b"HTTP/1.1 2"), answer
        assert server.connections == 0


async def test_a_redirect_is_handed_back_and_not_followed() -> None:
    async with outside(Server()) as other, proxied("127.0.0.1:PORT") as (port, server, _):
        server.answer = (
            f"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{other.port}/\r\ncontent-length: 0\r\n"
            "connection: close\r\n\r\n"
        ).encode()
        place = f"127.0.0.1:{server.port}"
        answer = await say(port, f"GET http://{place}/ HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 302")
        assert other.connections == 0


async def test_connections_are_counted() -> None:
    async with proxied() as (port, _, records):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(MOST_CONNECTIONS):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                stack.callback(writer.close)
            assert await say(port, b"CONNECT a.b:1 HTTP/1.1\r\n\r\n") == b""
        assert "connections at once" in records[-1].reason


async def test_from_inside_a_box_only_what_is_listed_is_reached(sandbox: Bubblewrap, tmp_path: Path) -> None:
    program = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:] or PLACES:
    try:
        print(urllib.request.urlopen(url, timeout=10).read().decode())
    except urllib.error.HTTPError as error:
        print(error.code)
    except OSError as error:
        print(type(error).__name__)
"""
    records: list[EgressRecord] = []
    where = place(tmp_path)
    async with outside(Server()) as listed, outside(Server()) as other:
        places = [f"http://127.0.0.1:{listed.port}/", f"http://127.0.0.1:{other.port}/", "http://example.invalid/"]
        wanted = f"PLACES = {places!r}\nimport os\nos.environ.pop('NO_PROXY'), os.environ.pop('no_proxy')\n"
        spec = where.spec(hosts=(f"127.0.0.1:{listed.port}",), record=records.append)
        async with sandbox.box(spec) as box:
            done = await python(box, where, wanted + program, network=True)
            assert done.stdout.split() == ["hello", "403", "403"], done
            without = await python(box, where, wanted.replace("os.environ.pop", "str") + program)
            assert without.stdout.split() == ["URLError"] * 3, without
        assert (listed.connections, other.connections) == (1, 0)
    assert [record.allowed for record in sorted(records, key=lambda record: record.allowed)] == [False, False, True]
