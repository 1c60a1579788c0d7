"""Requests that wait for something: long polls and event streams. They end when their client goes away, and all of them
at once when the server goes down; else both would hold on to what nobody waits for any more."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import Self

from starlette.types import Receive, Scope

from agentvine.domain.errors import Unavailable
from agentvine.domain.key import Key

WATCH_AFTER = 0.05
"""Seconds until a request's client is watched. Most are answered before; they are spared the cost of a watcher."""
KEY = "agentvine.key"
"""Where a request's scope holds the `Key` that the gate found good; absent on open routes."""
STREAMED = "agentvine.streamed"
"""Set in the scope of a request whose answer is a stream, so that it does not count as slow."""


class Idle:
    """How long a request has waited for something to happen, so that it does not count as slow.

    What the server does for it, before, between and after that, does count.
    """

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    @classmethod
    def of_this_request(cls) -> Self:
        """Call it when a request begins, in its task."""
        idle = cls()
        _idle.set(idle)
        return idle


_idle: ContextVar[Idle | None] = ContextVar("agentvine.idle", default=None)


@contextmanager
def idling() -> Iterator[None]:
    """Around whatever does nothing until something happens; for a request, if it is in its task."""
    idle, began = _idle.get(), perf_counter()
    try:
        yield
    finally:
        if idle is not None:
            idle.seconds += perf_counter() - began


class ClientGone(Exception):
    """Nobody is there any more to hear the answer."""


class Waits:
    """All waiting requests of one server process. `told` hears how many there are, whenever that changes."""

    def __init__(self, told: Callable[[int], None] = lambda _: None) -> None:
        self._told = told
        self._open: set[Wait] = set()
        self.closing = False

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, scope: Scope, receive: Receive) -> "Wait":
        """An async context manager around the waiting of a request whose body has been read.

        On leaving it raises `ClientGone` or, when the server is going down, `Unavailable`; the latter also on entering.
        """
        return Wait(self, scope, receive)

    def close(self) -> None:
        """End all waits, now and from now on."""
        self.closing = True
        for wait in tuple(self._open):
            wait.end(_going_down())

    def prefixes(self) -> frozenset[str]:
        """How the secrets begin with which somebody waits."""
        return frozenset(wait.key.prefix for wait in self._open if wait.key is not None)

    def expel(self, whom: Callable[[Key], bool], reason: Callable[[], Exception]) -> None:
        """End the waits of these keys."""
        for wait in tuple(self._open):
            if wait.key is not None and whom(wait.key):
                wait.end(reason())

    def add(self, wait: "Wait") -> None:
        if self.closing:
            raise _going_down()
        self._open.add(wait)
        self._told(len(self._open))

    def discard(self, wait: "Wait") -> None:
        self._open.discard(wait)
        self._told(len(self._open))


class Wait:
    """One waiting request. It is ended by cancelling its task, as asyncio.timeout does."""

    __slots__ = ("_cancelling", "_reason", "_receive", "_scope", "_task", "_timer", "_waits", "_watcher")

    def __init__(self, waits: Waits, scope: Scope, receive: Receive) -> None:
        self._waits = waits
        self._scope = scope
        self._receive = receive
        self._reason: Exception | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def key(self) -> Key | None:
        """With which it was asked."""
        return self._scope.get(KEY)

    async def __aenter__(self) -> Self:
        self._waits.add(self)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine runs in a task
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._start_watching)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._waits.discard(self)
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._reason is None:
            return
        if self._task.uncancel() <= self._cancelling and (kind is None or kind is asyncio.CancelledError):
            raise self._reason from error

    def end(self, reason: Exception) -> None:
        """Stop waiting, because of `reason`. Only the first reason counts."""
        if self._reason is None:
            self._reason = reason
            self._task.cancel()

    def _start_watching(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.end(ClientGone())


def _going_down() -> Unavailable:
    return Unavailable("the server is going down; ask again in a moment", retry_after=1)
