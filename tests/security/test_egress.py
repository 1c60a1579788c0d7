"""The two ways out of a box, and every trick that should not open a third."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from agentvine.domain.execution import Usage
from agentvine.kit.clock import SystemClock
from agentvine.worker.sandbox.base import EgressRecord, Upstream
from agentvine.worker.sandbox.bubblewrap import Bubblewrap
from agentvine.worker.sandbox.egress import MOST_CONNECTIONS, Proxy
from agentvine.worker.sandbox.model_gateway import REQUEST_LIMIT, ModelGateway
from agentvine.worker.sandbox.serving import Door
from agentvine.worker.sandbox.targets import AllowList
from tests.security.boxes import SOON, place, python, until

KEY = "sk-ant-real-key-that-stays-outside"
MODEL = "claude-opus-5-5"


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
    async with listening:
        yield server


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


# ── the proxy ────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── the model's gateway ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Gate:
    """A gateway, the model's side behind it, and what was noted."""

    port: int
    model: Server
    gateway: ModelGateway
    records: list[EgressRecord]
    metered: list[Usage]

    async def post(self, body: object, path: str = "/v1/messages", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            return await client.post(f"http://127.0.0.1:{self.port}{path}", json=body, headers=headers, timeout=SOON)


def stream(*, inputs: int = 1000, outputs: int = 10, whole: bool = True) -> bytes:
    """An answer of the model as a stream, as it goes over the wire."""
    told: list[object] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": inputs, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word " * 200}},
    ]
    if whole:
        told.append({"type": "message_delta", "delta": {}, "usage": {"output_tokens": outputs}})
    body = b"".join(b"event: e\ndata: " + json.dumps(one).encode() + b"\n\n" for one in told)
    length = len(body) if whole else len(body) + 1000
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


@asynccontextmanager
async def gated(answer: bytes, budget: float = 5.0, model: Server | None = None, **wishes: bool) -> AsyncIterator[Gate]:
    records: list[EgressRecord] = []
    metered: list[Usage] = []
    async with outside(model or Server(answer)) as model:
        upstream = Upstream(f"http://127.0.0.1:{model.port}", KEY, budget, **wishes)
        gateway = ModelGateway(upstream, record=records.append, meter=metered.append, clock=SystemClock())
        async with served(gateway) as port:
            yield Gate(port, model, gateway, records, metered)
        await gateway.close()


ASK = {"model": MODEL, "stream": True, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}


async def test_the_key_is_added_and_what_the_box_says_about_itself_is_dropped() -> None:
    async with gated(stream()) as gate:
        answer = await gate.post(
            ASK,
            "/v1/messages?beta=true",
            **{"x-api-key": "dummy", "authorization": "Bearer dummy", "cookie": "a=b", "x-forwarded-for": "1.2.3.4"},
            **{"anthropic-version": "2023-06-01", "anthropic-beta": "some", "x-stainless-lang": "js"},
        )
        assert answer.status_code == 200
        assert "word word" in answer.text
        heard = b"".join(gate.model.heard).decode().lower()
        assert heard.startswith("post /v1/messages?beta=true http/1.1")
        assert heard.count(KEY.lower()) == 1
        for passed in ("anthropic-version: 2023-06-01", "anthropic-beta: some", "x-stainless-lang: js"):
            assert passed in heard
        for dropped in ("dummy", "cookie", "x-forwarded-for", "bearer"):
            assert dropped not in heard
        await until(lambda: gate.records)
        assert (gate.records[0].allowed, gate.records[0].target) == (True, "POST /v1/messages?beta=true")


async def test_tokens_and_dollars_are_counted_as_they_come() -> None:
    async with gated(stream(inputs=1_000_000, outputs=100_000)) as gate:
        await gate.post(ASK)
        await until(lambda: gate.gateway.usage.turns)
        assert gate.gateway.usage == Usage(input_tokens=1_000_000, output_tokens=100_000, turns=1, cost_usd=6.0)
        assert gate.metered[-1] == gate.gateway.usage
        assert len(gate.metered) >= 2


async def test_hanging_up_early_is_not_free() -> None:
    async with gated(stream(inputs=1000, whole=False)) as gate:
        with contextlib.suppress(httpx.HTTPError):
            await gate.post(ASK)
        await until(lambda: gate.gateway.usage.turns)
        assert gate.gateway.usage.input_tokens == 1000
        assert gate.gateway.usage.output_tokens > 200


