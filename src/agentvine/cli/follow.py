"""Hears of changes while a command runs: from the stream of events if it flows, else by looking again now and then."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from agentvine.domain.errors import AgentVineError, Unavailable
from agentvine.kit.doorbell import Doorbell, pause

if TYPE_CHECKING:
    from agentvine.wire.front_desk import FrontDesk

LOOK_AGAIN_SECONDS = 2.0
"""How often to look without an event: also what shows a cost that grows, of which no event tells."""
_LISTEN_AGAIN_SECONDS = 2.0


class Changes:
    """Tasks of which something was heard."""

    def __init__(self) -> None:
        self._bell = Doorbell()
        self._heard: set[str] = set()

    def hear(self, task_id: str) -> None:
        """Something happened to this task."""
        self._heard.add(task_id)
        self._bell.ring()

    async def wait(self, seconds: float) -> frozenset[str] | None:
        """The tasks of which something was heard within `seconds`; None if there was nothing: then look at all."""
        if not await self._bell.wait(seconds):
            return None
        heard = frozenset(self._heard)
        self._heard.clear()
        return heard


@asynccontextmanager
async def following(desk: "FrontDesk", task_ids: Collection[str]) -> AsyncIterator[Changes]:
    """Listens for events of these tasks while the block runs. A server that is away only costs promptness."""
    changes = Changes()
    listener = asyncio.create_task(_listen(desk, frozenset(task_ids), changes))
    try:
        yield changes
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener


async def _listen(desk: "FrontDesk", task_ids: frozenset[str], changes: Changes) -> None:
    only = next(iter(task_ids)) if len(task_ids) == 1 else None
    while True:
        try:
            async with aclosing(desk.events(None, only)) as events:  # type: ignore[type-var]  # a generator, by contract
                async for event in events:
                    if event.task_id in task_ids:
                        changes.hear(event.task_id)
        except Unavailable:
            await pause(_LISTEN_AGAIN_SECONDS)
        except AgentVineError:
            return
