"""A bug for the fault suite to find. It is there only in a server that was started with its failpoint (kit/failpoints).

A checker that never finds anything shows nothing. With this bug the server believes a worker that has lost its lease.
"""

from dataclasses import replace

from agentvine.domain.lifecycle import HeldMove, Move
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.kit import failpoints


def planted(order: WorkOrder, move: Move) -> Move:
    """`move`; with the bug planted, as if it carried the present lease token."""
    if failpoints.planted("lease.unchecked") and isinstance(move, HeldMove) and order.status is OrderStatus.RUNNING:
        return replace(move, token=order.lease_token)
    return move
