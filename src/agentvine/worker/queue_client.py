"""The worker's side of the conversation with the controller: ask, and wait for the answer.

The broker makes it fast and the server makes it sure. A request counts as handed over only when the server says that it
has it; a response that comes over the broker is only a reason to fetch it from the server.
"""

import asyncio

from agentvine.broker.base import Broker, BrokerUnavailable
from agentvine.domain.errors import AgentVineError, Conflict, NotFound
from agentvine.domain.request import ControllerResponse, WorkerRequest
from agentvine.kit.backoff import Backoff
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import HIDDEN, logger
from agentvine.wire.channels import RequestMessage
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import NewRequest
from agentvine.worker.redacting import cleaned

_HANDED_OVER_SECONDS = 5.0
"""How long the stream has to bring a request to the server."""
_FALLBACK_SECONDS = 4.0
"""How often the server is asked all the same while the broker carries the responses."""
_LONG_POLL_SECONDS = 30.0
"""How long one question to the server stays open while there is no broker."""

_log = logger("queue_client")


class QueueClient:
    """Speaks for one worker. Without a broker everything goes over HTTP."""

    def __init__(self, plane: ControlPlane, broker: Broker | None, worker_id: str, clock: Clock) -> None:
        self._plane = plane
        self._broker = broker
        self._worker_id = worker_id
        self._clock = clock

    async def enqueue_worker_request(self, execution_id: str, request: NewRequest) -> None:
        """Hand `request` to the controller; returns when the server has it. Its id makes saying it twice harmless.

        Raises what `ControlPlane.ask` raises.
        """
        request = cleaned(HIDDEN, request)  # what goes over the broker passes no other place
        if self._broker is not None and await self._handed_over(self._broker, execution_id, request):
            return
        await self._plane.ask(execution_id, request)

    async def as_it_stands(self, execution_id: str, request: NewRequest) -> WorkerRequest:
        """What the server keeps of a request that was handed over, with its answer. Raises what `ControlPlane.ask`
        raises."""
        return await self._plane.ask(execution_id, cleaned(HIDDEN, request))

    async def wait_for_response(self, request_id: str, wait_seconds: float) -> ControllerResponse | None:
        """The answer, or None if there was none within `wait_seconds`.

        Raises `NotFound` if the server has no such request, `Conflict` if it is over without an answer. A server out of
        reach is waited for.
        """
        until, position, failed = self._clock.elapsed() + wait_seconds, "0", 0
        long_poll = 0.0
        while True:
            left = max(until - self._clock.elapsed(), 0.0)
            try:
                response = await self._plane.response(request_id, min(long_poll, left))
                failed = 0
            except (NotFound, Conflict):
                raise
            except AgentVineError as error:
                failed += 1
                _log.warning("cannot ask for the response", request_id=request_id, reason=error.message)
                response = None
                await pause(min(Backoff(first=0.5, most=10.0).delay(failed), left))
            left = until - self._clock.elapsed()
            if response is not None or left <= 0:
                return response
            heard = await self._listen(request_id, position, min(_FALLBACK_SECONDS, left))
            long_poll = _LONG_POLL_SECONDS if heard is None else 0.0
            position = heard or position

    async def _handed_over(self, broker: Broker, execution_id: str, request: NewRequest) -> bool:
        """True if the server got it over the stream in time."""
        message = RequestMessage(worker_id=self._worker_id, execution_id=execution_id, request=request)
        try:
            await broker.send_request(message)
            async with asyncio.timeout(_HANDED_OVER_SECONDS):
                backoff, attempt = Backoff(first=0.01, most=1.0), 0
                while not await self._is_known(request.id):
                    attempt += 1
                    await pause(backoff.delay(attempt))
        except (BrokerUnavailable, TimeoutError, AgentVineError) as error:
            _log.info("a request goes over HTTP", request_id=request.id, reason=str(error) or "not taken in time")
            return False
        return True

    async def _is_known(self, request_id: str) -> bool:
        try:
            await self._plane.response(request_id)
        except NotFound:
            return False
        except Conflict as over:  # what the server opens again when it is asked again is not known yet
            status = over.facts.get("status")
            failed = status == "expired" and over.facts.get("unanswered") == "fail"
            return not failed and status not in {"withdrawn", "lapsed"}
        return True

    async def _listen(self, request_id: str, position: str, seconds: float) -> str | None:
        """Wait until the stream has a response to `request_id`, at most `seconds`. The position to go on from, or None
        if the broker is of no use at present."""
        if self._broker is None:
            return None
        until = self._clock.elapsed() + seconds
        while (left := until - self._clock.elapsed()) > 0:
            try:
                position, messages = await self._broker.responses(self._worker_id, position, left)
            except BrokerUnavailable as error:
                _log.info("waiting for a response over HTTP", request_id=request_id, reason=str(error))
                return None
            if any(message.request_id == request_id for message in messages):
                break
        return position
