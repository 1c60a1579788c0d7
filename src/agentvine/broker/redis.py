"""The broker over the Redis protocol (Redis 6.2 or later, Valkey).

Nothing here is truth, so nothing here is waited for: each command has a second, what goes wrong is `BrokerUnavailable`,
and a key that somebody filled with something else is emptied. RESP2 is spoken, which every such server knows.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import redis.asyncio as redis
from pydantic import BaseModel, ValidationError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from agentvine.broker.base import BrokerUnavailable, Received
from agentvine.kit.backoff import Backoff
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.wire.channels import (
    CONTROLLER_GROUP,
    DOORBELL,
    RESPONSES_EXPIRE_SECONDS,
    STREAM_LENGTH,
    WORKER_REQUESTS,
    RequestMessage,
    ResponseMessage,
    Ring,
    controller_responses,
)

_PATIENCE = 1.0
"""Seconds that one command may take, connecting included."""
_BLOCK = 5.0
"""The longest blocking read, in seconds: a server that stopped answering is noticed after `_BLOCK + _PATIENCE`."""
_BATCH = 64
"""Entries taken from a stream at a time: what one wake-up may cost however much somebody put there."""
_FIELD = b"message"

_log = logger("broker")
_M = TypeVar("_M", bound=BaseModel)
_T = TypeVar("_T")
_Entry = tuple[bytes, Mapping[bytes, bytes] | None]
"""A stream entry; None where it was deleted while it was pending (Redis 6.2)."""


class RedisBroker:
    """Implements `Broker`. Connects when it is first used, and again after every break.

    `url` is redis://, rediss:// or unix://, as redis-py reads it (`Redis.from_url`). Raises ValueError for another.
    A request that was taken and not acknowledged for `left_over_seconds` is given out again, at that pace.
    """

    def __init__(self, url: str, *, left_over_seconds: float = 10.0) -> None:
        self._left_over_seconds = left_over_seconds
        self._redis: redis.Redis = redis.Redis.from_url(
            url,
            protocol=2,
            socket_connect_timeout=_PATIENCE,
            socket_timeout=None,  # each command has its own limit; a blocking read is longer than the others
            retry=Retry(NoBackoff(), 1),  # once: a pooled connection may have died with the server it was made to
        )

    async def ring(self, ring: Ring) -> None:
        await _bounded(lambda: self._command("PUBLISH", DOORBELL, ring.model_dump_json(exclude_none=True)))

    async def rings(self) -> AsyncGenerator[Ring, None]:
        trouble = _Trouble("listening to the doorbell")
        while True:
            try:
                async with aclosing(self._listen(trouble)) as ears:
                    async for ring in ears:
                        yield ring
            except BrokerUnavailable as error:
                await trouble.wait(error)

    async def send_request(self, message: RequestMessage) -> None:
        await self._add(WORKER_REQUESTS, message)

    async def requests(self, consumer: str) -> AsyncGenerator[Received, None]:
        trouble = _Trouble("reading requests")
        mailbox = _Mailbox(consumer, self._left_over_seconds)
        while True:
            try:
                batch = await self._next_requests(mailbox)
            except BrokerUnavailable as error:
                await trouble.wait(error)
                continue
            trouble.over()
            for received in batch:
                yield received

    async def acknowledge(self, received: Received) -> None:
        await self._forget([received.entry_id])

    async def send_response(self, worker_id: str, message: ResponseMessage) -> None:
        await self._add(controller_responses(worker_id), message, expires=RESPONSES_EXPIRE_SECONDS)

    async def responses(self, worker_id: str, after: str, wait_seconds: float) -> tuple[str, list[ResponseMessage]]:
        key = controller_responses(worker_id)
        until = time.monotonic() + wait_seconds
        while True:
            block = min(until - time.monotonic(), _BLOCK)
            entries = await self._read(key, after, block)
            if entries:
                found, strange = _parse(entries, ResponseMessage)
                _report_strange(key, strange)
                return entries[-1][0].decode(), [message for _, message in found]
            if time.monotonic() >= until:
                return after, []

    async def ping(self) -> None:
        await _bounded(lambda: self._command("PING"))

    async def close(self) -> None:
        await self._redis.aclose()

    # ── the doorbell ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _listen(self, trouble: "_Trouble") -> AsyncGenerator[Ring, None]:
        """Rings over one connection, until it breaks."""
        async with self._redis.pubsub() as ears:
            await _bounded(lambda: ears.subscribe(DOORBELL))
            trouble.over()
            while True:
                message = await _bounded(lambda: ears.get_message(timeout=_BLOCK), _BLOCK)
                if message is None:
                    await _bounded(ears.ping)  # its answer is the next message; without one the connection is dead
                    message = await _bounded(lambda: ears.get_message(timeout=_PATIENCE))
                    if message is None:
                        raise BrokerUnavailable("the broker does not answer any more")
                if message["type"] == "message" and (ring := _ring_of(message["data"])):
                    yield ring

    # ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _add(self, key: str, message: BaseModel, expires: int | None = None) -> None:
        async def add() -> None:
            async with self._redis.pipeline(transaction=True) as pipe:
                fields = (_FIELD, message.model_dump_json())
                pipe.execute_command("XADD", key, "MAXLEN", "~", STREAM_LENGTH, "*", *fields)
                if expires is not None:
                    pipe.execute_command("EXPIRE", key, expires)
                await pipe.execute()

        await self._repairing(key, add)

    async def _read(self, key: str, after: str, block: float) -> list[_Entry]:
        """Entries of `key` behind `after`, waiting up to `block` seconds (0 or less: not at all) for the first."""
        waiting = ("BLOCK", max(int(block * 1000), 1)) if block > 0 else ()
        command = ("XREAD", "COUNT", _BATCH, *waiting, "STREAMS", key, after)
        return _entries(await self._repairing(key, lambda: self._command(*command), max(block, 0.0)))

    async def _next_requests(self, mailbox: "_Mailbox") -> list[Received]:
        if mailbox.looks_for_left_overs():
            entries = await self._left_overs(mailbox)
        else:
            block = int(min(_BLOCK, self._left_over_seconds) * 1000)
            command = ("XREADGROUP", "GROUP", CONTROLLER_GROUP, mailbox.consumer, "COUNT", _BATCH, "BLOCK", block)
            entries = _entries(await self._in_group(*command, "STREAMS", WORKER_REQUESTS, ">", block=_BLOCK))
        found, strange = _parse(entries, RequestMessage)
        if strange:
            _report_strange(WORKER_REQUESTS, strange)
            await self._forget(strange)
        return [Received(entry_id, message) for entry_id, message in found]

    async def _left_overs(self, mailbox: "_Mailbox") -> list[_Entry]:
        idle = int(self._left_over_seconds * 1000)
        command = ("XAUTOCLAIM", WORKER_REQUESTS, CONTROLLER_GROUP, mailbox.consumer, idle, mailbox.cursor)
        reply = await self._in_group(*command, "COUNT", _BATCH)
        if reply is None:
            return []
        mailbox.goes_on_at(reply[0])
        return list(reply[1])

    async def _in_group(self, *command: str | int, block: float = 0.0) -> Any:
        """A command of the consumer group; None if the group had to be made first."""
        try:
            return await self._repairing(WORKER_REQUESTS, lambda: self._command(*command), block)
        except _NoGroup:
            await self._repairing(WORKER_REQUESTS, self._make_group)
            return None

    async def _make_group(self) -> None:
        try:
            # From the beginning: whatever is in the stream was put there while nobody could take it out.
            await self._command("XGROUP", "CREATE", WORKER_REQUESTS, CONTROLLER_GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _forget(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge and delete, so that the stream holds nothing that somebody is done with."""

        async def forget() -> None:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.execute_command("XACK", WORKER_REQUESTS, CONTROLLER_GROUP, *entry_ids)
                pipe.execute_command("XDEL", WORKER_REQUESTS, *entry_ids)
                await pipe.execute()

        await self._repairing(WORKER_REQUESTS, forget)

    # ── every call ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _repairing(self, key: str, work: Callable[[], Awaitable[_T]], block: float = 0.0) -> _T:
        """Do `work`; if `key` holds something that is no stream, delete it and do `work` once more."""
        try:
            return await _bounded(work, block)
        except _WrongType:
            _log.warning("deleted a key of ours that held something else", key=key)
            await _bounded(lambda: self._command("DEL", key))
            return await _bounded(work, block)

    async def _command(self, *parts: str | int) -> Any:
        return await self._redis.execute_command(*parts)  # type: ignore[no-untyped-call]


