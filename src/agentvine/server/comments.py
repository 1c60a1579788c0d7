"""What people say of an order while it lives, and when it is retried. Runs inside transactions, as `Orders` does."""

from agentvine.domain.errors import Conflict
from agentvine.domain.event import EventKind
from agentvine.domain.key import Key
from agentvine.domain.work_order import TERMINAL, WorkOrder
from agentvine.kit.clock import Clock
from agentvine.server.chronicle import Told, actor_of, tell
from agentvine.store import comments
from agentvine.store.unit import Unit
from agentvine.wire import messages as m
from agentvine.wire.channels import Ring

MOST = 1000
"""Comments of one order."""


class Comments:
    """Takes comments down and wakes whoever works on the order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def add(self, unit: Unit, order: WorkOrder, text: str, key: Key) -> m.Comment:
        """Keep what a person says of a live order, which is locked. Raises `Conflict` for one that has ended."""
        if order.status in TERMINAL:
            raise Conflict(
                f"the task is {order.status}, nobody works on it; "
                f"`agentvine retry {order.task_id} --comment …` goes on with a comment",
                status=order.status.value,
            )
        return self.keep(unit, order, text, key)

    def keep(self, unit: Unit, order: WorkOrder, text: str, key: Key) -> m.Comment:
        """As `add`, whatever became of the order."""
        return self.keep_of(unit, order, text, actor_of(key))

    def keep_of(self, unit: Unit, order: WorkOrder, text: str, author: str) -> m.Comment:
        """As `keep`, in the name of an actor, as events name it: what the server has to say is `server`'s.

        Raises `Conflict`.
        """
        now = self._clock.now()
        comment = comments.add(unit, order, author, text, now)
        if comment.number > MOST:
            raise Conflict(f"the task has {MOST} comments; that is as many as are kept", status=order.status.value)
        told = Told(author, data={"number": comment.number, "text": text[:500]})
        tell(unit, EventKind.TASK_COMMENTED, order.model_copy(update={"updated_at": now}), told)
        unit.ring(Ring(kind="comment", work_order_id=order.id))
        return comment
