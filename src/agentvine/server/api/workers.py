"""Workers: their lives, as they tell them and as people see them."""

from starlette.responses import Response

from agentvine.domain.worker import Worker
from agentvine.server.api.endpoints import Api, Desk, Plane
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


@api.route(routes.DEREGISTER, status=204)
async def deregister(plane: Plane, worker_id: str) -> Response:
    """A worker leaves; leases that it still holds are lost at once. Harmless if it is unknown."""
    await plane.deregister(worker_id)
    return Response(status_code=204)


@api.route(routes.WORKERS)
async def workers(desk: Desk) -> tuple[Worker, ...]:
    """All workers that are known."""
    return await desk.workers()


@api.route(routes.WORKER)
async def worker(desk: Desk, worker_id: str) -> Worker:
    """A worker."""
    return await desk.worker(worker_id)


@api.route(routes.DRAIN_WORKER)
async def drain_worker(desk: Desk, worker_id: str) -> Worker:
    """Let a worker finish what it does and leave."""
    return await desk.drain_worker(worker_id)
