"""Workers: their lives, as they tell them."""

from agentvine.server.api.endpoints import Api
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.control_plane import ControlPlane

api = Api("workers")


@api.hot(routes.REGISTER)
async def register(plane: ControlPlane, registration: m.Registration) -> m.Registered:
    """Make a worker known. Of an id that is known already, the earlier process is taken for dead."""
    return await plane.register(registration)


@api.hot(routes.HEARTBEAT)
async def heartbeat(plane: ControlPlane, beat: m.Heartbeat, worker_id: str) -> m.HeartbeatReply:
    """Say how it goes, hear what is wanted."""
    return await plane.heartbeat(worker_id, beat)
