"""How tasks go, while somebody looks: a table that moves on a terminal, a line for each change elsewhere."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from agentvine.cli.render import Column, Screen, line, status, table
from agentvine.cli.text import duration, money, short_id, until
from agentvine.domain.task import TaskStatus
from agentvine.domain.work_order import TERMINAL
from agentvine.kit.clock import Clock
from agentvine.wire.messages import TaskDetail

_COLUMNS = (
    Column("TASK"),
    Column("TYPE"),
    Column("TITLE", flexible=True),
    Column("STATE"),
    Column("TIME", "right"),
    Column("COST", "right"),
)


class Progress:
    """Shown on the error output while the block runs, so that the result alone goes to standard output."""

    def __init__(self, screen: Screen, clock: Clock) -> None:
        self._screen = screen
        self._clock = clock
        self._details: Sequence[TaskDetail] = ()
        self._told: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._screen.err.is_terminal:
            live = Live(console=self._screen.err, get_renderable=self._draw, refresh_per_second=4, transient=True)
            self._stack.enter_context(live)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def show(self, details: Sequence[TaskDetail]) -> None:
        """This is how they stand now."""
        self._details = details
        if self._screen.err.is_terminal:
            return
        for detail in details:
            word = state(detail)
            if self._told.get(detail.task.id) != word:
                self._told[detail.task.id] = word
                self._screen.note(f"{short_id(detail.task.id)}  {word}")

    def _draw(self) -> RenderableType:
        now = self._clock.now()
        return table(_COLUMNS, [_row(detail, now) for detail in self._details])


def _row(detail: TaskDetail, now: datetime) -> tuple[str | Text, ...]:
    task = detail.task
    return (
        short_id(task.id),
        task.asked.type.value,
        task.asked.title,
        _coloured(detail, now),
        duration(age(detail, now)),
        money(spent(detail)),
    )


def _coloured(detail: TaskDetail, now: datetime) -> Text:
    order = detail.order
    words = state(detail)
    if order.not_before is not None and order.not_before > now:
        words += f", again {until(order.not_before, now)}"
    return line((words, str(status(detail.task.status.value).style)))


def state(detail: TaskDetail) -> str:
    """What a task is doing, in a few words."""
    current = detail.task.status
    if any(each.status.value == "open" for each in detail.requests) and detail.order.status not in TERMINAL:
        return "waiting for a person" if current is TaskStatus.WAITING else "asks a person"
    if current is TaskStatus.RUNNING:
        running = [each.phase.value for each in detail.executions if each.outcome is None]
        return running[-1] if running else current.value
    if current is TaskStatus.PENDING and detail.order.failure is not None:
        return f"pending after {detail.order.failure.reason.value}"
    return current.value


def age(detail: TaskDetail, now: datetime) -> float:
    """Seconds from the submission to now, or to the end of what is over."""
    end = detail.order.updated_at if detail.order.status in TERMINAL else now
    return (end - detail.task.created_at).total_seconds()


def spent(detail: TaskDetail) -> float:
    """US dollars so far, with what the running execution has reported."""
    return sum(each.usage.cost_usd for each in detail.executions)
