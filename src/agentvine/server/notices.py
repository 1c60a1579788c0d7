"""What people are told when something waits, has failed or is done: little, and nothing that is secret.

A notice is made when it is sent, from what is true then: a question that has been answered meanwhile is not told.
Titles and questions are strangers' words; secrets are taken out of them, and what no line of text holds.
"""

from typing import Literal

from agentvine.domain.base import Line, Model, Moment
from agentvine.domain.event import Event, EventKind
from agentvine.domain.ids import RequestId, TaskId
from agentvine.domain.request import RequestStatus
from agentvine.domain.worker_types import WorkerType
from agentvine.kit.logs import redact
from agentvine.server.settings import What
from agentvine.store import requests, tasks, work_orders
from agentvine.store.unit import Unit

QUESTION_LENGTH = 300
_TITLE_LENGTH = 200
_KINDS = {
    EventKind.REQUEST_OPENED: What.WAITS,
    EventKind.ORDER_FAILED: What.FAILED,
    EventKind.ORDER_COMPLETED: What.COMPLETED,
    EventKind.FOLLOW_UP_STOPPED: What.FAILED,
}
TRIAL = "trial"


class Notice(Model):
    """One thing that people may want to hear of. This is the body of a webhook; fields are added, never changed."""

    version: Literal[1] = 1
    id: Line
    """The same for each delivery of the same event: `evt_` and its number."""
    kind: Line
    """The event's kind; `trial` for one that tries a channel."""
    what: What
    at: Moment
    task_id: TaskId
    title: Line
    repository: str
    type: WorkerType
    request_id: RequestId | None = None
    question: str = ""
    reason: str = ""
    """Why it failed, in a word."""
    command: Line
    """What to type to see all of it."""


def interesting(event: Event, about: frozenset[What]) -> bool:
    """True if a notice may come of it."""
    return _KINDS.get(event.kind) in about


def notice_of(unit: Unit, event: Event) -> Notice | None:
    """The notice of an interesting event; None if it is over by now."""
    what = _KINDS[event.kind]
    task = tasks.get(unit, event.task_id or "")
    order = work_orders.get(unit, event.work_order_id or "")
    if task is None or order is None:
        return None
    request_id, question, reason = None, "", ""
    command = f"agentvine show {task.id}"
    if what is What.WAITS:
        request = requests.get(unit, str(event.data.get("request_id")))
        if request is None or request.status is not RequestStatus.OPEN:
            return None
        request_id, question = request.id, brief(request.message, QUESTION_LENGTH)
        command = f"agentvine inbox show {request.id}"
    elif what is What.FAILED:
        reason = str(event.data.get("reason") or "")
    return Notice(
        id=f"evt_{event.seq}",
        kind=event.kind.value,
        what=what,
        at=event.at,
        task_id=task.id,
        title=brief(task.asked.title, _TITLE_LENGTH) or task.id,
        repository=redact(task.asked.repository),
        type=task.asked.type,
        request_id=request_id,
        question=question,
        reason=reason,
        command=command,
    )


def brief(text: str, most: int) -> str:
    """`text` on one line of at most `most` characters, without secrets and without what cannot be seen."""
    line = " ".join(redact(text).split())
    line = "".join(character if character.isprintable() else "\ufffd" for character in line)
    return line if len(line) <= most else line[: most - 1] + "\u2026"
