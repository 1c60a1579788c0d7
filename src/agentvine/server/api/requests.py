"""Requests of workers and the answers to them."""

from typing import Annotated, Literal

from pydantic import Field

from agentvine.domain.base import Model
from agentvine.domain.request import ControllerResponse, RequestStatus, WorkerRequest
from agentvine.server.api.endpoints import Api, Cursor, Desk, Limit
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.control_plane import ControlPlane

api = Api("requests")


@api.hot(routes.ASK)
async def ask(plane: ControlPlane, asking: m.Asking) -> WorkerRequest:
    """Ask, and keep the order. Asking again with the same id changes nothing."""
    return await plane.ask(asking.execution_id, asking.request)


class Patience(Model):
    """How long the asker can wait."""

    wait_seconds: Annotated[float, Field(ge=0, le=m.LONGEST_WAIT, allow_inf_nan=False)] = 0.0


@api.hot(routes.RESPONSE, waits=True)
async def response(plane: ControlPlane, patience: Patience, request_id: str) -> ControllerResponse | None:
    """The answer to a request; 204 if there was none within the time to wait."""
    return await plane.response(request_id, patience.wait_seconds)


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
