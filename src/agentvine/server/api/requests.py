"""Requests of workers and the answers to them."""

from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Model
from agentvine.domain.request import ControllerResponse, WorkerRequest
from agentvine.server.api.endpoints import Api
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
