"""What an earlier execution left for the next one."""

from agentvine.domain.execution import Outcome
from agentvine.store import executions, requests
from agentvine.store.unit import Unit
from agentvine.wire import messages as m


def earlier(unit: Unit, work_order_id: str, token: int) -> m.Earlier | None:
    """What whoever holds the lease `token` has to know of those before; None for the first.

    That is the last execution, unless an older one has left a verified result and the last one did not park: then that.
    The request is the last that was asked for the order, whoever asked it: an answer must reach whoever goes on.
    """
    last = executions.last_before(unit, work_order_id, token)
    if last is None:
        return None
    verified = executions.last_verified(unit, work_order_id, token)
    chosen = verified if verified is not None and last.execution.outcome is not Outcome.PARKED else last
    return m.Earlier(
        execution=chosen.execution,
        verified=chosen.verified,
        request=requests.newest_of_order(unit, work_order_id),
    )
