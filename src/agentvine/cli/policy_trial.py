"""A policy tried on requests that were made: what it would have decided beside what was."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from agentvine.cli.names import requests
from agentvine.cli.render import Column, Screen
from agentvine.cli.text import ago, several, short_id, shortened
from agentvine.domain.base import Model, Moment
from agentvine.domain.ids import RequestId, TaskId
from agentvine.domain.policy import Case, Decision, Policy, decide
from agentvine.domain.request import RequestKind, RequestStatus, WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.wire.front_desk import FrontDesk

_SAME = {Decision.ANSWER: "answer", Decision.APPROVE: "approved", Decision.DENY: "denied"}
"""The verdict that each decision comes to."""


class Judgement(Model):
    """A request, what became of it, and what the rules say. `rule` None: no rule fits."""

    request_id: RequestId
    task_id: TaskId
    kind: RequestKind
    message: str
    created_at: Moment
    status: RequestStatus
    verdict: str | None = None
    made_by: str | None = None
    decision: Decision = Decision.ASK
    """`ask`: it goes to a person."""
    rule: str | None = None
    answer: str = ""
    """What Claude would have been told."""

    @property
    def differs(self) -> bool:
        """True if it was settled with another verdict than the rules would have given."""
        return self.verdict is not None and _SAME.get(self.decision, self.verdict) != self.verdict


async def judged(desk: FrontDesk, policy: Policy, limit: int) -> list[Judgement]:
    """The latest requests, at most `limit`, oldest first, each with what the rules say of it."""
    latest: deque[WorkerRequest] = deque(maxlen=limit)
    async for each in requests(desk, everything=True):
        latest.append(each)
    orders: dict[str, WorkOrder] = {}
    found = []
    for request in latest:
        if request.work_order_id not in orders:
            orders[request.work_order_id] = await desk.work_order(request.work_order_id)
        found.append(_judgement(policy, orders[request.work_order_id], request))
    return found


def _judgement(policy: Policy, order: WorkOrder, request: WorkerRequest) -> Judgement:
    rule, response = decide(policy, Case.of(order, request)), request.response
    return Judgement(
        request_id=request.id,
        task_id=request.task_id,
        kind=request.kind,
        message=request.message,
        created_at=request.created_at,
        status=request.status,
        verdict=response.verdict if response else None,
        made_by=response.made_by if response else None,
        decision=rule.decide if rule else Decision.ASK,
        rule=rule.name if rule else None,
        answer=rule.message if rule else "",
    )


def draw(screen: Screen, found: Sequence[Judgement], now: datetime) -> None:
    """A line for each, and how many the rules would have settled."""
    columns = [
        Column("REQUEST"),
        Column("ASKED", "right"),
        Column("KIND"),
        Column("MESSAGE", flexible=True),
        Column("WAS", flexible=True),
        Column("BY THE RULES", flexible=True),
    ]
    rows = [
        (
            short_id(each.request_id),
            ago(each.created_at, now),
            each.kind.value,
            shortened(each.message, 300),
            f"{each.verdict} by {each.made_by}" if each.verdict else each.status.value,
            _told(each),
        )
        for each in found
    ]
    screen.table(columns, rows)
    settled = sum(each.decision is not Decision.ASK for each in found)
    differing = sum(each.differs for each in found)
    screen.note((f"rules settle {settled} of {several(len(found), 'request')}, {differing} of them differently", "dim"))


def _told(each: Judgement) -> str:
    if each.rule is None:
        return "a person: no rule fits"
    if each.decision is Decision.ASK:
        return f"a person, by {each.rule}"
    return f"{_SAME[each.decision]} by {each.rule}{', differently' if each.differs else ''}"
