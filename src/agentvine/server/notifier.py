"""Tells people what waits, has failed or is done: one loop for each channel, beside everything else.

Each channel reads the events of the store from a position of its own, which is kept there: nothing is lost while the
server is away or the channel is, and after a crash the last notice may come twice, with the same id. A channel that
does not take a notice is tried again, slower and slower, for half an hour; then that notice is given up and the next
one has its turn. What is older than a day is not told any more. No channel holds up another, or the server.
"""

import secrets
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from agentvine.domain.errors import Unavailable
from agentvine.domain.event import Event
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import Doorbell, pause
from agentvine.kit.logs import logger
from agentvine.server.bells import Bells
from agentvine.server.notices import Notice, interesting, notice_of
from agentvine.server.notify_channels import Channel, SendFailed
from agentvine.server.settings import What
from agentvine.store import events, readers
from agentvine.store.database import Database
from agentvine.store.readers import Hold
from agentvine.store.unit import Unit

_AT_ONCE = 500
_log = logger("notify")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how long, in seconds."""

    between_looks: float = 1.0
    rest: float = 30.0
    """The longest without a look, and between two words that this server still reads."""
    hold: float = 150.0
    """After so long without a word another server reads on; longer than one delivery and the pause before it."""
    backoff: Backoff = field(default_factory=lambda: Backoff(first=1.0, most=60.0))
    give_up: float = 1800.0
    too_old: float = 86_400.0
    most: int = 5
    """How many messages in a `window` people are sent one by one."""
    window: float = 60.0


class _Lost(Exception):
    """Another server reads for this channel."""


class Notifier:
    """One channel's loop."""

    def __init__(
        self,
        channel: Channel,
        about: frozenset[What],
        database: Database,
        clock: Clock,
        pace: Pace = Pace(),
    ) -> None:
        self._channel = channel
        self._about = about
        self._database = database
        self._clock = clock
        self._pace = pace
        self._holder = secrets.token_hex(8)
        self._position = 0
        self._said_at = 0.0
        self._sent: deque[float] = deque(maxlen=pace.most)
        self.reads = False
        """True while this server reads for the channel."""
        self.trouble: str | None = None
        """Why the last delivery failed, fit for `/health`: it names no address."""

    async def run(self, bells: Bells) -> None:
        """Read and tell until cancelled, or until the channel is gone for good."""
        with bells.events() as bell:
            try:
                while True:
                    try:
                        if await self._read_on(bell):
                            return
                    except _Lost:
                        _log.warning("another server tells it", channel=self._channel.name)
                    except Unavailable as error:
                        _log.warning("notifications wait", channel=self._channel.name, why=error.message)
                    except Exception:  # noqa: BLE001  the outermost guard of this loop
                        _log.exception("notifications broke off", channel=self._channel.name)
                    self.reads = False
                    await pause(self._pace.between_looks)
            finally:
                with suppress(Unavailable):
                    await self._database.write(lambda unit: readers.leave(unit, self._hold()))

    async def _read_on(self, bell: Doorbell) -> bool:
        """True when there is nobody to tell any more."""
        now = self._clock.now()
        position = await self._database.write(lambda unit: readers.take(unit, self._hold(), now))
        if position is None:
            await bell.wait(self._pace.rest)
            return False
        self._position, self._said_at, self.reads = position, self._clock.elapsed(), True
        while True:
            found = await self._database.read(lambda unit: events.after(unit, self._position, None, None, _AT_ONCE))
            told = [event for event in found.events if interesting(event, self._about)]
            if told and not await self._tell(told):
                return True
            self._position = found.position
            if told or self._clock.elapsed() - self._said_at > self._pace.rest:
                await self._say()
            if not found.more:
                await pause(self._pace.between_looks)
                await bell.wait(self._pace.rest)

    async def _tell(self, told: Sequence[Event]) -> bool:
        """All of them, one by one or together. False when the channel is gone."""
        if self._channel.gathers:
            room = await self._room()
            if len(told) > room:
                return await self._deliver(told)
        for event in told:
            if not await self._deliver([event]):
                return False
            self._position = event.seq
            await self._say()
        return True

    async def _room(self) -> int:
        """How many more messages people can be sent now; waits until it is at least one."""
        while True:
            now = self._clock.elapsed()
            recent = [at for at in self._sent if now - at < self._pace.window]
            if len(recent) < self._pace.most:
                return self._pace.most - len(recent)
            await pause(min(recent[0] + self._pace.window - now, self._pace.rest))
            await self._say()

    async def _deliver(self, told: Sequence[Event]) -> bool:
        """Try until it is taken or given up. False when the channel is gone."""
        began, attempt = self._clock.elapsed(), 0
        while True:
            notices = await self._database.read(lambda unit: self._notices(unit, told))
            if not notices:
                return True
            attempt += 1
            try:
                await self._channel.send(notices)
            except SendFailed as error:
                if error.gone:
                    self.trouble = "it says that it is gone"
                    _log.error("the channel is gone; it is told nothing more", channel=self._channel.name)
                    return False
                delay = max(self._pace.backoff.delay(attempt), error.retry_after)
                if self._clock.elapsed() - began + delay > self._pace.give_up:
                    self.trouble = "a notice was given up"
                    _log.error("given up", channel=self._channel.name, id=notices[0].id, why=str(error))
                    return True
                self.trouble = "a notice is not taken; it is tried again"
                _log.warning("not told yet", channel=self._channel.name, id=notices[0].id, why=str(error))
                await self._pause(delay)
            else:
                self.trouble = None
                self._sent.append(self._clock.elapsed())
                return True

    def _notices(self, unit: Unit, told: Sequence[Event]) -> list[Notice]:
        oldest = self._clock.now() - timedelta(seconds=self._pace.too_old)
        return [notice for event in told if event.at > oldest and (notice := notice_of(unit, event)) is not None]

    async def _pause(self, seconds: float) -> None:
        """Say now and then meanwhile that this server still reads."""
        until = self._clock.elapsed() + seconds
        while (left := until - self._clock.elapsed()) > 0:
            await pause(min(left, self._pace.rest))
            await self._say()

    async def _say(self) -> None:
        """Keep how far it is read. Raises _Lost."""
        position = self._position
        if not await self._database.write(lambda unit: readers.advance(unit, self._hold(), position)):
            raise _Lost
        self._said_at = self._clock.elapsed()

    def _hold(self) -> Hold:
        return Hold(self._channel.reader, self._holder, self._clock.now() + timedelta(seconds=self._pace.hold))


def degraded(notifiers: Sequence[Notifier]) -> dict[str, str]:
    """`notifications` and what is the matter, or nothing. `/health` is open to everybody; the log says more."""
    troubles = [each.trouble for each in notifiers if each.trouble is not None]
    if not troubles:
        return {}
    return {"notifications": f"{len(troubles)} of {len(notifiers)} channels: {troubles[0]}; the log says why"}
