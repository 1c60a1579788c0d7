"""The only way from a box to the model: adds the key that the box does not have, and counts what is used.

It forwards `POST /v1/messages`, `POST /v1/messages/count_tokens` and `HEAD /`, and nothing else. Headers pass by a list
in both directions. A request that would make the model's side fetch from the internet (its own web tools, remote MCP
servers, content by URL) is refused, for that would be a way round the proxy. Redirects are not followed. When the
budget is spent, the next call is answered 402 as the API itself would, and the agent ends.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11
import httpx
from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from agentvine.domain.base import Model
from agentvine.domain.execution import Usage
from agentvine.kit.clock import Clock
from agentvine.worker.sandbox.base import EgressRecord, Upstream, Way
from agentvine.worker.sandbox.metering import AnswerMeter, PriceList, error_body, list_prices
from agentvine.worker.sandbox.serving import Conversation, Door

MOST_CONNECTIONS = 8
REQUEST_LIMIT = 32 << 20
"""As the API's own."""
ANSWER_LIMIT = 64 << 20
_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_KEEP_ALIVE_SECONDS = 300.0
_TIMEOUTS = httpx.Timeout(connect=15, read=600, write=60, pool=15)
_HEADERS_OUT = frozenset(
    {"accept", "content-type", "user-agent", "x-app", "anthropic-version", "anthropic-beta"}
    | {"anthropic-dangerous-direct-browser-access"}
)
_PREFIXES_OUT = ("x-stainless-", "x-claude-code-")
_HEADERS_BACK = frozenset({"content-type", "request-id", "retry-after", "x-should-retry"})
_PREFIXES_BACK = ("anthropic-ratelimit-",)
_HARMLESS_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_")
_JSON = {"content-type": "application/json"}
_DEEPEST = 100
_ANYTHING: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class _Request(Model):
    """Of a request's body, what matters here."""

    model: str = Field(min_length=1, max_length=200)
    stream: bool = False
    speed: str | None = None
    inference_geo: str | None = None


class _Refusal(Exception):
    """What the box gets instead of an answer."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message


class ModelGateway(Door):
    """Serves one box, over all its runs. `meter` is told the total whenever it grows, `record` of each request."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        record: Callable[[EgressRecord], None],
        meter: Callable[[Usage], None],
        clock: Clock,
        prices: PriceList | None = None,
    ) -> None:
        super().__init__(MOST_CONNECTIONS)
        self._upstream = upstream
        self._record = record
        self._tell = meter
        self._clock = clock
        self._prices = prices or list_prices()
        self._finished = Usage()
        self._running: dict[int, Usage] = {}
        self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=_TIMEOUTS)

    @property
    def usage(self) -> Usage:
        """What has been used so far, answers under way included."""
        return sum(self._running.values(), self._finished)

    @property
    def spent(self) -> bool:
        """Whether the budget is used up."""
        return self.usage.cost_usd >= self._upstream.budget_usd

    async def close(self) -> None:
        """Close the connections to the model."""
        await self._client.aclose()

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Conversation(reader, writer)
        again = True
        while again:
            request = await client.request(_KEEP_ALIVE_SECONDS)
            if request is None:
                return
            again = await self._answer(client, request)

    async def _answer(self, client: Conversation, request: h11.Request) -> bool:
        """Answer one request. True if the connection may bring another."""
        what = f"{request.method.decode()} {request.target.decode('latin-1')}".encode("unicode_escape").decode()[:300]
        body = await client.whole_body(REQUEST_LIMIT)
        try:
            if body is None:
                raise _Refusal(413, "request_too_large", f"a request may have {REQUEST_LIMIT} bytes")
            path, query = self._place(request)
            if request.method == b"HEAD":
                return await client.answer(200, b"", {})
            asked = self._judged(body, free=path == _COUNT)
        except _Refusal as refusal:
            self._note(what, False, refusal.message, len(body or b""), 0)
            headers = {**_JSON, "x-should-retry": "false"}
            return await client.answer(refusal.status, error_body(refusal.kind, refusal.message), headers)
        return await self._forward(client, request, path + query, asked, body, what)

    def _place(self, request: h11.Request) -> tuple[str, str]:
        """Path and query. Raises _Refusal for a place that is not served."""
        path, mark, query = request.target.decode("latin-1").partition("?")
        if (request.method, path) not in {(b"POST", _MESSAGES), (b"POST", _COUNT), (b"HEAD", "/")}:
            raise _Refusal(404, "not_found_error", "the gateway forwards only messages and their token counts")
        if not all(character.isalnum() or character in "=&._-" for character in query):
            raise _Refusal(400, "invalid_request_error", "the query holds characters that do not belong there")
        return path, mark + query

    def _judged(self, body: bytes, *, free: bool) -> _Request:
        """What the body asks for. Raises _Refusal if it may not."""
        try:
            content = _ANYTHING.validate_json(body)
            asked = _Request.model_validate(content)
        except ValidationError as error:
            raise _Refusal(400, "invalid_request_error", f"{error.errors(include_url=False)[0]['msg']}") from None
        if not self._upstream.server_tools and (why := _reaches_out(content)) is not None:
            raise _Refusal(403, "permission_error", f"{why} is not allowed here: it would reach the internet")
        if self.spent and not free:
            spent, budget = self.usage.cost_usd, self._upstream.budget_usd
            raise _Refusal(402, "billing_error", f"the budget of ${budget:.2f} is spent (${spent:.2f})")
        return asked

    async def _forward(
        self, client: Conversation, request: h11.Request, place: str, asked: _Request, body: bytes, what: str
    ) -> bool:
        headers = _passing(request.headers, _HEADERS_OUT, _PREFIXES_OUT) | {"accept-encoding": "identity"}
        if self._upstream.api_key:
            headers["x-api-key"] = self._upstream.api_key
        exchange = _Exchange("hung up")
        free = place.startswith(_COUNT)
        try:
            url = self._upstream.base_url.rstrip("/") + place
            async with self._client.stream("POST", url, content=body, headers=headers) as answer:
                counted = answer.is_success and not free
                async with self._metered(asked, len(body)) if counted else _unmetered() as meter:
                    await _pass_back(client, answer, exchange, meter)
            exchange.trouble = "" if answer.is_success else f"answered {answer.status_code}"
            return await client.end()
        except (_Refusal, httpx.HTTPError) as error:
            told = error.message if isinstance(error, _Refusal) else f"no answer ({type(error).__name__})"
            exchange.trouble = told
            if client.answering:
                return False
            return await client.answer(502, error_body("api_error", f"the model cannot be reached: {told}"), _JSON)
        finally:
            self._note(what, True, exchange.trouble, len(body), exchange.received)

    @asynccontextmanager
    async def _metered(self, asked: _Request, size: int) -> AsyncIterator[Callable[[bytes], None]]:
        meter = AnswerMeter(asked.stream, size)
        key = id(meter)

        def used() -> Usage:
            fast, us_only = asked.speed == "fast", asked.inference_geo == "us"
            cost = self._prices.cost(asked.model, meter.tokens, fast=fast, us_only=us_only)
            return meter.tokens.usage(cost, 1)

        def read(piece: bytes) -> None:
            if meter.read(piece):
                self._running[key] = used()
                self._tell(self.usage)

        try:
            yield read
            meter.end()
        finally:
            self._running.pop(key, None)
            self._finished += used()
            self._tell(self.usage)

    def _note(self, what: str, allowed: bool, reason: str, out: int, back: int) -> None:
        self._record(EgressRecord(self._clock.now(), Way.MODEL, what, allowed, reason, out, back))


