"""The stream of events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Header, Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentvine.domain.errors import AgentVineError
from agentvine.domain.event import Event
from agentvine.domain.ids import TaskId
from agentvine.kit.logs import logger
from agentvine.server.api.operations import Desk, Operations, Serving
from agentvine.server.waits import STREAMED, Waits
from agentvine.wire import routes

api = Operations("events")
_log = logger("events")
KEEP_ALIVE_SECONDS = 15.0
_SSE = "text/event-stream"
_Number = Annotated[int | None, Query(ge=0, le=2**53, description="Begin behind this number; else with the next event")]
_LastEventId = Annotated[
    int | None, Header(alias="Last-Event-ID", ge=0, le=2**53, description="Where a stream that broke off goes on")
]


@api.route(
    routes.EVENTS,
    response_class=Response,
    responses={200: {"description": "Events as they happen, without end", "content": {_SSE: {}}}},
)
async def events(
    desk: Desk,
    services: Serving,
    after: _Number = None,
    task_id: TaskId | None = None,
    last_event_id: _LastEventId = None,
) -> Response:
    """Events, each with its number as its id. Who goes on behind the last id misses none and sees none twice."""
    position = last_event_id if last_event_id is not None else after
    if position is None:
        position = await services.latest_event()
    return EventStream(desk.events(position, task_id), position, services.waits)


class EventStream(Response):
    """Answers with `events`, the first of which comes behind number `position`.

    It says its position before the first event, so that a client whose connection breaks before that does not begin
    anew "from now on". After `keep_alive` seconds without an event it shows that it lives. Ends when the client goes
    away, when the server goes down, and when `events` ends.
    """

    media_type = _SSE

    def __init__(
        self, events: AsyncIterator[Event], position: int, waits: Waits, *, keep_alive: float = KEEP_ALIVE_SECONDS
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._position = position
        self._waits = waits
        self._keep_alive = keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        begun = False
        try:
            async with self._waits.enter(scope, receive):
                await send(start)
                begun = scope[STREAMED] = True
                await _part(send, f"id: {self._position}\n\n")
                await self._send_events(send)
        except AgentVineError as error:
            if not begun:
                raise
            _log.info("a stream ended early", why=error.message)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        upcoming = asyncio.ensure_future(anext(self._events))
        try:
            while True:
                await asyncio.wait([upcoming], timeout=self._keep_alive)
                if not upcoming.done():
                    await _part(send, ": still here\n\n")
                    continue
                try:
                    event = upcoming.result()
                except StopAsyncIteration:
                    return
                await _part(send, f"id: {event.seq}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n")
                upcoming = asyncio.ensure_future(anext(self._events))
        finally:
            upcoming.cancel()
            await asyncio.wait([upcoming])


async def _part(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
