"""What this worker holds, and for how long it may act on it.

The server counts a lease from the moment at which it handles a renewal, the worker from the earlier moment at which it
sent it, and the worker stops after two thirds: whatever happens to the network or to this process, it has let go before
the server may give the order to somebody else. It measures by the clock that goes on while the machine sleeps, and
anything that reaches outside asks `Holding.ensure` first: a process that was stopped may come back in the middle of a
line.
"""

import asyncio
from collections.abc import Mapping
from enum import StrEnum

from agentvine.domain.errors import AgentVineError, LeaseLost, Superseded
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import Doorbell
from agentvine.kit.logs import logger
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import Claimed, Held, LeaseRef, Renewal

_RENEW = 1 / 3
_FENCE = 2 / 3
_PACE = 1 / 9
"""Parts of a lease: when it is renewed, when its holder stops by himself, and how often both are looked at. While a
renewal is not answered another one is sent at that pace, without giving up the first."""

_log = logger("lease")


class Loss(StrEnum):
    """Why an order is not ours any more."""

    LOST = "lost"
    """The server gave it to somebody else, or to nobody."""
    CANCELLED = "cancelled"
    FENCED = "fenced"
    """The server could not be reached; by our own clock we may not go on."""


class Holding:
    """One order that this worker holds. Made by `LeaseKeeper.take`."""

    def __init__(self, claimed: Claimed, clock: Clock, renewed_at: float) -> None:
        self.claimed = claimed
        self.token = claimed.lease.token
        self.loss: Loss | None = None
        self.execution: asyncio.Task[object] | None = None
        """What is to be cancelled if the order is lost; None before and after."""
        self.renewed_at = renewed_at
        self._clock = clock

    @property
    def work_order_id(self) -> str:
        return self.claimed.order.id

    @property
    def lease_seconds(self) -> float:
        return self.claimed.lease_seconds

    @property
    def safe_until(self) -> float:
        """Until when nobody else can have it, on the clock's `elapsed`."""
        return self.renewed_at + self.lease_seconds * _FENCE

    def ensure(self) -> None:
        """Raise `LeaseLost` unless the order is surely ours at this moment."""
        if self.loss is None and self._clock.elapsed() >= self.safe_until:
            self.lose(Loss.FENCED)
        if self.loss is not None:
            raise LeaseLost(
                f"this worker does not hold {self.work_order_id} any more: {self.loss}", loss=self.loss.value
            )

    def lose(self, loss: Loss) -> None:
        """Stop the execution at once. The first reason stands."""
        if self.loss is not None:
            return
        self.loss = loss
        _log.warning("the order is not ours any more", work_order_id=self.work_order_id, why=loss.value)
        if self.execution is not None:
            self.execution.cancel()


class LeaseKeeper:
    """Renews everything that is held, in one call, and ends what cannot be renewed. `run` is its loop."""

    def __init__(self, plane: ControlPlane, worker_id: str, clock: Clock) -> None:
        self.bell = Doorbell()
        """Rung when something changed that the loop looks at."""
        self._plane = plane
        self._worker_id = worker_id
        self._clock = clock
        self._held: dict[str, Holding] = {}
        self._sent_at = float("-inf")
        self._doubted = False

    @property
    def held(self) -> Mapping[str, Holding]:
        """By work order."""
        return self._held

    async def take(self, claimed: Claimed) -> Holding:
        """Acknowledge the claim; from now on it is renewed. Raises `LeaseLost` if it is somebody else's already."""
        asked_at = self._clock.elapsed()
        reply = await self._plane.start(claimed.order.id, Held(token=claimed.lease.token))
        if reply.status != "renewed":
            raise LeaseLost(f"{claimed.order.id} was {reply.status} before it was started")
        holding = Holding(claimed, self._clock, asked_at)
        self._held[holding.work_order_id] = holding
        self.bell.ring()
        return holding

    def let_go(self, holding: Holding) -> None:
        """It is over; renew it no more."""
        if self._held.get(holding.work_order_id) is holding:
            del self._held[holding.work_order_id]

    def doubt(self, work_order_id: str | None = None) -> None:
        """Something happened to the order, or to all: ask the server now."""
        if work_order_id is None or work_order_id in self._held:
            self._doubted = True
            self.bell.ring()

    async def run(self) -> None:
        """Without end."""
        async with asyncio.TaskGroup() as renewals:
            while True:
                self._fence()
                if self._renewal_due() <= self._clock.elapsed():
                    self._doubted, self._sent_at = False, self._clock.elapsed()
                    renewals.create_task(self._renew(self._still_ours()))
                await self.bell.wait(self._until_next_look())

    def _still_ours(self) -> dict[str, Holding]:
        return {name: holding for name, holding in self._held.items() if holding.loss is None}

    def _renewal_due(self) -> float:
        """When the next renewal is to be sent, on the clock's `elapsed`."""
        ours = self._still_ours().values()
        if not ours:
            return float("inf")
        if self._doubted:
            return float("-inf")
        first = min(holding.renewed_at + holding.lease_seconds * _RENEW for holding in ours)
        return max(first, self._sent_at + self._pace())

    def _until_next_look(self) -> float | None:
        ours = self._still_ours().values()
        if not ours:
            return None
        next_event = min(self._renewal_due(), *(holding.safe_until for holding in ours))
        return min(max(next_event - self._clock.elapsed(), 0.0), self._pace())

    def _pace(self) -> float:
        return min(holding.lease_seconds for holding in self._held.values()) * _PACE

    def _fence(self) -> None:
        now = self._clock.elapsed()
        for holding in self._still_ours().values():
            # A result that only waits to be reported harms nobody: the server judges it by its token.
            if holding.execution is not None and now >= holding.safe_until:
                holding.lose(Loss.FENCED)

    async def _renew(self, asked: Mapping[str, Holding]) -> None:
        leases = tuple(LeaseRef(work_order_id=name, token=holding.token) for name, holding in asked.items())
        sent_at = self._clock.elapsed()
        try:
            reply = await self._plane.renew(Renewal(worker_id=self._worker_id, leases=leases))
        except Superseded:
            for each in asked.values():
                each.lose(Loss.LOST)
            return
        except AgentVineError as error:
            _log.warning("leases could not be renewed", leases=len(leases), reason=error.message)
            return
        for line in reply.leases:
            holding = asked.get(line.work_order_id)
            if holding is None or self._held.get(line.work_order_id) is not holding:
                continue  # over meanwhile, or claimed anew
            if line.status == "renewed":
                holding.renewed_at = max(holding.renewed_at, sent_at)
            else:
                holding.lose(Loss(line.status))
