"""Takes a worker out of the fleet while its surroundings are broken, and back when they are mended.

A bad model key, a full disk, a sandbox that cannot be made or a missing program are no order's fault. The order goes
back at once, with no attempt charged, for another worker; this one says `error` and why, claims nothing, looks whether
it is mended with growing pauses, and goes on by itself. Some failures are certain to be of that kind. Others may be the
order's own: before it is blamed, the surroundings are looked at.
"""

import asyncio
from typing import Protocol, runtime_checkable

from agentvine.domain.retry import Failure, FailureReason
from agentvine.kit.backoff import Backoff
from agentvine.kit.logs import logger
from agentvine.worker.heartbeat import Condition

_R = FailureReason
CERTAIN = frozenset({_R.MODEL_AUTH_FAILED, _R.DISK_FULL})
SUSPECT = frozenset({_R.AGENT_CRASHED, _R.AGENT_NO_FIRST_MESSAGE, _R.SETUP_FAILED, _R.WORKER_ERROR})
WORKING = "working"
"""What it has trouble with, in its heartbeats."""
_LONGEST = 400
_EXAMINE_SECONDS = 60.0

_log = logger("breaker")


@runtime_checkable
class Examining(Protocol):
    """An executor that can say whether what it needs is there."""

    async def examine(self) -> str | None:
        """What is broken and how to mend it; None if nothing is. Costs no more than seconds and no money."""
        ...


class Breaker:
    """One for each worker. `why` is set while nothing may be claimed."""

    def __init__(self, executor: object, condition: Condition, *, backoff: Backoff | None = None) -> None:
        self._examining = executor if isinstance(executor, Examining) else None
        self._condition = condition
        self._backoff = backoff or Backoff(first=2.0, most=300.0)
        self._trips = 0
        """In a row, with no execution that went well between."""
        self.why: str | None = None

    async def blames(self, failure: Failure) -> str | None:
        """Why the surroundings are to blame for `failure`, and from now on nothing is claimed; None: they are not."""
        found = None
        if failure.reason in CERTAIN:
            found = f"{failure.reason}: {failure.detail}"
        elif failure.reason in SUSPECT:
            found = await self._examined()
        if found is None:
            if failure.reason not in SUSPECT:
                self._trips = 0
            return None
        self.why = _line(found)
        _log.error("the worker's surroundings are broken; it claims nothing", why=self.why)
        self._condition.trouble(WORKING, self.why)
        return self.why

    def went_well(self) -> None:
        """An execution came to its end."""
        self._trips = 0

    async def mended(self, leaving: asyncio.Event) -> None:
        """Wait, look, and wait again, until nothing is found any more; or until `leaving` is set."""
        while self.why is not None and not leaving.is_set():
            self._trips += 1
            delay = self._backoff.delay(self._trips)
            _log.warning("looks again later", again_in=round(delay, 1), why=self.why)
            try:
                async with asyncio.timeout(delay):
                    await leaving.wait()
            except TimeoutError:
                await self._look()

    async def _look(self) -> None:
        found = await self._examined()
        if found is None:
            self.why = None
            self._condition.well(WORKING)
        elif (why := _line(found)) != self.why:
            self.why = why
            self._condition.trouble(WORKING, why)

    async def _examined(self) -> str | None:
        """None also where nobody can look: then the next order shows it."""
        if self._examining is None:
            return None
        try:
            async with asyncio.timeout(_EXAMINE_SECONDS):
                return await self._examining.examine()
        except TimeoutError:
            return f"what the worker needs did not show itself within {_EXAMINE_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001  a boundary: what cannot be looked at is not in order
            _log.exception("the surroundings could not be looked at")
            return f"{type(error).__name__}: {error}"


def _line(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in " ".join(text.split()))[:_LONGEST] or "broken"
