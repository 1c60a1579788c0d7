"""The stream of events, as far as a key may see it."""

import asyncio
from collections.abc import AsyncIterator

from agentvine.domain.errors import Unavailable
from agentvine.domain.event import Event
from agentvine.domain.key import Key
from agentvine.kit.doorbell import pause
from agentvine.server.worker_desk import ControlPlaneService
from agentvine.store import events

_AT_ONCE = 500
_BETWEEN_LOOKS = 0.05
"""Seconds between two looks of one stream, however often it is rung."""


async def followed(
    control: ControlPlaneService, key: Key, after: int | None, task_id: str | None
) -> AsyncIterator[Event]:
    """Events above number `after` (None: from now on), then each new one, without end."""
    repositories, types = key.scope.repositories or None, key.scope.worker_types or None
    loop = asyncio.get_running_loop()
    with control.bells.events() as bell:
        position = await control.latest_event() if after is None else after
        while True:
            looked_at = loop.time()
            try:
                found = await control.database.read(
                    lambda unit, position=position: events.after(unit, position, task_id, repositories, _AT_ONCE, types)
                )
            except Unavailable:  # a reader follows on when the database is back
                await pause(control.terms.watch_recheck_seconds)
                continue
            for event in found.events:
                yield event
            position = found.position
            if not found.more:
                await bell.wait(control.terms.watch_recheck_seconds)
                await pause(max(looked_at + _BETWEEN_LOOKS - loop.time(), 0.0))
