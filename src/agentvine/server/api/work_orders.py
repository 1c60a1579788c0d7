"""Work orders: what the worker that holds one says of it."""

from agentvine.domain.execution import Execution
from agentvine.domain.request import WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.server.api.endpoints import Api
from agentvine.server.metrics import Metrics
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.control_plane import ControlPlane

api = Api("work orders")


@api.hot(routes.START)
async def start(plane: ControlPlane, held: m.Held, work_order_id: str) -> m.RenewedLease:
    """Acknowledge a claim; the lease now lasts its full time."""
    return await plane.start(work_order_id, held)


def _count_completion(metrics: Metrics, _: m.Completion, completed: m.Completed) -> None:
    metrics.completions.inc()
    if completed.next is not None:
        metrics.claims.inc()


@api.hot(routes.COMPLETE, counted=_count_completion)
async def complete(plane: ControlPlane, completion: m.Completion, work_order_id: str) -> m.Completed:
    """The order is delivered. The same completion again gives the same answer, and with `next` the next order."""
    return await plane.complete(work_order_id, completion)


@api.hot(routes.FAIL, counted=lambda metrics, report, _: metrics.failed(report.failure.reason))
async def fail(plane: ControlPlane, report: m.FailureReport, work_order_id: str) -> WorkOrder:
    """It did not work. The order in the answer says whether it will be tried again."""
    return await plane.fail(work_order_id, report)


@api.hot(routes.RELEASE)
async def release(plane: ControlPlane, surrender: m.Surrender, work_order_id: str) -> WorkOrder:
    """Give the order back unharmed; the attempt does not count."""
    return await plane.release(work_order_id, surrender)


@api.hot(routes.DELIVER)
async def deliver(plane: ControlPlane, intent: m.DeliveryIntent, work_order_id: str) -> Execution:
    """Journal what is about to leave the worker."""
    return await plane.deliver(work_order_id, intent)


@api.hot(routes.PARK)
async def park(plane: ControlPlane, parking: m.Parking, work_order_id: str) -> WorkerRequest:
    """Ask, and let go of the order until the answer is there."""
    return await plane.park(work_order_id, parking)


@api.hot(routes.HEAR_COMMENTS, waits=True)
async def hear_comments(plane: ControlPlane, wanted: m.CommentsWanted, work_order_id: str) -> m.CommentPage:
    """What people said of an order, for the worker that holds it; waits for a comment if there is none yet."""
    return await plane.comments(work_order_id, wanted)
