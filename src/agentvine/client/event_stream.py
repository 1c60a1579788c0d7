"""Events as they happen, across broken connections and restarts of the server: none lost, none twice."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse
from pydantic import JsonValue, TypeAdapter

from agentvine.client.transport import CONNECT_SECONDS, POOL_SECONDS, WRITE_SECONDS, APIClient, retry_after
from agentvine.domain.errors import AgentVineError, ServerFault, Unavailable
from agentvine.domain.event import Event, EventKind
from agentvine.kit.doorbell import pause
from agentvine.wire import routes
from agentvine.wire.problems import from_reply

_KINDS = frozenset(EventKind)
_SAID: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
SILENCE_SECONDS = 45.0
"""The server sends a comment every 15 s; after three that did not come, the connection is dead."""
_TIMEOUTS = httpx.Timeout(connect=CONNECT_SECONDS, write=WRITE_SECONDS, read=SILENCE_SECONDS, pool=POOL_SECONDS)


class EventStream:
    """Reads `GET /events` from a position on, and remembers how far it came."""

    def __init__(self, api: APIClient, after: int | None, task_id: str | None) -> None:
        self._api = api
        self.position = after
        """How far it came. None: nothing was heard yet; what is to come begins with the first word."""
        self._task_id = task_id

    async def events(self) -> AsyncIterator[Event]:
        """Each event once, without end. Connects again after a break. Raises whatever the server refuses, and
        `Unavailable` once the server has been away for longer than the client's patience."""
        lost_at, attempt = self._api.clock.elapsed(), 0
        while True:
            connected, failure = False, None
            try:
                async with aclosing(self._connection()) as received:
                    async for event in received:
                        connected = True
                        if event is not None:
                            yield event
            except Unavailable as error:
                failure = error
            if connected:
                lost_at, attempt = self._api.clock.elapsed(), 0
            attempt += 1
            delay = self._api.backoff.delay(attempt)
            if failure and self._api.clock.elapsed() - lost_at + delay > self._api.patience:
                raise failure
            await pause(delay)

    async def _connection(self) -> AsyncGenerator[Event | None, None]:
        """Events of one connection; None for a sign of life without one, first of all when the server accepts."""
        headers = {} if self.position is None else {"Last-Event-ID": str(self.position)}
        parameters = {} if self._task_id is None else {"task_id": self._task_id}
        try:
            async with aconnect_sse(
                self._api.http,
                routes.EVENTS.method,
                routes.EVENTS.url(),
                headers=headers,
                params=parameters,
                timeout=_TIMEOUTS,
            ) as source:
                if not source.response.is_success:
                    raise await _refusal(source.response)
                yield None
                async with aclosing(source.aiter_sse()) as messages:
                    async for message in messages:
                        yield self._take(message)
        except httpx.TransportError as error:
            raise self._api.unreachable(error) from error

    def _take(self, message: ServerSentEvent) -> Event | None:
        if message.id:
            self.position = int(message.id)
        if not message.data:
            return None
        said = _SAID.validate_json(message.data)
        return Event.model_validate(said) if said.get("kind") in _KINDS else None  # a newer server knows more kinds


async def _refusal(response: httpx.Response) -> AgentVineError:
    error = from_reply(response.status_code, await response.aread())
    if isinstance(error, Unavailable | ServerFault):
        return Unavailable(error.message, retry_after=retry_after(response))
    return error
