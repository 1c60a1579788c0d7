"""Follows what workers ask: each request as it comes, and what becomes of it, until interrupted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from pydantic import JsonValue

from agentvine.cli.asked import entry
from agentvine.cli.call import Call
from agentvine.cli.render import plain_json, status
from agentvine.cli.text import short_id, shortened
from agentvine.domain.errors import NotFound, Unavailable
from agentvine.domain.event import Event, EventKind
from agentvine.domain.request import RequestStatus, WorkerRequest
from agentvine.kit.doorbell import pause
from agentvine.kit.shutdown import Shutdown, on_signals
from agentvine.wire.messages import Asked

_Answer = TypeVar("_Answer")
_AGAIN_SECONDS = 1.0
_PAGE = 200
_ENDS = frozenset({EventKind.ORDER_CANCELLED, EventKind.ORDER_FAILED, EventKind.ORDER_COMPLETED})
"""With an order's end its open requests are withdrawn."""


async def watch(call: Call, as_json: bool) -> None:
    """Until SIGINT or SIGTERM. Raises what the server refuses; that it is away is waited for."""
    shutdown = Shutdown()
    with on_signals(shutdown):
        watching = asyncio.create_task(_Watch(call, as_json).run())
        asked_to_end = asyncio.create_task(shutdown.draining.wait())
        done, _ = await asyncio.wait({watching, asked_to_end}, return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, asked_to_end):
            task.cancel()
        await asyncio.wait({watching, asked_to_end})
        if watching in done:
            watching.result()


class _Watch:
    """`open` is what was shown and has not ended yet, by its id, with the task of each."""

    def __init__(self, call: Call, as_json: bool) -> None:
        self._call = call
        self._as_json = as_json
        self._open: dict[str, str] = {}

    async def run(self) -> None:
        position = await self._all_there_is()
        async for event in _from(self._call, position):
            if event.kind is EventKind.REQUEST_OPENED:
                await self._opened(str(event.data.get("request_id")))
            elif event.kind in {EventKind.REQUEST_ANSWERED, EventKind.REQUEST_EXPIRED}:
                await self._ended(str(event.data.get("request_id")))
            elif event.kind in _ENDS:
                for request_id in [one for one, task in self._open.items() if task == event.task_id]:
                    await self._ended(request_id)

    async def _all_there_is(self) -> int:
        """Show what is open; returns from where to follow."""
        first = page = await self._call.desk.inbox(None, _PAGE)
        while True:
            for asked in page.items:
                self._show(asked)
            if page.next_cursor is None:
                break
            page = await self._call.desk.inbox(page.next_cursor, _PAGE)
        if not self._as_json:
            self._call.screen.note((f"{first.total or 'nothing'} open; watching, Ctrl-C ends it", "dim"))
        return first.position

    def _show(self, asked: Asked) -> None:
        if asked.request.id in self._open:
            return
        self._open[asked.request.id] = asked.request.task_id
        if self._as_json:
            self._print({"what": "open", **asked.model_dump(mode="json")})
        else:
            entry(self._call.screen, asked, self._call.clock.now())
        self._call.screen.flush()

    async def _opened(self, request_id: str) -> None:
        request = None if request_id in self._open else await self._request(request_id)
        if request is None or request.status is not RequestStatus.OPEN:
            return  # what a rule answered at once was never anybody's to answer
        detail = await _patiently(lambda: self._call.desk.task(request.task_id))
        asked = detail.task.asked
        parked = detail.order.status.value == "waiting"
        self._show(
            Asked(request=request, title=asked.title, type=asked.type, repository=asked.repository, parked=parked)
        )

    async def _ended(self, request_id: str) -> None:
        if request_id not in self._open:
            return
        request = await self._request(request_id)
        if request is None or request.status is RequestStatus.OPEN:
            return
        del self._open[request_id]
        response = request.response
        word = response.verdict if response and response.verdict != "answer" else request.status.value
        if self._as_json:
            self._print({"what": word, "request": request.model_dump(mode="json")})
        else:
            said = f" by {response.made_by}: {shortened(response.message, 200)}" if response else ""
            self._call.screen.say((short_id(request.id), "bold cyan"), "  ", (word, str(status(word).style)), said)
        self._call.screen.flush()

    async def _request(self, request_id: str) -> WorkerRequest | None:
        try:
            return await _patiently(lambda: self._call.desk.request(request_id))
        except NotFound:
            return None

    def _print(self, document: dict[str, JsonValue]) -> None:
        self._call.screen.raw(plain_json(document))


async def _from(call: Call, position: int) -> AsyncIterator[Event]:
    """Each event above `position` once, however often the server goes away."""
    while True:
        try:
            async with aclosing(call.desk.events(position)) as events:  # type: ignore[type-var]  # as in follow.py
                async for event in events:
                    position = event.seq
                    yield event
        except Unavailable:
            await pause(_AGAIN_SECONDS)


async def _patiently(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    while True:
        try:
            return await ask()
        except Unavailable:
            await pause(_AGAIN_SECONDS)
