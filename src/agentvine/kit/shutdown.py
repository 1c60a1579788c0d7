"""From signals to intentions: the first one asks to drain, the second to stop now, the third ends the process."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agentvine.kit.doorbell import Doorbell

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_EXIT_AT_ONCE = 130


class Shutdown:
    """What the process has been asked to do. Loops look at `draining`; whoever holds work also looks at `stopping`.

    `draining` and `stopping` are events to await; `rings(bell)` wakes a loop's own bell at either.
    """

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.stopping = asyncio.Event()
        self._bells: list[Doorbell] = []

    def rings(self, bell: Doorbell) -> None:
        """Ring `bell` when draining and again when stopping begins."""
        self._bells.append(bell)

    def drain(self) -> None:
        """Take no new work; finish what runs."""
        self.draining.set()
        self._ring()

    def stop(self) -> None:
        """Finish nothing more; hand back what runs."""
        self.draining.set()
        self.stopping.set()
        self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.ring()

    def _on_signal(self) -> None:
        if self.stopping.is_set():
            os._exit(_EXIT_AT_ONCE)
        if self.draining.is_set():
            self.stop()
        else:
            self.drain()


@contextmanager
def on_signals(shutdown: Shutdown, also: Callable[[], None] | None = None) -> Iterator[None]:
    """Lead SIGTERM and SIGINT into `shutdown` while the block runs. Call it in the running loop's main thread."""
    loop = asyncio.get_running_loop()

    def handle() -> None:
        shutdown._on_signal()
        if also:
            also()

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
