"""Keeps status comments on forges up to date: reads the events, and has said anew what has changed by them.

Of several servers one reads. What was read and what is wished because of it become true together, so that nothing is
told twice or forgotten, whatever ends in the middle.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from agentvine.domain.errors import Unavailable
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.server.bells import Bells
from agentvine.server.intake import Intake
from agentvine.store import events, intake, readers
from agentvine.store.database import Database
from agentvine.store.readers import Hold
from agentvine.store.unit import Unit

_NAME = "intake"
_AT_ONCE = 500
_log = logger("intake")


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds."""

    between_looks: float = 2.0
    """What changes faster is told together."""
    rest: float = 30.0
    """The longest without a look, and between two words that this server still reads."""
    hold: float = 120.0
    """After so long without a word another server reads on."""


class IntakeTeller:
    """One loop of a server."""

    def __init__(self, intake_: Intake, database: Database, clock: Clock, pace: Pace = Pace()) -> None:
        self._intake = intake_
        self._database = database
        self._clock = clock
        self._pace = pace
        self._holder = secrets.token_hex(8)

    async def run(self, bells: Bells) -> None:
        """Plan what is to be looked at, then read and tell until cancelled."""
        with bells.events() as bell:
            planned = False
            try:
                while True:
                    try:
                        if not planned:
                            await self._database.write(self._intake.plan_all)
                            planned = True
                        more = await self.tell()
                    except Unavailable as error:
                        more = False
                        _log.warning("status comments wait", why=error.message)
                    except Exception:  # noqa: BLE001  the outermost guard of this loop
                        more = False
                        _log.exception("status comments broke off")
                    await pause(self._pace.between_looks)
                    if not more:
                        await bell.wait(self._pace.rest)
            finally:
                with suppress(Unavailable):
                    await self._database.write(lambda unit: readers.leave(unit, self._hold()))

    async def tell(self) -> bool:
        """Read what has happened since the last time. True if there is more."""
        return await self._database.write(self._tell)

    def _tell(self, unit: Unit) -> bool:
        position = readers.take(unit, self._hold(), self._clock.now())
        if position is None:
            return False
        found = events.after(unit, position, None, None, _AT_ONCE)
        if intake.any_taken(unit):
            for task_id in dict.fromkeys(event.task_id for event in found.events if event.task_id is not None):
                self._intake.tell(unit, task_id)
        if found.position != position:
            readers.advance(unit, self._hold(), found.position)
        return found.more

    def _hold(self) -> Hold:
        return Hold(_NAME, self._holder, self._clock.now() + timedelta(seconds=self._pace.hold))
