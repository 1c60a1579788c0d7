"""Workers, as people see them."""

from starlette.responses import Response

from agentvine.domain.worker import Worker
from agentvine.server.api.operations import Desk, Operations, Plane
from agentvine.wire import routes

api = Operations("workers")


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
