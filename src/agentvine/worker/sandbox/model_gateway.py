"""The only way from a box to the model: adds the key that the box does not have, and counts what is used.

It forwards `POST /v1/messages`, `POST /v1/messages/count_tokens` and `HEAD /`, and nothing else. Headers pass by a list
in both directions. A request that would make the model's side fetch from the internet (its own web tools, remote MCP
servers, content by URL) is refused, for that would be a way round the proxy. Redirects are not followed. What was sent
is paid for, whether or not the box waits for the answer. When the budget is spent, the next call is answered 402 as the
API itself would, and the agent ends; the budget is exceeded by one answer at the most (see spending.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import h11
import httpx

from agentvine.domain.execution import Usage
from agentvine.kit.clock import Clock
from agentvine.worker.sandbox.base import EgressRecord, Upstream, Way
from agentvine.worker.sandbox.judgement import Judged, Refusal, judge
from agentvine.worker.sandbox.metering import PriceList, error_body, list_prices
from agentvine.worker.sandbox.serving import Conversation, Door
from agentvine.worker.sandbox.spending import Charge, Spending

MOST_CONNECTIONS = 8
REQUEST_LIMIT = 32 << 20
"""As the API's own."""
ROOM = 64 << 20
"""Bytes of all requests of a box that are held at once."""
ANSWER_LIMIT = 64 << 20
MOST_UNREADABLE = 50
"""So many requests that are too large or make no sense a box may send in its life; then it is served no longer."""
_SMALL = 32 << 10
"""A request up to this size is judged at once, a larger one in a thread, one at a time."""
_MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_KEEP_ALIVE_SECONDS = 300.0
_TAKE_SECONDS = 60.0
"""So long a box may take for a piece of an answer; then it counts as gone."""
_DRAIN_SECONDS = 600.0
"""So long an answer is read on after the box has gone."""
_TIMEOUTS = httpx.Timeout(connect=15, read=600, write=60, pool=15)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_HEADERS_OUT = frozenset(
    {"accept", "content-type", "user-agent", "x-app", "anthropic-version", "anthropic-beta"}
    | {"anthropic-dangerous-direct-browser-access"}
)
_PREFIXES_OUT = ("x-stainless-", "x-claude-code-")
_HEADERS_BACK = frozenset({"content-type", "request-id", "retry-after", "x-should-retry"})
_PREFIXES_BACK = ("anthropic-ratelimit-",)
_JSON = {"content-type": "application/json"}


