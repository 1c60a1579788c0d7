"""Waiting, in one place: until rung, until stopped, or for a fallback delay, whichever is first.

A ring that arrives while nobody waits is remembered once, so "look, then wait" never misses one. A ring carries no
data: whoever hears it looks at the truth again. A lost ring therefore costs the fallback delay, never work.
"""

import asyncio


class Doorbell:
    """One bell for one waiting loop. Not thread-safe: ring it from the event loop's thread."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter, or let its next wait return at once."""
        self._rung.set()

    async def wait(self, delay: float | None = None) -> bool:
        """Wait until rung, at most `delay` seconds (None: without end). True if it was rung; the ring is used up."""
        try:
            async with asyncio.timeout(delay):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


async def pause(seconds: float) -> None:
    """Wait `seconds`, for a bounded poll of something that cannot ring (a foreign process, a lock file)."""
    await asyncio.sleep(seconds)
