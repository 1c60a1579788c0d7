"""The server's tie to the broker. It may break at any time: what it carries is then found in the database, later."""

import asyncio
from typing import Protocol

from agentvine.broker.base import Broker, BrokerUnavailable, Received
from agentvine.domain.errors import AgentVineError, Unavailable
from agentvine.domain.request import WorkerRequest
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.server.bells import Bells
from agentvine.wire.channels import RequestMessage, ResponseMessage, Ring

MOST_RINGS = 1000
"""Rings that may wait to be sent; more are dropped, for whoever does not hear them looks by himself after a while."""
LOOK_SECONDS = 5.0
"""How often the broker is looked for, so that `/health` tells the truth of a quiet server too."""
_log = logger("broker link")


class Controller(Protocol):
    """What the link needs of the control plane."""

    async def take_request(self, message: RequestMessage) -> WorkerRequest:
        """Store a request, once. Raises what is wrong with it, or `Unavailable`."""
        ...

    async def response_message(self, request_id: str) -> ResponseMessage | None:
        """What to tell the worker that asked."""
        ...


class BrokerLink:
    """Carries rings both ways, requests in and responses out."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._rings: asyncio.Queue[Ring] = asyncio.Queue(MOST_RINGS)
        self._trouble: str | None = "it has not answered yet"

    def publish(self, ring: Ring) -> None:
        """Send `ring` to the other servers and to workers, some time soon, perhaps. Never blocks."""
        try:
            self._rings.put_nowait(ring)
        except asyncio.QueueFull:
            self._trouble = "it is too slow"

    def degraded(self) -> dict[str, str]:
        """`broker` and what is wrong with it, or nothing."""
        return {} if self._trouble is None else {"broker": self._trouble}

    async def run(self, bells: Bells, controller: Controller) -> None:
        """Carry, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            group.create_task(self._send(controller))
            group.create_task(self._hear(bells))
            group.create_task(self._take_requests(bells.name, controller))

    async def _look(self) -> None:
        while True:
            try:
                await self._broker.ping()
                self._well()
            except BrokerUnavailable as error:
                self._ill(error)
            await pause(LOOK_SECONDS)

    async def _send(self, controller: Controller) -> None:
        while True:
            ring = await self._rings.get()
            try:
                await self._broker.ring(ring)
                if ring.kind == "response":
                    await self._send_response(ring, controller)
                self._well()
            except BrokerUnavailable as error:
                self._ill(error)
            except AgentVineError as error:
                _log.warning("a response was not sent", request_id=ring.request_id, error=error.message)

    async def _send_response(self, ring: Ring, controller: Controller) -> None:
        if ring.request_id is None or ring.worker_id is None:
            return
        message = await controller.response_message(ring.request_id)
        if message is not None:
            await self._broker.send_response(ring.worker_id, message)

    async def _hear(self, bells: Bells) -> None:
        async for ring in self._broker.rings():
            bells.hear(ring)

    async def _take_requests(self, consumer: str, controller: Controller) -> None:
        async for received in self._broker.requests(consumer):
            if await self._stored(received, controller):
                try:
                    await self._broker.acknowledge(received)
                except BrokerUnavailable as error:  # it comes again, and is then known already
                    self._ill(error)

    async def _stored(self, received: Received, controller: Controller) -> bool:
        """True if the request need not come again."""
        try:
            await controller.take_request(received.message)
        except Unavailable:
            return False
        except AgentVineError as error:
            request = received.message.request.id
            _log.warning("a request was dropped", request_id=request, why=type(error).__name__, error=error.message)
        return True

    def _well(self) -> None:
        if self._trouble is not None:
            _log.info("the broker answers")
        self._trouble = None

    def _ill(self, error: BrokerUnavailable) -> None:
        if self._trouble is None:
            _log.warning("going on without the broker", why=str(error))
        self._trouble = str(error)
