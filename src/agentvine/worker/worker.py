"""A worker's life: register, work, leave."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from agentvine import __version__
from agentvine.broker.base import Broker
from agentvine.domain.errors import (
    AgentVineError,
    Forbidden,
    InvalidInput,
    Superseded,
    Unauthenticated,
    UpgradeRequired,
)
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.kit.shutdown import Shutdown
from agentvine.wire import protocol
from agentvine.wire.channels import Ring
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import Registered, Registration
from agentvine.worker.conclusion import Executor
from agentvine.worker.errands import ErrandLoop, Errands
from agentvine.worker.heartbeat import Condition, Heart
from agentvine.worker.lease import LeaseKeeper, Loss
from agentvine.worker.metrics import ResourceMeter
from agentvine.worker.pool import Pool
from agentvine.worker.settings import WorkerConfig

_FAREWELL_SECONDS = 2.0
_HASTY_FAREWELL_SECONDS = 0.3
"""For a server that did not answer just before."""
_WILL_NOT_PASS = (Unauthenticated, Forbidden, InvalidInput, UpgradeRequired)
"""What a person has to mend before this worker can ever register."""

_log = logger("worker")


class Refused(Exception):
    """The server does not want this worker; the message says what to mend."""


class Worker:
    """One worker process. `run` is its whole life."""

    def __init__(
        self,
        config: WorkerConfig,
        worker_id: str,
        plane: ControlPlane,
        executor: Executor,
        shutdown: Shutdown,
        clock: Clock,
        broker: Broker | None = None,
    ) -> None:
        self.id = worker_id
        self._config = config
        self._plane = plane
        self._shutdown = shutdown
        self._broker = broker
        self._leases = LeaseKeeper(plane, worker_id, clock)
        self._condition = Condition(self._leases, shutdown)
        self._meter = ResourceMeter(clock, config.workspace_dir)
        self._replaced: Superseded | None = None
        self._errands = ErrandLoop(plane, worker_id, executor, shutdown) if isinstance(executor, Errands) else None
        self._pool = Pool(
            config,
            worker_id,
            plane,
            executor,
            self._leases,
            self._condition,
            shutdown,
            clock,
            self._register,
            self._superseded,
        )
        self._heart = Heart(
            plane,
            worker_id,
            self._condition,
            self._leases,
            self._meter,
            config.heartbeat_interval,
            drain=shutdown.drain,
            register=self._register,
            superseded=self._superseded,
        )

    async def run(self) -> None:
        """Register, work until told to leave, leave.

        Raises `Refused` if the server will not have this worker, or another process has become it.
        """
        if not await self._arrive():
            return
        loops = [asyncio.create_task(self._keep_running(loop)) for loop in self._loops()]
        try:
            await self._pool.run()
        finally:
            await self._end(loops)
            if self._replaced is None:
                await self._leave()
        if self._replaced is not None:
            raise Refused(self._replaced.message)

    def _superseded(self, error: Superseded) -> None:
        """Another process is this worker now. What it left us with is lost already; leave without a word."""
        _log.error("another process has registered as this worker", worker_id=self.id)
        self._replaced = error
        for holding in self._leases.held.values():
            holding.lose(Loss.LOST)
        self._shutdown.stop()

    @property
    def stuck(self) -> int:
        """How many executions did not end although they had to; this process must not live on with them."""
        return self._pool.stuck

    def _loops(self) -> list[Callable[[], Awaitable[None]]]:
        loops: list[Callable[[], Awaitable[None]]] = [self._heart.run, self._leases.run]
        if self._errands is not None:
            loops.append(self._errands.run)
        if self._broker is not None:
            loops.append(self._listen)
        return loops

    async def _arrive(self) -> bool:
        """Register as soon as the server lets us; False if told to leave before."""
        backoff, attempt = Backoff(first=0.5, most=30.0), 0
        while not self._shutdown.draining.is_set():
            try:
                await self._register()
                return True
            except _WILL_NOT_PASS as error:
                raise Refused(f"{self._config.api_url} does not take this worker: {error.message}") from error
            except AgentVineError as error:
                attempt += 1
                _log.warning("cannot register yet", attempt=attempt, reason=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.delay(attempt)):
                    await self._shutdown.draining.wait()
        return False

    async def _register(self) -> Registered:
        registered = await self._plane.register(
            Registration(
                id=self.id,
                name=self._config.worker_name,
                worker_type=self._config.worker_type,
                version=__version__,
                host=socket.gethostname() or "unknown",
                config=self._config.told_the_server,
                protocol=protocol.NEWEST,
                oldest_protocol=protocol.OLDEST,
            )
        )
        protocol.check_agreed(registered.protocol)
        _log.info("registered", worker_id=self.id, server=registered.server_version, slots=self._config.slots)
        self._leases.doubt()  # a second registration may have cost us what we held
        return registered

    async def _keep_running(self, loop: Callable[[], Awaitable[None]]) -> None:
        """The outermost guard of a loop: a fault in it is told, and the loop goes on."""
        backoff, attempt = Backoff(most=5.0), 0
        while True:
            try:
                await loop()
            except Exception:  # noqa: BLE001  the boundary: whatever it is, the other loops go on
                attempt += 1
                _log.exception("a loop broke", loop=loop.__qualname__, attempt=attempt)
            await pause(backoff.delay(attempt))

    async def _listen(self) -> None:
        assert self._broker is not None  # noqa: S101  see _loops
        async for ring in self._broker.rings():
            self._hear(ring)

    def _hear(self, ring: Ring) -> None:
        """A ring is never believed: it only makes us ask the server earlier."""
        if ring.kind == "cancelled" and ring.work_order_id is not None:
            self._leases.doubt(ring.work_order_id)
        elif ring.kind == "drain" and ring.worker_id == self.id:
            self._condition.changed()

    async def _end(self, loops: list[asyncio.Task[None]]) -> None:
        self._meter.stop()
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops)

    async def _leave(self) -> None:
        patience = _HASTY_FAREWELL_SECONDS if self._condition.note else _FAREWELL_SECONDS
        try:
            async with asyncio.timeout(patience):
                await self._plane.deregister(self.id)
        except (AgentVineError, TimeoutError) as error:
            _log.warning("left without deregistering; the server will notice", reason=str(error))
        else:
            _log.info("deregistered", worker_id=self.id)
