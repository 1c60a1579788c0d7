"""The server's round: leases that ended, orders that are due, requests that nobody answered, workers that fell silent.

It does harm to nobody who could not help it. After the server's start, after a jump of the wall clock, and after a time
in which the server itself or its database stood still, every live lease begins anew instead of ending, and nobody is
taken for silent before he had the time to speak again.

But leases end as they stand if a server was at work until a moment ago, another one or this one in an earlier life: it
could be told what this one missed. Else a server that keeps ending and starting would keep the orders of dead workers
for ever. Rounds are noted in the database (store/rounds.py) for whoever starts, from the second one of a life on, when
it has also taken requests. What is noted is believed only if it is not far from now by this server's own clock.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from agentvine.domain.errors import Unavailable
from agentvine.kit import failpoints
from agentvine.kit.doorbell import Doorbell
from agentvine.kit.logs import logger
from agentvine.server.worker_desk import ControlPlaneService
from agentvine.store import model_limits, requests, rounds, work_orders, workers
from agentvine.store.unit import Unit

_AT_ONCE = 100
_AHEAD_SECONDS = 60.0
"""What was written so much later than it is now was written by a clock that was wrong; servers may differ by less."""
_log = logger("reaper")


@dataclass(frozen=True, slots=True)
class _Round:
    """When the last round began that got through."""

    wall: datetime
    elapsed: float


class Reaper:
    """One for each server process; several do no harm to one another."""

    def __init__(self, control: ControlPlaneService) -> None:
        self._control = control
        self._terms = control.terms
        self._bell = Doorbell()
        self._last: _Round | None = None
        self._listening_since = 0.0

    async def run(self) -> None:
        """A round every `reaper_interval` seconds until cancelled. Survives trouble with the database."""
        while True:
            try:
                await self.sweep()
            except Unavailable as error:
                _log.warning("round left out", why=error.message)
            except Exception:  # noqa: BLE001  the outermost guard of this loop
                _log.exception("round failed")
            await self._bell.wait(self._terms.reaper_interval)

    def ring(self) -> None:
        """Make the next round now."""
        self._bell.ring()

    async def sweep(self) -> None:
        """One round. Raises `Unavailable`, and then counts as not made."""
        clock = self._control.clock
        this = _Round(clock.now(), clock.elapsed())
        jump, absence = self._jump(this), self._absence(this)
        if jump or absence:
            self._listening_since = this.elapsed
            await self._forgive(jump or absence, unless_somebody_was_there=not jump)
        await self._end_waits_from_ahead(this)
        await self._control.database.write(self._control.orders.promote_due)
        await self._expire_leases(this)
        await self._expire_requests()
        await self._note_silence(this)
        await self._control.limits.look()
        self._last = this

    def _jump(self, this: _Round) -> str:
        """What happened to the wall clock since the last round; empty if nothing did."""
        if self._last is None:
            return ""
        jump = (this.wall - self._last.wall).total_seconds() - (this.elapsed - self._last.elapsed)
        return f"the wall clock jumped by {jump:.1f} s" if abs(jump) > self._terms.clock_jump_seconds else ""

    def _absence(self, this: _Round) -> str:
        """Why this server did nothing for a while until now; empty if it did."""
        if self._last is None:
            return "the server was started"
        passed = this.elapsed - self._last.elapsed
        too_long = passed > self._terms.reaper_interval + self._terms.stall_seconds
        return f"nothing was done for {passed:.1f} s" if too_long else ""

    async def _forgive(self, why: str, *, unless_somebody_was_there: bool) -> None:
        def work(unit: Unit) -> int:
            if unless_somebody_was_there and self._somebody_was_there(rounds.latest(unit)):
                return 0
            return self._control.orders.refresh_leases(unit)

        if refreshed := await self._control.database.write(work):
            _log.info("leases begin anew", why=why, leases=refreshed)

    def _somebody_was_there(self, latest: datetime | None) -> bool:
        """Whether a server was at work so lately that time may be trusted; its clock may be as much ahead of ours.

        A moment further in the future says nothing.
        """
        if latest is None:
            return False
        return abs(self._control.clock.now() - latest) <= timedelta(seconds=self._terms.trusted_pause)

    async def _end_waits_from_ahead(self, this: _Round) -> None:
        """Who waits by a clock that was far ahead, and was set right since, waits no longer."""
        ahead = this.wall + timedelta(seconds=_AHEAD_SECONDS)

        def work(unit: Unit) -> int:
            delayed = work_orders.end_delays_from_ahead(unit, this.wall, ahead)
            return delayed + model_limits.forget_from_ahead(unit, ahead)

        if ended := await self._control.database.write(work):
            _log.info("the clock was taken back; what waited for its time goes on", waits=ended)

    async def _expire_leases(self, this: _Round) -> None:
        """Those that had ended when the round began: what happened since may be forgiven with the next one."""

        def work(unit: Unit) -> int:
            orders = work_orders.expired(unit, this.wall, _AT_ONCE)
            for order in orders:
                self._control.orders.lose(unit, order, "its worker stopped renewing the lease")
            if self._last is not None:
                rounds.note(unit, this.wall, again_after=timedelta(seconds=self._terms.trusted_pause / 3))
            return len(orders)

        while (lost := await self._control.database.write(work)) > 0:
            await failpoints.reached("reaper.after_lost")
            if lost < _AT_ONCE:
                break

    async def _expire_requests(self) -> None:
        def work(unit: Unit) -> int:
            due = requests.expired(unit, self._control.clock.now(), _AT_ONCE)
            for request_id in due:
                self._control.conversations.expire(unit, request_id)
            return len(due)

        while await self._control.database.write(work) == _AT_ONCE:
            pass

    async def _note_silence(self, this: _Round) -> None:
        if this.elapsed - self._listening_since < self._terms.silent_seconds:
            return
        await self._control.heartbeats.flush()
        since = this.wall - timedelta(seconds=self._terms.silent_seconds)

        def work(unit: Unit) -> None:
            for worker_id in workers.silent(unit, since):
                self._control.registry.set_offline(unit, worker_id, "no heartbeat came any more")

        await self._control.database.write(work)
