"""The queue and its work orders, as people see them, and what people do with one."""

from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.server.api.operations import Cursor, Desk, Limit, Operations
from agentvine.wire import messages as m
from agentvine.wire import routes

api = Operations("work orders")


@api.route(routes.QUEUE)
async def queue(desk: Desk) -> m.QueueReport:
    """Depth, ages and dead letters."""
    return await desk.queue()


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
