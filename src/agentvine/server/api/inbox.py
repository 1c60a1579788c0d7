"""Requests of workers, as people see and answer them."""

from typing import Literal

from agentvine.domain.request import RequestStatus, WorkerRequest
from agentvine.server.api.operations import Cursor, Desk, Limit, Operations
from agentvine.wire import messages as m
from agentvine.wire import routes

api = Operations("requests")


@api.route(routes.REQUESTS)
async def requests(
    desk: Desk,
    status: RequestStatus | Literal["any"] = RequestStatus.OPEN,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> m.Page[WorkerRequest]:
    """Requests, oldest first; open ones unless told otherwise."""
    return await desk.requests(None if status == "any" else status, cursor, limit)


@api.route(routes.INBOX)
async def inbox(desk: Desk, cursor: Cursor = None, limit: Limit = 50) -> m.Inbox:
    """Open requests with their tasks. Who waits longest comes first."""
    return await desk.inbox(cursor, limit)


@api.route(routes.REQUEST)
async def request(desk: Desk, request_id: str) -> WorkerRequest:
    """A request."""
    return await desk.request(request_id)


@api.route(routes.RESPOND)
async def respond(desk: Desk, request_id: str, reply: m.Reply) -> WorkerRequest:
    """Answer a request. The first answer stands; the same one again is harmless; one that is too late is kept."""
    return await desk.respond(request_id, reply)
