"""Says how it goes, and hears what is wanted."""

import asyncio
from collections.abc import Awaitable, Callable

from agentvine.domain.errors import AgentVineError, Superseded
from agentvine.domain.worker import WorkerStatus
from agentvine.kit.backoff import Backoff
from agentvine.kit.doorbell import Doorbell, pause
from agentvine.kit.logs import logger
from agentvine.kit.shutdown import Shutdown
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import Command, Heartbeat
from agentvine.worker.lease import LeaseKeeper
from agentvine.worker.metrics import ResourceMeter

_SETTLE_SECONDS = 1.0
"""A change of status is told at once, but not more often than this."""
_LONGEST_NOTE = 2000

_log = logger("heartbeat")


class Condition:
    """What the worker says of itself. Loops put their troubles here; `bell` rings when it changes."""

    def __init__(self, leases: LeaseKeeper, shutdown: Shutdown) -> None:
        self.bell = Doorbell()
        self._leases = leases
        self._shutdown = shutdown
        self._troubles: dict[str, str] = {}
        shutdown.rings(self.bell)

    @property
    def status(self) -> WorkerStatus:
        if self._shutdown.draining.is_set():
            return WorkerStatus.DRAINING
        if self._troubles:
            return WorkerStatus.ERROR
        return WorkerStatus.BUSY if self._leases.held else WorkerStatus.IDLE

    @property
    def note(self) -> str | None:
        """Why it is in error, if it is."""
        text = "; ".join(f"{doing}: {why}" for doing, why in self._troubles.items())
        return text[:_LONGEST_NOTE] or None

    def trouble(self, doing: str, why: str) -> None:
        """`doing` fails."""
        if self._troubles.get(doing) != why:
            self._troubles[doing] = why
            self.bell.ring()

    def well(self, doing: str) -> None:
        """`doing` works, perhaps again."""
        if self._troubles.pop(doing, None) is not None:
            _log.info("recovered", doing=doing)
            self.bell.ring()

    def changed(self) -> None:
        """What is held has changed."""
        self.bell.ring()


class Heart:
    """Beats every `interval` seconds, and when the condition changes. `run` is its loop."""

    def __init__(
        self,
        plane: ControlPlane,
        worker_id: str,
        condition: Condition,
        leases: LeaseKeeper,
        meter: ResourceMeter,
        interval: float,
        drain: Callable[[], None],
        register: Callable[[], Awaitable[object]],
        superseded: Callable[[Superseded], None],
    ) -> None:
        self._plane = plane
        self._worker_id = worker_id
        self._condition = condition
        self._leases = leases
        self._meter = meter
        self._interval = interval
        self._drain = drain
        self._register = register
        self._superseded = superseded
        self._backoff = Backoff(first=1.0, most=max(interval, 1.0))

    async def run(self) -> None:
        """Without end."""
        failed = 0
        while True:
            try:
                await self.beat()
            except AgentVineError as error:
                if isinstance(error, Superseded):
                    self._superseded(error)
                failed += 1
                _log.warning("no heartbeat got through", attempt=failed, reason=error.message)
                await pause(self._backoff.delay(failed))
                continue
            failed = 0
            await pause(min(_SETTLE_SECONDS, self._interval))
            await self._condition.bell.wait(max(self._interval - _SETTLE_SECONDS, 0.0))

    async def beat(self) -> None:
        """One heartbeat; does what the answer asks for."""
        metrics = await asyncio.to_thread(self._meter.read)
        beat = Heartbeat(
            status=self._condition.status,
            current_tasks=tuple(self._leases.held)[:1000],
            metrics=metrics,
            note=self._condition.note,
        )
        reply = await self._plane.heartbeat(self._worker_id, beat)
        for command in reply.commands:
            await self._obey(command)

    async def _obey(self, command: Command) -> None:
        _log.info("the server wants something", command=command.kind, work_order_id=command.work_order_id)
        if command.kind == "drain":
            self._drain()
        elif command.kind == "register":
            await self._register()
        elif command.work_order_id is not None:
            self._leases.doubt(command.work_order_id)
