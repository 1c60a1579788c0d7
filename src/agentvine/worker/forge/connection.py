"""One patient connection to a forge's API: retries, rate limits, timeouts and redirects are decided here.

Which calls are tried again in place. One that only reads or takes away, and one whose caller knows that twice is the
same as once: after anything that may pass. Any call: if it surely did nothing, because the forge was not reached or
said to come back later. Another call that writes is never repeated blindly: if its fate is unknown (no answer, half of
one, one that cannot be understood, or 5xx) it raises `Unsure`, and the caller looks what is there. So it is with a
change of a text, too: a person may have written into it since.

How long: a further try begins only within `patience` seconds. A forge that asks for a longer pause gets it:
`ForgeUnavailable` says how long, and the slot is free until then.

The token is in a header, made anew for each request; addresses, messages and logs never hold it. Redirects are followed
to the same origin only (a renamed repository's is its id on the same host), so it reaches no other host. Logs are the
exception (`tail`): forges keep them elsewhere, and whoever has the address needs no token.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self, TypeVar

import httpx
from pydantic import JsonValue

from agentvine import __version__
from agentvine.domain.retry import FailureReason
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger, redact
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable
from agentvine.worker.forge.limits import limit_of, retry_after

PATIENCE = 60.0
CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
"""A handshake across the world and two lost packets; a pull request over thousands of files is made within ten."""
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 307, 308})
_MOST_WORDS = 500
_LARGEST = 64 * 1024 * 1024
_NUMBER = re.compile(r"[0-9]{1,9}")
_READS = 4
"""So many times as long as for any part of an answer may be waited for all of it."""
_HARMLESS = frozenset({"GET", "DELETE"})
_OF_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})

_log = logger("forge")

Authorize = Callable[[], Awaitable[Mapping[str, str]]]
"""Makes the headers that say who asks. Raises ForgeProblem."""
Parameters = Mapping[str, str | int]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Told:
    """What a forge answered with a status below 300."""

    status: int
    body: bytes
    value: JsonValue
    entries: int = 0
    """How many the whole list has of which this is a page, as far as the forge says it."""
    goes_on: bool = False
    """The forge says that there is a next page."""


class Unsure(Exception):
    """A call was sent and nobody knows whether it was carried out: look before the next one."""


class Refusal(Exception):
    """A 4xx that is not about who asks, or how often. The caller may know what it means."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{said} ({status})" if said else f"it answers {status}")
        self.status = status
        self.said = said


def not_permitted(who: str, what: str, refusal: Refusal) -> ForgeRefused:
    """What becomes of a 403: `who` was told that the token may not do `what`."""
    return ForgeRefused(
        f"{who}: the token may not {what} ({refusal}); give it the permissions that docs/forges.md lists",
        FailureReason.REPOSITORY_AUTH_FAILED,
    )


