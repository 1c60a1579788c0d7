"""The model's gateway: what it adds, counts, lets pass and refuses."""

import contextlib
import json

import httpx
import pytest

from agentvine.domain.execution import Usage
from agentvine.kit.clock import SystemClock
from agentvine.worker.sandbox.base import Upstream
from agentvine.worker.sandbox.model_gateway import REQUEST_LIMIT, ModelGateway
from tests.security.boxes import until
from tests.security.gates import ASK, KEY, Gate, gated, stream
from tests.security.outside import Server, has, outside, say, served


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
