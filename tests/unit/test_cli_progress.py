"""How tasks look while somebody waits for them, and what their ends mean as an exit code."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from agentvine.cli.progress import Progress, age, state
from agentvine.cli.render import Screen, console
from agentvine.cli.sheet import draw
from agentvine.cli.wait import exit_code
from agentvine.domain.execution import Execution, Phase, Usage
from agentvine.domain.ids import new_id
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.request import RequestKind, WorkerRequest
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.task import NewTask, Task, TaskStatus
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.wire.messages import TaskDetail

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class StillClock:
    def now(self) -> datetime:
        return NOW

    def elapsed(self) -> float:
        return 0.0


def detail(
    status: OrderStatus,
    *,
    failure: FailureReason | None = None,
    not_before: datetime | None = None,
    phase: Phase | None = None,
    asks: RequestKind | None = None,
    title: str = "Prices lose a cent",
) -> TaskDetail:
    asked = NewTask(type=TaskType.BUGFIX, title=title, repository="https://h.example/acme/shop.git", branch="main")
    task_id, order_id, execution_id = (new_id(prefix, NOW) for prefix in ("tsk", "wo", "exe"))
    order = WorkOrder(
        id=order_id,
        task_id=task_id,
        type=asked.type,
        repository=asked.repository,
        branch=asked.branch,
        permission_level=PermissionLevel.AUTONOMOUS,
        queue="default",
        priority=0,
        created_at=NOW - 3 * MINUTE,
        updated_at=NOW - MINUTE,
        status=status,
        failure=Failure(reason=failure, detail="look\ninto it") if failure else None,
        not_before=not_before,
    )
    task = Task(
        id=task_id,
        work_order_id=order_id,
        created_at=order.created_at,
        created_by="key_x",
        asked=asked,
        permission_level=order.permission_level,
        status=order.task_status,
    )
    execution = Execution(
        id=execution_id,
        work_order_id=order_id,
        task_id=task_id,
        type=asked.type,
        worker_id="wrk_one",
        attempt=1,
        lease_token=1,
        phase=phase or Phase.CLAIMED,
        started_at=NOW - 2 * MINUTE,
        usage=Usage(cost_usd=0.25, turns=3),
    )
    request = WorkerRequest(
        id=new_id("req", NOW),
        task_id=task_id,
        work_order_id=order_id,
        execution_id=execution_id,
        kind=asks or RequestKind.APPROVAL,
        message="May I?",
        created_at=NOW,
        expires_at=NOW + MINUTE,
    )
    return TaskDetail(
        task=task, order=order, executions=(execution,) if phase else (), requests=(request,) if asks else ()
    )


def screen(*, terminal: bool) -> tuple[Screen, io.StringIO]:
    """A screen, and what is written beside the result."""
    beside = io.StringIO()
    err = Console(file=beside, force_terminal=True, width=100, color_system=None) if terminal else console(beside)
    return Screen(console(io.StringIO()), err), beside


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (detail(OrderStatus.PENDING), "pending"),
        (detail(OrderStatus.PENDING, failure=FailureReason.MODEL_OVERLOADED), "pending after model_overloaded"),
        (detail(OrderStatus.RUNNING), "running"),
        (detail(OrderStatus.RUNNING, phase=Phase.VERIFYING), "verifying"),
        (detail(OrderStatus.RUNNING, phase=Phase.WORKING, asks=RequestKind.CLARIFICATION), "asks a person"),
        (detail(OrderStatus.WAITING, asks=RequestKind.APPROVAL), "waiting for a person"),
        (detail(OrderStatus.COMPLETED), "completed"),
        (detail(OrderStatus.FAILED, failure=FailureReason.TIMEOUT), "failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_task_in_a_few_words(shown: TaskDetail, words: str) -> None:
    assert state(shown) == words


def test_time_stands_still_when_it_is_over() -> None:
    assert age(detail(OrderStatus.RUNNING), NOW) == 180
    assert age(detail(OrderStatus.COMPLETED), NOW) == 120


def test_without_a_terminal_each_change_is_one_line() -> None:
    drawn, beside = screen(terminal=False)
    running = detail(OrderStatus.RUNNING, phase=Phase.WORKING)
    with Progress(drawn, StillClock()) as progress:
        progress.show([running])
        progress.show([running])
        done = running.model_copy(update={"task": running.task.model_copy(update={"status": TaskStatus.COMPLETED})})
        progress.show([done])
    assert [line.split("  ")[1] for line in beside.getvalue().splitlines()] == ["working", "completed"]


def test_on_a_terminal_a_table_moves_and_leaves_nothing_dangerous() -> None:
    drawn, beside = screen(terminal=True)
    again = detail(
        OrderStatus.PENDING, failure=FailureReason.MODEL_OVERLOADED, not_before=NOW + MINUTE, title="a\u202eb\x9bc"
    )
    with Progress(drawn, StillClock()) as progress:
        progress.show([detail(OrderStatus.RUNNING, phase=Phase.WORKING), again])
    shown = beside.getvalue()
    assert "working" in shown and "$0.25" in shown and "3 min 00 s" in shown
    assert "pending after model_overloaded, again in 1 min" in shown
    assert "\u202e" not in shown and "\x9b" not in shown


def test_a_sheet_says_what_to_do_next() -> None:
    for shown, words in (
        (detail(OrderStatus.WAITING, asks=RequestKind.APPROVAL), "agentvine approve"),
        (detail(OrderStatus.WAITING, asks=RequestKind.CLARIFICATION), "agentvine answer"),
        (detail(OrderStatus.FAILED, failure=FailureReason.TIMEOUT), "agentvine retry"),
        (detail(OrderStatus.RUNNING, phase=Phase.WORKING), "agentvine logs -f"),
    ):
        drawn, beside = screen(terminal=False)
        draw(drawn, shown, NOW)
        assert words in beside.getvalue()


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ((), 0),
        (("completed",), 0),
        (("completed", "pending"), 3),
        (("running", "waiting"), 4),
        (("waiting", "cancelled"), 2),
        (("cancelled", "failed", "waiting"), 1),
        (("blocked",), 3),
    ],
)
def test_the_worst_end_decides(statuses: tuple[str, ...], code: int) -> None:
    assert exit_code(statuses) == code