@dataclass(slots=True)
class _Exchange:
    """One request, for the record."""

    what: str
    sent: int = 0
    received: int = 0
    trouble: str = "hung up"


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
        self._clock = clock
        self._spending = Spending(upstream.budget_usd, prices or list_prices(), meter)
        self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=_TIMEOUTS)
        self._judging = asyncio.Lock()
        self._held = 0
        self._unreadable = 0

    @property
    def usage(self) -> Usage:
        """What has been used so far, answers under way included."""
        return self._spending.usage

    @property
    def spent(self) -> bool:
        """Whether the budget is used up."""
        return self._spending.spent

    async def close(self) -> None:
        """Close the connections to the model."""
        await self._client.aclose()

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Conversation(reader, writer)
        again = True
        while again and not self.is_shut:
            request = await client.request(_KEEP_ALIVE_SECONDS)
            if request is None:
                return
            again = await self._answer(client, request)

    async def _answer(self, client: Conversation, request: h11.Request) -> bool:
        """Answer one request. True if the connection may bring another."""
        what = f"{request.method.decode()} {request.target.decode('latin-1')}".encode("unicode_escape").decode()[:300]
        exchange = _Exchange(what)
        try:
            body = await self._body(client, exchange)
            path, query = _place(request)
            if request.method == b"HEAD":
                return await client.answer(200, b"", {})
            judged = await self._judged(body)
            body.clear()
            async with self._spending.charge(judged.asked, len(judged.body), free=path == _COUNT) as charge:
                return await self._forward(client, request, path + query, judged, charge, exchange)
        except Refusal as refusal:
            return await self._refuse(client, refusal, exchange)
        finally:
            self._held -= exchange.sent

    async def _body(self, client: Conversation, exchange: _Exchange) -> bytearray:
        """All of a request's body. Raises Refusal; the rest of the request is then unread."""
        body = bytearray()
        async for piece in client.body():
            body += piece
            exchange.sent += len(piece)
            self._held += len(piece)
            if len(body) > REQUEST_LIMIT:
                raise Refusal(413, "request_too_large", f"a request may have {REQUEST_LIMIT} bytes")
            if self._held > ROOM:
                raise Refusal(429, "rate_limit_error", "too many large requests at once")
        return body

    async def _judged(self, body: bytearray) -> Judged:
        server_tools = self._upstream.server_tools
        if len(body) <= _SMALL:
            return judge(body, server_tools=server_tools)
        async with self._judging:
            return await asyncio.to_thread(judge, body, server_tools=server_tools)

    async def _refuse(self, client: Conversation, refusal: Refusal, exchange: _Exchange) -> bool:
        self._note(exchange, refusal.message, allowed=False)
        if refusal.status in {400, 413}:
            self._unreadable += 1
            if self._unreadable >= MOST_UNREADABLE:
                self.shut("too many of its requests to the model were too large or made no sense")
        advice = {} if refusal.status == 429 else {"x-should-retry": "false"}
        return await client.answer(refusal.status, error_body(refusal.kind, refusal.message), {**_JSON, **advice})

    async def _forward(
        self,
        client: Conversation,
        request: h11.Request,
        place: str,
        judged: Judged,
        charge: Charge,
        exchange: _Exchange,
    ) -> bool:
        headers = _passing(request.headers, _HEADERS_OUT, _PREFIXES_OUT) | {"accept-encoding": "identity"}
        if self._upstream.api_key:
            headers["x-api-key"] = self._upstream.api_key
        try:
            if client.gone:  # it may have waited for its turn
                charge.owed = False
                return False
            url = self._upstream.base_url.rstrip("/") + place
            async with self._client.stream("POST", url, content=judged.body, headers=headers) as answer:
                charge.owed = charge.owed and answer.is_success
                if not await _pass_back(client, answer, exchange, charge):
                    return False
            exchange.trouble = "" if answer.is_success else f"answered {answer.status_code}"
            return await client.end()
        except (Refusal, httpx.HTTPError) as error:
            charge.owed = charge.owed and not isinstance(error, _NOT_SENT)
            told = error.message if isinstance(error, Refusal) else f"no answer ({type(error).__name__})"
            exchange.trouble = told
            if client.answering:
                return False
            return await client.answer(502, error_body("api_error", f"the model cannot be reached: {told}"), _JSON)
        finally:
            self._note(exchange, exchange.trouble, allowed=True)

    def _note(self, exchange: _Exchange, reason: str, *, allowed: bool) -> None:
        now, what = self._clock.now(), exchange.what
        self._record(EgressRecord(now, Way.MODEL, what, allowed, reason, exchange.sent, exchange.received))


async def _pass_back(client: Conversation, answer: httpx.Response, exchange: _Exchange, charge: Charge) -> bool:
    """Read the answer to its end, and pass it on as long as the box listens. False if it has hung up."""
    if answer.is_redirect:
        raise Refusal(502, "api_error", "it redirects elsewhere, which is not followed")
    head = _passing(answer.headers.raw, _HEADERS_BACK, _PREFIXES_BACK)
    async with asyncio.timeout(None) as draining:
        listens = await _taken(client.head(answer.status_code, head))
        async for piece in answer.aiter_bytes():
            exchange.received += len(piece)
            if exchange.received > ANSWER_LIMIT:
                raise h11.LocalProtocolError("the answer is too large")
            charge.read(piece)
            listens = listens and await _taken(client.data(piece))
            if not listens and draining.when() is None:
                draining.reschedule(asyncio.get_running_loop().time() + _DRAIN_SECONDS)
    charge.complete()
    return listens


async def _taken(sending: Awaitable[None]) -> bool:
    """Whether the box took what was sent."""
    try:
        async with asyncio.timeout(_TAKE_SECONDS):
            await sending
    except OSError:  # TimeoutError among them
        return False
    return True


def _place(request: h11.Request) -> tuple[str, str]:
    """Path and query. Raises Refusal for a place that is not served."""
    path, mark, query = request.target.decode("latin-1").partition("?")
    if (request.method, path) not in {(b"POST", _MESSAGES), (b"POST", _COUNT), (b"HEAD", "/")}:
        raise Refusal(404, "not_found_error", "the gateway forwards only messages and their token counts")
    if not all(character.isalnum() or character in "=&._-" for character in query):
        raise Refusal(400, "invalid_request_error", "the query holds characters that do not belong there")
    return path, mark + query


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