async def test_a_spent_budget_is_answered_as_the_api_would() -> None:
    async with gated(stream(inputs=1_000_000), budget=1.0) as gate:
        assert (await gate.post(ASK)).status_code == 200
        await until(lambda: gate.gateway.spent)
        refused = await gate.post(ASK)
        assert refused.status_code == 402
        assert refused.headers["x-should-retry"] == "false"
        assert refused.json()["error"]["type"] == "billing_error"
        assert gate.model.connections == 1
        assert not gate.records[-1].allowed


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/messages"), ("GET", "/v1/models"), ("POST", "/v1/messages/batches"), ("POST", "/v1/files"),
        ("GET", "/v1/organizations/api_keys"), ("POST", "/v1/messages/../files"), ("POST", "//v1/messages"),
        ("POST", "/v1/messages/"), ("POST", "/v1/complete"), ("GET", "/"), ("POST", "/"), ("PUT", "/v1/messages"),
        ("POST", "http://127.0.0.1:1/v1/messages"), ("POST", "/v1/messages?a=%0d%0aX:%20y"), ("POST", "/V1/messages"),
    ],
)  # fmt: skip
async def test_nothing_else_of_the_api_is_reached(method: str, path: str) -> None:
    async with gated(stream()) as gate:
        body = json.dumps(ASK)
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        answer = await say(gate.port, request.encode(), then=has(b"}"))
        assert answer[9:10] == b"4", answer
        assert gate.model.connections == 0
        assert not gate.records[0].allowed


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]},
        {"tools": [{"name": "mine", "input_schema": {}}, {"type": "code_execution_20250825", "name": "x"}]},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]},
        {"mcp_servers": [{"type": "url", "url": "https://evil.example", "name": "x"}]},
        {"container": "c"},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://e.x/?s"}}]}
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "content": [{"type": "document", "source": {"type": "url", "url": "https://e.x"}}],
                        }
                    ],
                }
            ]
        },
    ],
)
async def test_the_models_side_is_not_sent_to_fetch_anything(more: dict[str, object]) -> None:
    async with gated(stream()) as gate:
        refused = await gate.post({**ASK, **more})
        assert refused.status_code == 403
        assert refused.json()["error"]["type"] == "permission_error"
        assert gate.model.connections == 0
    async with gated(stream(), server_tools=True) as gate:
        assert (await gate.post({**ASK, **more})).status_code == 200


async def test_the_agents_own_tools_and_words_about_addresses_pass() -> None:
    said = {"type": "tool_use", "id": "t", "name": "fetch", "input": {"type": "url", "url": "https://e.x"}}
    tools = [
        {"name": "mine", "input_schema": {}},
        {"type": "custom", "name": "y"},
        {"type": "bash_20250124", "name": "b"},
    ]
    async with gated(stream()) as gate:
        body = {**ASK, "tools": tools, "messages": [*ASK["messages"], {"role": "assistant", "content": [said]}]}  # type: ignore[misc]
        assert (await gate.post(body)).status_code == 200


@pytest.mark.parametrize("body", [[], "text", {"stream": True}, {"model": 7}, {"model": ""}])
async def test_a_body_that_makes_no_sense_is_refused(body: object) -> None:
    async with gated(stream()) as gate:
        refused = await gate.post(body)
        assert refused.status_code == 400
        assert refused.json()["error"]["type"] == "invalid_request_error"


async def test_a_request_that_is_too_large_is_refused() -> None:
    async with gated(stream()) as gate:
        head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: {REQUEST_LIMIT + 1}\r\n\r\n"
        answer = await say(gate.port, head.encode() + b" " * (REQUEST_LIMIT + 1), then=has(b"}"))
        assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
        assert gate.model.connections == 0
        assert not gate.records[0].allowed


async def test_a_redirect_of_the_models_address_is_not_followed() -> None:
    async with outside(Server()) as other:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{other.port}/\r\ncontent-length: 0\r\n\r\n".encode()
        async with gated(moved) as gate:
            assert (await gate.post(ASK)).status_code == 502
            assert other.connections == 0


async def test_errors_of_the_model_pass_with_their_advice() -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}'
    told = (
        b"HTTP/1.1 429 Too Many\r\ncontent-type: application/json\r\nretry-after: 7\r\nx-internal: secret\r\n"
        b"set-cookie: a=b\r\nanthropic-ratelimit-requests-remaining: 0\r\ncontent-length: %d\r\n\r\n%b"
    ) % (len(body), body)
    async with gated(told) as gate:
        answer = await gate.post(ASK)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert "anthropic-ratelimit-requests-remaining" in answer.headers
        assert not {"x-internal", "set-cookie"} & set(answer.headers)
        assert gate.gateway.usage.cost_usd == 0


async def test_a_model_that_cannot_be_reached_is_an_error_of_the_api() -> None:
    async with gated(stream()) as gate:
        closed = Upstream("http://127.0.0.1:9", KEY)
        gateway = ModelGateway(closed, record=gate.records.append, meter=lambda usage: None, clock=SystemClock())
        async with served(gateway) as port:
            answer = await Gate(port, gate.model, gateway, [], []).post(ASK)
        await gateway.close()
        assert answer.status_code == 502
        assert answer.json()["error"]["type"] == "api_error"


async def test_one_connection_serves_many_requests() -> None:
    async with gated(stream()) as gate, httpx.AsyncClient(trust_env=False, timeout=60) as client:
        for _ in range(3):
            answer = await client.post(f"http://127.0.0.1:{gate.port}/v1/messages", json=ASK)
            assert answer.status_code == 200
        assert (await client.head(f"http://127.0.0.1:{gate.port}/")).status_code == 200


def has(wanted: bytes) -> Callable[[bytes], bool]:
    return lambda heard: wanted in heard
