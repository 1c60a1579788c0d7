"""The channels on which people are told: our own signed webhook, and whatever apprise knows how to reach.

A webhook follows the Standard Webhooks specification (1.0.0): the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`, which is `v1,` and the base64 of an HMAC-SHA-256 over `id.timestamp.body`. Any 2xx is a delivery,
410 ends the channel, all else is tried again; redirects are not followed.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from agentvine.kit.clock import Clock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.process import SYSTEM_PATH, ProcessError, run
from agentvine.server.notices import Notice
from agentvine.server.notify_apprise import NOT_INSTALLED, UNKNOWN_ADDRESS
from agentvine.server.settings import ServerSettings, What, webhook_key

SEND_SECONDS = 15.0
"""The longest that one delivery may take, whatever the other side does."""
_APPRISE_SECONDS = 60.0
_LISTED = 5
_LONGEST_DELAY = 3600.0


class SendFailed(Exception):
    """It was not delivered. `gone`: it never will be. `retry_after`: seconds in which it makes no sense to try."""

    def __init__(self, message: str, *, gone: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.gone = gone
        self.retry_after = retry_after


class Channel(Protocol):
    """One way to tell people. `name` is fit for logs, `reader` is its name among the readers of events."""

    name: str
    reader: str
    gathers: bool
    """True: people read it, so many notices become one message."""

    async def send(self, notices: Sequence[Notice]) -> None:
        """Deliver them, all or none; one at a time unless it gathers. Raises SendFailed."""
        ...


class Webhook:
    """Posts each notice as signed JSON. With two keys each delivery has two signatures, so that keys can be changed."""

    gathers = False

    def __init__(
        self, url: str, keys: Sequence[bytes], clock: Clock, number: int = 1, seconds: float = SEND_SECONDS
    ) -> None:
        self.name = f"webhook {number} ({urlsplit(url).hostname})"
        self.reader = _reader("webhook", url)
        self._url = url
        self._keys = tuple(keys)
        self._clock = clock
        self._seconds = seconds
        self._tls: ssl.SSLContext | None = None

    async def send(self, notices: Sequence[Notice]) -> None:
        """As in `Channel`."""
        await asyncio.to_thread(import_module, "httpx")  # slow to import, and few servers have a webhook
        import httpx

        for notice in notices:
            body = notice.model_dump_json().encode()
            headers = {"content-type": "application/json", **self._signed(notice.id, body)}
            try:
                async with asyncio.timeout(self._seconds):
                    await self._post(body, headers)
            except TimeoutError as error:
                raise SendFailed(f"no answer within {self._seconds:g} s") from error
            except (httpx.HTTPError, OSError, ValueError) as error:
                raise SendFailed(f"{type(error).__name__}: {error}") from error

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        import httpx

        if self._tls is None:  # reading all certificates takes a while
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        async with (
            httpx.AsyncClient(follow_redirects=False, timeout=self._seconds, verify=self._tls) as http,
            http.stream("POST", self._url, content=body, headers=headers) as response,  # its body is not read
        ):
            if response.is_success:
                return
            delay = response.headers.get("retry-after", "")
            raise SendFailed(
                f"HTTP {response.status_code}",
                gone=response.status_code == httpx.codes.GONE,
                retry_after=min(float(delay), _LONGEST_DELAY) if delay.isascii() and delay.isdigit() else 0.0,
            )

    def _signed(self, delivery: str, body: bytes) -> dict[str, str]:
        at = str(int(self._clock.now().timestamp()))
        signed = f"{delivery}.{at}.".encode() + body
        signatures = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in self._keys]
        return {
            "webhook-id": delivery,
            "webhook-timestamp": at,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }


class Apprise:
    """Sends through apprise, in a process of its own: a plug-in that hangs is ended, and the server loads none."""

    gathers = True

    def __init__(self, url: str, number: int = 1) -> None:
        self.name = f"apprise {number} ({url.partition('://')[0]})"
        self.reader = _reader("apprise", url)
        self._url = url

    async def send(self, notices: Sequence[Notice]) -> None:
        """As in `Channel`."""
        title, body = in_words(notices)
        if code := await self._call({"url": self._url, "title": title, "body": body}):
            raise SendFailed(f"apprise could not deliver it (exit code {code})")

    async def check(self) -> str | None:
        """What is wrong with the address; None if apprise understands it."""
        code = await self._call({"url": self._url})
        if code == NOT_INSTALLED:
            return "apprise is not installed; install agentvine[notify]"
        return "apprise does not understand it" if code == UNKNOWN_ADDRESS else None

    async def _call(self, message: dict[str, str]) -> int:
        argv = [sys.executable, "-m", "agentvine.server.notify_apprise"]
        environment = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "HOME": "/nonexistent"}
        said = json.dumps(message).encode()
        try:
            done = await run(argv, cwd=Path("/"), env=environment, timeout=_APPRISE_SECONDS, stdin=said, guarded=True)
        except (ProcessError, OSError) as error:
            raise SendFailed(f"apprise: {type(error).__name__}") from error
        return done.exit_code


def in_words(notices: Sequence[Notice]) -> tuple[str, str]:
    """Title and text of one message about all of them, which calls nobody: `@` and `<!` are for people's own words."""
    first = notices[0]
    if len(notices) == 1:
        title = {What.WAITS: "A question waits", What.FAILED: "A task failed", What.COMPLETED: "A task is done"}
        lines = [f"{first.title}", f"{first.type.value} in {first.repository}", first.question or first.reason]
        return title[first.what], _harmless("\n".join([*filter(None, lines), first.command]))
    counts = {what: sum(each.what is what for each in notices) for what in What}
    named = {What.WAITS: "wait", What.FAILED: "failed", What.COMPLETED: "done"}
    head = ", ".join(f"{count} {named[what]}" for what, count in counts.items() if count)
    lines = [f"{each.what.value}: {each.title} ({each.task_id[-8:]})" for each in notices[:_LISTED]]
    more = [f"and {len(notices) - _LISTED} more"] if len(notices) > _LISTED else []
    return f"AgentVine: {head}", _harmless("\n".join([*lines, *more, "agentvine inbox; agentvine tasks"]))


def _harmless(text: str) -> str:
    return text.replace("@", "@\u200b").replace("<", "<\u200b")


def _reader(kind: str, url: str) -> str:
    return f"notify:{kind}:{hashlib.sha256(url.encode()).hexdigest()[:16]}"


async def channels(settings: ServerSettings, clock: Clock) -> tuple[Channel, ...]:
    """The channels that an operator has asked for. Raises ConfigurationError with all that is wrong with them."""
    keys = [webhook_key(secret.get_secret_value()) for secret in settings.webhook_secret]
    webhooks = [
        Webhook(url.get_secret_value(), keys, clock, number) for number, url in enumerate(settings.webhook_urls, 1)
    ]
    reached = [Apprise(url.get_secret_value(), number) for number, url in enumerate(settings.notify, 1)]
    mistakes = []
    for number, channel in enumerate(reached, 1):
        try:
            wrong = await channel.check()
        except SendFailed as error:
            wrong = f"it cannot be tried: {error}"
        if wrong is not None:
            mistakes.append(f"AGENTVINE_SERVER_NOTIFY: {wrong} (item {number})")
    if mistakes:
        raise ConfigurationError(*mistakes)
    return (*webhooks, *reached)