@dataclass(slots=True)
class _Exchange:
    trouble: str
    received: int = 0


async def _pass_back(
    client: Conversation, answer: httpx.Response, exchange: _Exchange, meter: Callable[[bytes], None]
) -> None:
    if answer.is_redirect:
        raise _Refusal(502, "api_error", "it redirects elsewhere, which is not followed")
    await client.head(answer.status_code, _passing(answer.headers.raw, _HEADERS_BACK, _PREFIXES_BACK))
    async for piece in answer.aiter_bytes():
        exchange.received += len(piece)
        if exchange.received > ANSWER_LIMIT:
            raise h11.LocalProtocolError("the answer is too large")
        meter(piece)
        await client.data(piece)


@asynccontextmanager
async def _unmetered() -> AsyncIterator[Callable[[bytes], None]]:
    yield lambda piece: None


def _passing(
    headers: Iterable[tuple[bytes, bytes]], names: frozenset[str], prefixes: tuple[str, ...]
) -> dict[str, str]:
    """Of raw headers, those whose name is listed."""
    passing = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        if name in names or name.startswith(prefixes):
            passing[name] = raw_value.decode("latin-1")
    return passing


def _reaches_out(body: JsonValue) -> str | None:
    """What in a request would make the model's side fetch something, if anything does."""
    if not isinstance(body, Mapping):
        return None
    for name in ("mcp_servers", "container"):
        if body.get(name):
            return name
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if isinstance(kind, str) and not kind.startswith(_HARMLESS_TOOLS):
            return f"the tool {kind}"
    return _source_by_url({"messages": body.get("messages"), "system": body.get("system")}, 0)


def _source_by_url(value: JsonValue, depth: int) -> str | None:
    """Content that is named by its address instead of being there."""
    if depth > _DEEPEST:
        return "content that is nested so deeply"
    if isinstance(value, Mapping):
        if value.get("type") == "url" and "url" in value:
            return "content by URL"
        if "input" in value and value.get("type") == "tool_use":  # the agent's own words, fetched by nobody
            return None
        found = (_source_by_url(inner, depth + 1) for inner in value.values())
    elif isinstance(value, list):
        found = (_source_by_url(inner, depth + 1) for inner in value)
    else:
        return None
    return next((why for why in found if why is not None), None)