class _WrongType(BrokerUnavailable):
    """A key holds another type than it should."""


class _NoGroup(BrokerUnavailable):
    """The stream, or its consumer group, is gone."""


async def _bounded(work: Callable[[], Awaitable[_T]], block: float = 0.0) -> _T:
    """What `work` returns, within `block` seconds and the usual patience. Every failure is `BrokerUnavailable`."""
    try:
        async with asyncio.timeout(block + _PATIENCE):
            return await work()
    except TimeoutError as error:
        raise BrokerUnavailable("the broker took too long to answer") from error
    except ResponseError as error:
        raise _meaning(error) from error
    except (RedisError, OSError) as error:
        raise BrokerUnavailable(f"the broker cannot be used: {error}") from error


def _meaning(error: ResponseError) -> BrokerUnavailable:
    text = str(error)
    if "WRONGTYPE" in text:
        return _WrongType(text)
    if "NOGROUP" in text or "UNBLOCKED" in text:
        return _NoGroup(text)
    return BrokerUnavailable(f"the broker refuses: {text}")


class _Trouble:
    """Tells of a broken connection once, waits longer each time, and tells when it is over."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._attempt = 0
        self._backoff = Backoff(first=0.1, most=4.0)

    async def wait(self, error: BrokerUnavailable) -> None:
        self._attempt += 1
        if self._attempt == 1:
            _log.warning("the broker is lost; going on without it", doing=self._doing, reason=str(error))
        await pause(self._backoff.delay(self._attempt))

    def over(self) -> None:
        if self._attempt:
            _log.info("the broker is back", doing=self._doing, attempts=self._attempt)
        self._attempt = 0


class _Mailbox:
    """Where one consumer stands: it reads what is new, and now and then what others left behind."""

    def __init__(self, consumer: str, left_over_seconds: float) -> None:
        self.consumer = consumer
        self._left_over_seconds = left_over_seconds
        self.cursor = "0-0"
        self._looks_again_at = 0.0

    def looks_for_left_overs(self) -> bool:
        return time.monotonic() >= self._looks_again_at

    def goes_on_at(self, cursor: bytes) -> None:
        """One turn of XAUTOCLAIM is done; it went round when the cursor is zero again."""
        self.cursor = cursor.decode()
        if self.cursor == "0-0":
            self._looks_again_at = time.monotonic() + self._left_over_seconds


def _entries(reply: Any) -> list[_Entry]:
    """The entries in a reply about one stream: [[key, [(id, fields), …]]], or nothing at all."""
    return list(reply[0][1]) if reply else []


def _parse(entries: Sequence[_Entry], kind: type[_M]) -> tuple[list[tuple[str, _M]], list[str]]:
    """The messages by entry id, and the ids of entries that hold none."""
    found: list[tuple[str, _M]] = []
    strange: list[str] = []
    for entry_id, fields in entries:
        try:
            found.append((entry_id.decode(), kind.model_validate_json((fields or {})[_FIELD])))
        except (KeyError, ValidationError):
            strange.append(entry_id.decode())
    return found, strange


def _report_strange(key: str, entry_ids: Sequence[str]) -> None:
    if entry_ids:
        _log.warning("passed over entries that are no messages", key=key, count=len(entry_ids), first=entry_ids[0])


def _ring_of(data: bytes) -> Ring | None:
    try:
        return Ring.model_validate_json(data)
    except ValidationError:
        _log.warning("passed over a ring that cannot be understood", size=len(data))
        return None
