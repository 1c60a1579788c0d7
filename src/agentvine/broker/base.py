"""The port to whatever carries rings and messages. Nothing that goes through it is truth; all of it may get lost."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from agentvine.wire.channels import RequestMessage, ResponseMessage, Ring


class BrokerUnavailable(Exception):
    """The broker cannot be reached, or refuses. Callers go on without it; it costs latency only."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request that was read from the stream and waits to be acknowledged."""

    entry_id: str
    message: RequestMessage


class Broker(Protocol):
    """Every call returns or raises `BrokerUnavailable` within about a second; streams reconnect by themselves."""

    async def ring(self, ring: Ring) -> None:
        """Tell whoever listens."""
        ...

    def rings(self) -> AsyncIterator[Ring]:
        """Rings as they come, without end. Broken connections are mended inside; rings of that time are lost."""
        ...

    async def send_request(self, message: RequestMessage) -> None:
        """Put a request on the controller's stream."""
        ...

    def requests(self, consumer: str) -> AsyncIterator[Received]:
        """Requests for the controller group, without end; those that another consumer left unacknowledged come again.

        An entry that cannot be parsed is logged, acknowledged and passed over.
        """
        ...

    async def acknowledge(self, received: Received) -> None:
        """The request is stored."""
        ...

    async def send_response(self, worker_id: str, message: ResponseMessage) -> None:
        """Put a response on the worker's stream."""
        ...

    async def responses(self, worker_id: str, after: str, wait_seconds: float) -> tuple[str, list[ResponseMessage]]:
        """Responses behind position `after` ("0": from the start), and the position to go on from."""
        ...

    async def ping(self) -> None:
        """Raises `BrokerUnavailable` unless the broker answers."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
