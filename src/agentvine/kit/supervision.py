"""Keeps a process running: started again when it ends by itself, after a pause that grows while it keeps ending."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger

HEALTHY_SECONDS = 60.0
"""Whoever has run this long is started again without a grown pause."""

_log = logger("supervision")


class Part(Protocol):
    """Something that runs. `kit.process.Running` is one."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        ...

    async def wait(self) -> int:
        """Wait until it has ended; returns its exit code."""
        ...

    async def terminate(self, grace: float) -> int:
        """Ask it to end, make it end after `grace` seconds; returns its exit code."""
        ...


class Kept:
    """A part that is kept running while the block runs, and ended on leaving it.

    `start` starts it; what it raises the first time is raised on entering, what it raises later counts as an end.
    `grace` is how long the part may take to end when it is asked to. A part that ends with `left_with` has left because
    somebody told it to, and is not started again.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Awaitable[Part]],
        grace: float,
        *,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        left_with: int | None = None,
    ) -> None:
        self.name = name
        self.part: Part | None = None
        self.starts = 0
        """How often it was started."""
        self.gone = asyncio.Event()
        """Set once it has left for good."""
        self._start_part = start
        self._grace = grace
        self._left_with = left_with
        self._backoff = backoff or Backoff(first=0.5, most=30.0)
        self._clock = clock or SystemClock()
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        self._watcher = asyncio.create_task(self._watch(), name=f"keep {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        if self.part is not None:
            await self.part.terminate(self._grace)

    async def _start(self) -> None:
        self.part = await self._start_part()
        self.starts += 1

    async def _watch(self) -> None:
        quick_ends = 0
        while True:
            began = self._clock.elapsed()
            code = await self.part.wait() if self.part is not None else None
            if code is not None and code == self._left_with:
                _log.info("left as it was told to; it is not started again", name=self.name)
                self.gone.set()
                return
            healthy = self._clock.elapsed() - began >= HEALTHY_SECONDS
            quick_ends = 1 if healthy else quick_ends + 1
            delay = self._backoff.delay(quick_ends)
            _log.warning("ended; it is started again", name=self.name, exit_code=code, in_seconds=round(delay, 1))
            await pause(delay)
            try:
                await self._start()
            except Exception:  # noqa: BLE001  a process boundary: whatever keeps it from starting now may pass
                self.part = None
                _log.exception("did not start", name=self.name)
