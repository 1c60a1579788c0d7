"""What people said of orders while others worked on them."""

from datetime import datetime

from agentvine.domain.work_order import WorkOrder
from agentvine.store.rows import build, micros, moment
from agentvine.store.unit import Row, Unit
from agentvine.wire.messages import Comment


def add(unit: Unit, order: WorkOrder, author: str, text: str, at: datetime) -> Comment:
    """Keep a comment under the next number of its order, which is locked."""
    newest = unit.one("SELECT MAX(number) AS number FROM comments WHERE work_order_id = :id", id=order.id)
    number = ((newest["number"] if newest else None) or 0) + 1
    unit.run(
        """INSERT INTO comments (work_order_id, number, at, author, text)
           VALUES (:id, :number, :at, :author, :text)""",
        id=order.id,
        number=number,
        at=micros(at),
        author=author,
        text=text,
    )
    return Comment(task_id=order.task_id, work_order_id=order.id, number=number, at=at, author=author, text=text)


def after(unit: Unit, order: WorkOrder, number: int, limit: int) -> tuple[Comment, ...]:
    """At most `limit` comments of an order above that number, oldest first."""
    rows = unit.all(
        """SELECT * FROM comments WHERE work_order_id = :id AND number > :number ORDER BY number LIMIT :limit""",
        id=order.id,
        number=number,
        limit=limit,
    )
    return tuple(_comment(order, row) for row in rows)


def _comment(order: WorkOrder, row: Row) -> Comment:
    return build(
        Comment,
        {
            "task_id": order.task_id,
            "work_order_id": order.id,
            "number": row["number"],
            "at": moment(row["at"]),
            "author": row["author"],
            "text": row["text"],
        },
    )
