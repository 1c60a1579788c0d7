"""What has to be the same of the servers and of the reference, each told in the same words."""

from datetime import datetime, timedelta

from agentvine.domain.event import EventKind
from agentvine.domain.work_order import WorkOrder
from agentvine.store import events
from agentvine.store.unit import Unit
from agentvine.store.work_orders import order_of
from tests.property import reference as ref


def everything(unit: Unit) -> tuple[list[WorkOrder], dict[tuple[str, str], list[str]]]:
    """All orders; and of each type and queue those that may be claimed, as the index has them."""
    rows = unit.all("SELECT * FROM work_orders ORDER BY front DESC, priority DESC, created_at, id")
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["claimable"]:
            lines.setdefault((row["type"], row["queue"]), []).append(row["id"])
    return [order_of(row) for row in rows], lines


def completed(unit: Unit) -> list[str]:
    """The tasks of which it was told that their order was completed, sorted: once each (I2)."""
    found = events.after(unit, 0, None, None, 100_000).events
    return sorted(event.task_id or "" for event in found if event.kind is EventKind.ORDER_COMPLETED)


def expected(order: ref.Order) -> dict[str, object]:
    """An order of the reference."""
    stay = order.stays[-1] if order.stays else None
    until = None if order.until is None else round(order.until, 3)
    return {
        "status": order.status,
        "attempts": (order.token, order.charged, order.most),
        "workers lost": order.lost,
        "setbacks": order.setbacks,
        "token": order.token,
        "blocked by": order.blocked_by,
        "front": order.front,
        "not before": None if order.wake_at is None else round(order.wake_at, 3),
        "lease": (stay.worker, stay.execution, until) if stay and order.status == "running" else None,
        "waits for": order.waits_for,
        "failure": order.reason,
    }


def described(order: WorkOrder, began: datetime) -> dict[str, object]:
    """An order of the servers, with moments in seconds since the walk `began`."""

    def seconds(at: datetime) -> float:
        return round((at - began) / timedelta(seconds=1), 3)

    lease = order.lease
    return {
        "status": order.status.value,
        "attempts": (order.attempts, order.charged, order.max_attempts),
        "workers lost": order.workers_lost,
        "setbacks": order.setbacks,
        "token": order.lease_token,
        "blocked by": order.blocked_by,
        "front": order.front,
        "not before": order.not_before and seconds(order.not_before),
        "lease": lease and (lease.worker_id, lease.execution_id, seconds(lease.expires_at)),
        "waits for": order.request_id,
        "failure": order.failure and order.failure.reason.value,
    }
