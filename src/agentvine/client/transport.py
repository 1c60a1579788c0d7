"""One patient HTTP connection to the server: every retry and every timeout is decided here.

Which calls are tried again. All but a few may be sent twice without harm: a worker's are tied to a lease token or to an
id that the worker made, a submission to its Idempotency-Key. A call of which that is not true says `idempotent=False`;
then only what surely did not reach the server is tried again.

How long one try may take:
    connect   5 s    two lost SYNs (1 s + 2 s, RFC 6298 section 2) and a slow handshake
    write    30 s    for the next chunk to leave, not for the whole body
    read     wait + 15 s    a long poll's own wait, then what the server may need for a commit behind a full queue
    pool     10 s    all connections of this client are busy: something is wrong, or they are all parked
How long all tries together may take is the caller's choice, `patience`: a worker outlasts a restart of the server, a
person at a terminal does not. It decides whether a further try begins; one that has begun has the times above.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from agentvine import __version__
from agentvine.domain.base import Model
from agentvine.domain.errors import InvalidInput, ServerFault, Unavailable
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.doorbell import pause
from agentvine.wire.problems import from_reply
from agentvine.wire.routes import Route

CONNECT_SECONDS = 5.0
WRITE_SECONDS = 30.0
READ_MARGIN_SECONDS = 15.0
POOL_SECONDS = 10.0
CONNECTIONS = 100
"""Connections at once. A worker needs one parked claim and a few short calls."""
KEEP_ALIVE_SECONDS = 60.0
"""An idle connection is dropped after this time: before the server does it (75 s) while a request is on its way."""

_NEVER_REACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_REFUSED_FOR_NOW = 429
_PERHAPS_DONE = frozenset({502, 503, 504})
_Answer = TypeVar("_Answer")
Parameters = Mapping[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, whatever it takes to get an answer to it."""

    route: Route
    ids: Mapping[str, str]
    content: bytes | None = None
    content_type: str = "application/json"
    parameters: Parameters | None = None
    headers: Mapping[str, str] | None = None
    wait_seconds: float = 0.0
    idempotent: bool = True


class APIClient:
    """Speaks to one server with one key. Use it as an async context manager, or `close` it.

    `patience`: seconds after which no further try is begun. Raises `InvalidInput` for an address or a key that is none.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        patience: float = 10.0,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.patience = patience
        self.backoff = backoff or Backoff(first=0.2, most=10.0)
        self.clock = clock or SystemClock()
        self.http = _http_client(self.base_url, key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of all connections."""
        await self.http.aclose()

    async def fetch(self, answer: type[_Answer], call: Call) -> _Answer:
        """The answer to `call` as an `answer`. Raises the error that the server raised, or `Unavailable`."""
        return _parse(answer, await self.send(call), self.base_url)

    async def fetch_if_any(self, answer: type[_Answer], call: Call) -> _Answer | None:
        """As `fetch`, for a call to which 204 means that there was nothing."""
        body = await self.send(call)
        return _parse(answer, body, self.base_url) if body else None

    async def send(self, call: Call) -> bytes:
        """The body of the answer to `call`, retried as this module's docstring says."""
        began, attempt = self.clock.elapsed(), 0
        while True:
            attempt += 1
            try:
                return await self._try(call)
            except _Again as again:
                delay = max(self.backoff.delay(attempt), again.retry_after)
                if self.clock.elapsed() - began + delay > self.patience:
                    raise again.error from again.__cause__
            await pause(delay)

    async def _try(self, call: Call) -> bytes:
        try:
            response = await self.http.request(
                call.route.method,
                call.route.url(**call.ids),
                content=call.content,
                params=_given(call.parameters),
                headers=_headers(call),
                timeout=timeouts(call.wait_seconds),
            )
        except httpx.TransportError as error:
            unreachable = self.unreachable(error)
            if call.idempotent or isinstance(error, _NEVER_REACHED):
                raise _Again(unreachable) from error
            raise unreachable from error
        return _accept(call, response)

    def unreachable(self, error: httpx.TransportError) -> Unavailable:
        """What to tell whoever wanted to reach the server."""
        why = str(error) or type(error).__name__
        return Unavailable(
            f"the AgentVine server at {self.base_url} does not answer ({why}); "
            "is it running? `agentvine up` starts one, API_URL names another",
            url=self.base_url,
        )


class _Again(Exception):
    """This try failed; another may succeed."""

    def __init__(self, error: Exception, retry_after: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


def timeouts(wait_seconds: float = 0.0) -> httpx.Timeout:
    """The timeouts of one try, by the arithmetic above."""
    return httpx.Timeout(
        connect=CONNECT_SECONDS, write=WRITE_SECONDS, read=wait_seconds + READ_MARGIN_SECONDS, pool=POOL_SECONDS
    )


def _http_client(base_url: str, key: str | None) -> httpx.AsyncClient:
    url = _address(base_url)
    headers = {"User-Agent": f"agentvine/{__version__}"}
    if key:
        headers["Authorization"] = f"Bearer {_printable(key)}"
    return httpx.AsyncClient(
        base_url=url,
        headers=headers,
        limits=httpx.Limits(
            max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS
        ),
        # Reading the system's certificates takes 0.1 s. A plain connection needs none; an empty context trusts nobody.
        verify=True if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        trust_env=not _is_loopback(url.host),  # a proxy does not lead back to this machine
    )


def _printable(key: str) -> str:
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise InvalidInput("the API key holds characters that no key has; was it cut or pasted with something else?")
    return key


def _address(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise InvalidInput(f"'{base_url}' is no URL: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidInput(f"write the server's address as http://host:port or https://host, not '{base_url}'")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _given(parameters: Parameters | None) -> dict[str, str | int | float] | None:
    return {name: value for name, value in parameters.items() if value is not None} if parameters else None


def _headers(call: Call) -> dict[str, str]:
    headers = dict(call.headers or {})
    if call.content is not None:
        headers["Content-Type"] = call.content_type
    return headers


def _accept(call: Call, response: httpx.Response) -> bytes:
    status = response.status_code
    if response.is_success:
        return response.content
    if status < 400:
        raise Unavailable(
            f"the server at {response.url} leads to {response.headers.get('Location', 'nowhere')}; use that address"
        )
    error = from_reply(status, response.content)
    if status == _REFUSED_FOR_NOW or (status in _PERHAPS_DONE and call.idempotent):
        raise _Again(error, retry_after(response))
    raise error


def retry_after(response: httpx.Response) -> float:
    """Seconds, as the server asked (RFC 9110 section 10.2.3); 0 if it did not, or named a date."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def _parse(answer: type[_Answer], body: bytes, base_url: str) -> _Answer:
    try:
        return _adapter(answer).validate_json(body)
    except ValidationError as error:
        raise ServerFault(
            f"what {base_url} answered is not what an AgentVine server says; does the address lead to one, "
            f"and is it as new as this program ({__version__})? {error.errors(include_url=False)[:1]}"
        ) from error


_ADAPTERS: dict[object, TypeAdapter[object]] = {}


def _adapter(answer: type[_Answer]) -> TypeAdapter[_Answer]:
    """Adapters are dear to make and never change: each is made once."""
    if answer not in _ADAPTERS:
        _ADAPTERS[answer] = TypeAdapter(answer)
    return _ADAPTERS[answer]  # type: ignore[return-value]  # keyed by its own type


def to_json(message: Model) -> bytes:
    """A message as the body of a request."""
    return message.model_dump_json().encode()