class _Again(Exception):
    """This try failed and did nothing, or may be repeated."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class Connection:
    """Speaks to one forge as one user. `name` is for messages; `api` is the address below which all calls are."""

    def __init__(
        self,
        name: str,
        api: str,
        authorize: Authorize,
        *,
        clock: Clock,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
        backoff: Backoff | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self.name = name
        self.api = httpx.URL(f"{api.rstrip('/')}/")
        self.clock = clock
        self.patience = patience
        self.backoff = backoff or Backoff(first=0.5, most=10.0)
        self._authorize = authorize
        self._longest_read = _READS * read_seconds
        self._http = httpx.AsyncClient(
            headers={"User-Agent": f"agentvine/{__version__}", "Accept": "application/json", **(headers or {})},
            timeout=httpx.Timeout(read_seconds, connect=CONNECT_SECONDS),
            follow_redirects=False,
            verify=True if self.api.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=not _is_loopback(self.api.host),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, path: str, parameters: Parameters | None = None, *, accept: str | None = None) -> Told:
        """What is at `path`. Raises Refusal, ForgeProblem."""
        return await self.send("GET", path, parameters=parameters, accept=accept)

    async def send(
        self,
        method: str,
        path: str,
        body: JsonValue = None,
        *,
        parameters: Parameters | None = None,
        accept: str | None = None,
        repeatable: bool = False,
    ) -> Told:
        """One call, tried as this module says. `path`: quoted, without a slash before it.

        `repeatable`: that done twice it comes to the same as once, whatever people did meanwhile; GET and DELETE always
        do. Raises Refusal, Unsure, ForgeProblem.
        """
        may_repeat = repeatable or method in _HARMLESS
        request = self._http.build_request(
            method, self.api.join(path), json=body, params=parameters, headers={"Accept": accept} if accept else None
        )
        if body is None:
            request.headers.pop("Content-Type", None)
        return await self._patiently(lambda: self._try(request, may_repeat))

    async def tail(self, path: str, most: int) -> bytes:
        """The last `most` bytes of what is at `path`, a long text that may be kept on another host.

        That host is asked without the token. Raises Refusal, ForgeProblem.
        """
        return await self._patiently(lambda: self._try_tail(path, most))

    async def _patiently(self, do: Callable[[], Awaitable[_T]]) -> _T:
        """Do it again as often as this module says."""
        began, attempt = self.clock.elapsed(), 0
        while True:
            attempt += 1
            try:
                return await do()
            except _Again as again:
                asked_for = again.wait or 0.0
                delay = max(asked_for, self.backoff.delay(attempt))
                if self.clock.elapsed() - began + delay > self.patience:
                    raise ForgeUnavailable(f"{self.name}: {again}", again.wait) from again
                _log.info("trying again", forge=self.name, why=str(again), attempt=attempt)
            await pause(delay)

    async def _try_tail(self, path: str, most: int) -> bytes:
        request = await self._signed(self._http.build_request("GET", self.api.join(path)))
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                async with asyncio.timeout(self._longest_read):
                    response = await self._http.send(request, stream=True)
                    try:
                        if response.status_code < 300:
                            return await _last_of(response, most)
                        await response.aread()
                    finally:
                        await response.aclose()
            except (httpx.RequestError, TimeoutError) as error:
                raise _Again(f"{request.url.host} does not answer ({_words(error)})") from error
            if response.status_code not in _REDIRECTS:
                if response.status_code in {401, 403} and not self._is_home(request.url):  # nobody signs in there
                    raise Refusal(response.status_code, f"{request.url.host} gives nothing")
                self._understood(response, may_repeat=True)
            request = await self._elsewhere(response)
        raise Refusal(302, "one redirect leads to the next")

    async def _elsewhere(self, response: httpx.Response) -> httpx.Request:
        """A request to where the answer says: signed at the forge itself, of nobody and over TLS anywhere else."""
        try:
            there = response.url.join(response.headers.get("Location", ""))
        except httpx.InvalidURL:
            raise Refusal(response.status_code, "a redirect to no address") from None
        request = self._http.build_request("GET", there)
        if self._is_home(there):
            return await self._signed(request)
        if there.scheme not in {"https", self.api.scheme} or not there.host:
            raise Refusal(response.status_code, f"a redirect to {there.scheme}://{there.host}")
        return request

    async def _signed(self, request: httpx.Request) -> httpx.Request:
        request.headers.update(await self._authorize())
        return request

    def _is_home(self, url: httpx.URL) -> bool:
        return (url.scheme, url.host, url.port) == (self.api.scheme, self.api.host, self.api.port)

    async def _try(self, request: httpx.Request, may_repeat: bool) -> Told:
        for _ in range(_MOST_REDIRECTS + 1):
            response = await self._answer(request, may_repeat)
            if response.status_code not in _REDIRECTS:
                return self._understood(response, may_repeat)
            request = self._redirected(request, response)
        raise ForgeRefused(f"{self.name}: one redirect leads to the next; check the forge's address")

    async def _answer(self, request: httpx.Request, may_repeat: bool) -> httpx.Response:
        await self._signed(request)
        try:
            async with asyncio.timeout(self._longest_read):
                return await self._whole(await self._http.send(request, stream=True))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _Again(f"it cannot be reached ({_words(error)})") from error
        except (httpx.RequestError, TimeoutError) as error:
            why = f"it does not answer ({_words(error)})"
            raise _Again(why) if may_repeat else Unsure(f"{self.name}: {why}") from error

    async def _whole(self, response: httpx.Response) -> httpx.Response:
        """The answer with its body, unpacked. Raises ForgeRefused for one that does not end."""
        body = bytearray()
        try:
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _LARGEST:
                    raise ForgeRefused(f"{self.name} answers with more than {_LARGEST} bytes")
        finally:
            await response.aclose()
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_BODY]
        return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)

    def _redirected(self, request: httpx.Request, response: httpx.Response) -> httpx.Request:
        """The same request to where the answer says, if that is the same origin."""
        try:
            there = response.url.join(response.headers.get("Location", ""))
        except httpx.InvalidURL:
            raise ForgeRefused(f"{self.name} answers with a redirect to no address") from None
        if not self._is_home(there):
            raise ForgeRefused(
                f"{self.name} sends on to {there.scheme}://{there.host}; the token is not taken there. "
                "If that is the forge, write its address into the settings",
                FailureReason.REPOSITORY_NOT_FOUND,
            )
        return self._http.build_request(
            request.method, there, content=request.content, headers=_kept(request.headers, request.content)
        )

    def _understood(self, response: httpx.Response, may_repeat: bool) -> Told:
        status = response.status_code
        if status < 300:
            return self._told(response, may_repeat)
        said = _said(response)
        wait = limit_of(response, said, self.clock.now())
        if wait is not None:
            raise _Again(f"its rate limit is reached ({status})", wait)
        if status == 408 or status >= 500:
            why = f"it answers {status}"
            raise _Again(why, retry_after(response, self.clock.now())) if may_repeat else Unsure(f"{self.name}: {why}")
        if status == 401:
            raise ForgeRefused(
                f"{self.name} does not know the token that it was shown ({said or status}); it may have expired or "
                "been revoked: store a new one (docs/forges.md)",
                FailureReason.REPOSITORY_AUTH_FAILED,
            )
        raise Refusal(status, said)

    def _told(self, response: httpx.Response, may_repeat: bool) -> Told:
        kind = response.headers.get("Content-Type", "")
        if not response.content or "json" not in kind:
            return Told(response.status_code, response.content, None)
        try:
            value = response.json()
        except ValueError:
            why = f"{self.name} answers with something that is no JSON"
            raise _Again(why) if may_repeat else Unsure(why) from None
        total = response.headers.get("X-Total-Count", "")
        entries = int(total) if _NUMBER.fullmatch(total) else 0
        return Told(response.status_code, response.content, value, entries, "next" in response.links)


async def _last_of(response: httpx.Response, most: int) -> bytes:
    """The last `most` bytes of an answer that is being read, of which no more is kept than twice as much."""
    kept, read = bytearray(), 0
    async for part in response.aiter_bytes():
        read += len(part)
        if read > _LARGEST:
            break
        kept += part
        if len(kept) > 2 * most:
            del kept[:-most]
    return bytes(kept[-most:])


def _kept(headers: httpx.Headers, content: bytes) -> dict[str, str]:
    kept = {name: headers[name] for name in ("Accept",) if name in headers}
    return {**kept, "Content-Type": "application/json"} if content else kept


def _said(response: httpx.Response) -> str:
    """What an error answer says, in one line."""
    try:
        value = response.json()
    except ValueError:
        return ""
    words: list[str] = []
    _collect(value, words)
    return redact(" ".join("; ".join(dict.fromkeys(words)).split()))[:_MOST_WORDS]


def _collect(value: JsonValue, words: list[str]) -> None:
    """The messages in the forms that forges use: a text, a list of them, texts by field."""
    if isinstance(value, str):
        words.append(value)
    elif isinstance(value, list):
        for one in value:
            _collect(one, words)
    elif isinstance(value, dict):
        if isinstance(value.get("field"), str) and not value.get("message"):
            words.append(f"{value['field']}: {value.get('code', 'invalid')}")
        for name, one in value.items():
            if name not in {"documentation_url", "url", "status", "resource", "field", "code"}:
                _collect(one, words)


def _words(error: Exception) -> str:
    return redact(str(error)) or type(error).__name__


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
