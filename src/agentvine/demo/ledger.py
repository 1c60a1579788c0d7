"""What becomes of the demo's orders."""

from collections.abc import Sequence

from agentvine.domain.base import Model
from agentvine.domain.errors import NotFound
from agentvine.domain.evidence import Evidence, TestSummary
from agentvine.domain.execution import Execution
from agentvine.domain.task import Task
from agentvine.domain.work_order import TERMINAL, OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.messages import TaskDetail


class Line(Model):
    """One order, as `--json` prints it. `branch` and `sha` are what was delivered: for a review, what was reviewed."""

    id: str
    type: TaskType
    status: OrderStatus
    branch: str | None
    sha: str | None
    base_sha: str | None
    tests_before: TestSummary | None
    tests_after: TestSummary | None
    cost_usd: float
    seconds: float
    repairs: int
    reason: str | None


class Report(Model):
    """All of it."""

    remote: str
    seconds: float
    orders: tuple[Line, ...]


class Ledger:
    """The orders in the order in which they were submitted, and the latest that is known of each."""

    def __init__(self, remote: str, tasks: Sequence[Task], began: float) -> None:
        self.remote = remote
        self.tasks = tuple(tasks)
        self.details: dict[str, TaskDetail] = {}
        self.evidence: dict[str, Evidence] = {}
        self._began = began
        self._seconds: float | None = None

    @property
    def over(self) -> bool:
        """True when no order can change any more."""
        return all(task.id in self.details and self.details[task.id].order.status in TERMINAL for task in self.tasks)

    @property
    def succeeded(self) -> bool:
        return self.over and all(detail.order.status is OrderStatus.COMPLETED for detail in self.details.values())

    @property
    def seconds(self) -> float:
        """Since the demo began; stands still once all is over."""
        return self._seconds if self._seconds is not None else SystemClock().elapsed() - self._began

    async def refresh(self, desk: FrontDesk) -> None:
        """Ask after every order that is not over."""
        for task in self.tasks:
            known = self.details.get(task.id)
            if known is None or known.order.status not in TERMINAL:
                self.details[task.id] = await desk.task(task.id)
                await self._look_at_evidence(desk, task.id)
        if self.over:
            self._seconds = self.seconds

    async def _look_at_evidence(self, desk: FrontDesk, task_id: str) -> None:
        last = self.last_execution(task_id)
        if last is None or self.details[task_id].order.status not in TERMINAL:
            return
        try:
            self.evidence[task_id] = await desk.evidence(last.id)
        except NotFound:
            return

    def last_execution(self, task_id: str) -> Execution | None:
        """The latest attempt at a task."""
        detail = self.details.get(task_id)
        return max(detail.executions, key=lambda one: one.attempt) if detail and detail.executions else None

    def report(self) -> Report:
        """What to print at the end."""
        return Report(
            remote=self.remote, seconds=round(self.seconds, 1), orders=tuple(self._line(task) for task in self.tasks)
        )

    def _line(self, task: Task) -> Line:
        detail = self.details[task.id]
        last, evidence = self.last_execution(task.id), self.evidence.get(task.id)
        delivery = last.delivery if last else None
        ends = [one.ended_at for one in detail.executions if one.ended_at]
        return Line(
            id=task.id,
            type=task.asked.type,
            status=detail.order.status,
            branch=delivery.branch if delivery else None,
            sha=delivery.new_sha if delivery else None,
            base_sha=last.base_sha if last else None,
            tests_before=evidence.tests_before if evidence else None,
            tests_after=evidence.tests_after if evidence else None,
            cost_usd=round(sum(one.usage.cost_usd for one in detail.executions), 4),
            seconds=round((max(ends) - task.created_at).total_seconds(), 1) if ends else 0.0,
            repairs=evidence.repairs if evidence else 0,
            reason=detail.order.failure.reason if detail.order.failure else None,
        )
