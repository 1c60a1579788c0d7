"""Work orders: what the worker that holds one says of it, and what people do with one."""

from agentvine.domain.execution import Execution
from agentvine.domain.request import WorkerRequest
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.server.api.endpoints import Api, Cursor, Desk, Limit
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.control_plane import ControlPlane

api = Api("work orders")


@api.hot(routes.START)
async def start(plane: ControlPlane, held: m.Held, work_order_id: str) -> m.RenewedLease:
    """Acknowledge a claim; the lease now lasts its full time."""
    return await plane.start(work_order_id, held)


@api.hot(routes.COMPLETE, counted=lambda metrics, _, __: metrics.completions.inc())
async def complete(plane: ControlPlane, completion: m.Completion, work_order_id: str) -> WorkOrder:
    """The order is delivered. The same completion again gives the same answer."""
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


@api.route(routes.WORK_ORDERS)
async def work_orders(
    desk: Desk, status: OrderStatus | None = None, cursor: Cursor = None, limit: Limit = 50
) -> m.Page[WorkOrder]:
    """Work orders, newest first."""
    return await desk.work_orders(status, cursor, limit)


@api.route(routes.WORK_ORDER)
async def work_order(desk: Desk, work_order_id: str) -> WorkOrder:
    """A work order."""
    return await desk.work_order(work_order_id)


@api.route(routes.CANCEL_ORDER)
async def cancel_order(desk: Desk, work_order_id: str) -> WorkOrder:
    """End a live work order. Cancelling it again changes nothing."""
    return await desk.cancel_order(work_order_id)


@api.route(routes.REQUEUE)
async def requeue(desk: Desk, work_order_id: str) -> WorkOrder:
    """Take a failed work order out of the dead letters and queue it again."""
    return await desk.requeue(work_order_id)
