"""What waits for people, as they look at it."""

from agentvine.domain.request import RequestStatus, WorkerRequest
from agentvine.domain.work_order import OrderStatus
from agentvine.server.pages import cursor_of_request, page_of
from agentvine.store import events, listings, tasks, work_orders
from agentvine.store.listings import Slice
from agentvine.store.unit import Unit
from agentvine.wire import messages as m


def inbox_of(unit: Unit, at: int, part: Slice) -> m.Inbox:
    """A page of open requests behind the one that was made at `at` (microseconds) and is called `part.after`."""
    position = events.newest(unit)  # first: what happens meanwhile is rather told twice than never
    page = page_of(listings.requests(unit, RequestStatus.OPEN, at, part), part.limit - 1, cursor_of_request)
    items = tuple(asked for request in page.items if (asked := asked_of(unit, request)) is not None)
    return m.Inbox(
        items=items, total=listings.open_requests(unit, part), position=position, next_cursor=page.next_cursor
    )


def asked_of(unit: Unit, request: WorkerRequest) -> m.Asked | None:
    """A request with its task; None if that is gone."""
    task, order = tasks.get(unit, request.task_id), work_orders.get(unit, request.work_order_id)
    if task is None or order is None:
        return None
    return m.Asked(
        request=request,
        title=task.asked.title,
        type=task.asked.type,
        repository=task.asked.repository,
        parked=order.status is OrderStatus.WAITING,
    )
