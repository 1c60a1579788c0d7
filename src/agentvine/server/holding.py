"""Whether whoever speaks may speak for this worker, order or execution. What is found is locked."""

from agentvine.domain.errors import Forbidden, LeaseLost
from agentvine.domain.key import Key, WorkerKey
from agentvine.domain.work_order import WorkOrder
from agentvine.server.permits import known, not_found, permit_worker
from agentvine.server.sessions import superseded
from agentvine.store import executions, work_orders, workers
from agentvine.store.executions import Kept
from agentvine.store.unit import Unit
from agentvine.store.workers import Claimer


def own_worker(unit: Unit, worker_id: str, key: Key, execution_id: str = "") -> Claimer:
    """The worker, which registered with this key, and claims under that id.

    Raises `NotFound`, `Forbidden`, `Superseded`.
    """
    permit_worker(key, worker_id)
    claimer = workers.claimer(unit, worker_id, execution_id)
    if claimer is None:
        raise not_found("worker", worker_id)
    if claimer.key_id != key.id:
        raise Forbidden("another key registered this worker", needs={"worker": worker_id})
    if isinstance(key, WorkerKey) and claimer.session != key.session:
        raise superseded(worker_id)
    return claimer


def locked_order(unit: Unit, work_order_id: str) -> WorkOrder:
    """Raises `NotFound`."""
    order = work_orders.locked(unit, known("work order", work_order_id))
    if order is None:
        raise not_found("work order", work_order_id)
    return order


def held(unit: Unit, work_order_id: str, token: int, key: Key) -> tuple[WorkOrder, Kept]:
    """An order, and the execution that began with this lease token, perhaps long ago.

    Raises `NotFound`, `LeaseLost` if there was no such lease, `Forbidden` if it was not this key's.
    """
    order = locked_order(unit, work_order_id)
    kept = executions.by_token(unit, work_order_id, token)
    if kept is None:
        raise LeaseLost(f"{work_order_id} has no lease with token {token}", status=order.status.value)
    _check_key(kept, key)
    return order, kept


def held_now(unit: Unit, work_order_id: str, token: int, key: Key) -> WorkOrder:
    """An order whose lease, with this token, lasts; for a look, so nothing is locked.

    Raises `NotFound`, `Forbidden`, `LeaseLost`.
    """
    order = work_orders.get(unit, known("work order", work_order_id))
    if order is None:
        raise not_found("work order", work_order_id)
    kept = executions.by_token(unit, work_order_id, token)
    if kept is not None:
        _check_key(kept, key)
    if kept is None or order.lease is None or order.lease_token != token:
        raise LeaseLost(f"the lease of {work_order_id} with token {token} is over", status=order.status.value)
    return order


def live_execution(unit: Unit, execution_id: str, token: int, key: Key) -> Kept:
    """An execution whose lease, with this token, lasts. Raises `NotFound`, `Forbidden`, `LeaseLost`."""
    kept = executions.locked(unit, known("execution", execution_id))
    if kept is None:
        raise not_found("execution", execution_id)
    _check_key(kept, key)
    execution = kept.execution
    if execution.lease_token != token or execution.outcome is not None:
        outcome = execution.outcome.value if execution.outcome else "running"
        raise LeaseLost(f"the lease of {execution_id} with token {token} is over", status=outcome)
    return kept


def _check_key(kept: Kept, key: Key) -> None:
    if kept.key_id != key.id:
        raise Forbidden("this execution is another worker's", needs={"worker": kept.execution.worker_id})
    permit_worker(key, kept.execution.worker_id)
