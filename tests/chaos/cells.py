"""One cell of the crash matrix: a ground of its own, an order, one failpoint that strikes, and the judgement."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agentvine.domain.errors import AgentVineError
from agentvine.domain.request import RequestStatus
from agentvine.domain.task import Task
from agentvine.kit import failpoints
from agentvine.testing.eventually import eventually
from agentvine.wire.messages import Reply, TaskDetail
from tests.chaos.foundry import Born, Foundry
from tests.chaos.ground import Ground, Template, ground
from tests.chaos.history import Violation, check

STRUCK = b"a failpoint strikes"


@dataclass(frozen=True, slots=True)
class Cell:
    """What happens where, in which story."""

    point: str
    action: str
    story: str = "push"

    @property
    def at_the_server(self) -> bool:
        return self.point in failpoints.SERVER_POINTS

    def __str__(self) -> str:
        return f"{self.point}:{self.action} ({self.story})"


@dataclass(frozen=True, slots=True)
class Row:
    """How a cell went."""

    cell: Cell
    status: str
    attempts: int
    seconds: float
    violations: tuple[Violation | str, ...]


_STORIES = {
    "cancel": "cancel", "fail": "fail", "release": "release", "park": "ask", "ask": "ask", "answer": "ask",
    "propose": "pull",
}  # fmt: skip


_WITH_A_PULL_REQUEST = frozenset(
    {"push.before_confirmation", "deliver.after_push", "complete.before_commit", "complete.after_commit"}
)


def story_of(point: str) -> str:
    """The story in which a place is come to."""
    return _STORIES.get(point.partition(".")[0], "push")


def all_cells() -> list[Cell]:
    """Every place, with kill9 and, where somebody waits for a reply, with the reply lost; deliveries of both kinds."""
    cells = []
    for point in (*failpoints.SERVER_POINTS, *failpoints.WORKER_POINTS):
        actions = [action for action in ("kill9", "error", "reply_lost") if action in failpoints.POINTS[point]]
        stories = [story_of(point)]
        if point.startswith(("deliver.", "push.", "result.after_evidence", "complete.", "report.")):
            stories.append("branch")
        if point in _WITH_A_PULL_REQUEST:
            stories.append("pull")
        if point.startswith("report."):
            stories += ["fail", "release", "ask"]
        if point == "reaper.after_lost":
            stories = ["lost"]
        cells += [Cell(point, action, story) for story in stories for action in actions]
    return cells


async def play(cell: Cell, foundry: Foundry, template: Template, where: Path) -> Row:
    """Let it happen. The row says what was wrong, if anything was."""
    began = time.monotonic()
    async with ground(foundry, where, template, forge=cell.story == "pull") as here:
        wrong: list[Violation | str] = []
        detail: TaskDetail | None = None
        try:
            async with asyncio.timeout(300), _restarted(cell, here) as struck:
                detail = await _STORY[cell.story](here, cell)
                if not struck():
                    wrong.append("the failpoint never struck")
        except (TimeoutError, AssertionError, AgentVineError) as error:
            wrong.append(f"{type(error).__name__}: {error}")
        await here.end()
        if detail is not None:
            wrong += _expected(cell, detail)
        wrong += await check(here.scene(drained=True))
        status, attempts = (detail.order.status.value, detail.order.attempts) if detail else ("?", 0)
        return Row(cell, status, attempts, time.monotonic() - began, tuple(wrong))


def _expected(cell: Cell, detail: TaskDetail) -> list[str]:
    wanted = {"cancel": "cancelled", "fail": "failed"}.get(cell.story, "completed")
    if detail.order.status.value != wanted:
        return [f"it ended as {detail.order.status}, not {wanted}: {detail.order.failure}"]
    return []


def _armed(cell: Cell, here: str) -> str:
    """The variable for the server or the worker."""
    mine = cell.at_the_server == (here == "server")
    return f"{cell.point}:{cell.action}" if mine else ""


@asynccontextmanager
async def _restarted(cell: Cell, here: Ground) -> AsyncIterator[Callable[[], bool]]:
    """Server and a worker run; whichever is killed is followed by another, which has no failpoint."""
    await here.start_server(_armed(cell, "server"))
    worker = await here.start_worker("armed", _armed(cell, "worker"))
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(_follow_server(here)), group.create_task(_follow_worker(here, worker))]
        yield lambda: any(STRUCK in log.read_bytes() for log in here.where.glob("*.log"))
        for task in watching:
            task.cancel()


async def _follow_server(here: Ground) -> None:
    await here.server.ended.wait()
    await here.start_server()
    await asyncio.Event().wait()


async def _follow_worker(here: Ground, worker: Born) -> None:
    """The next one is another worker: the order comes to it when the lease ends."""
    await worker.ended.wait()
    await here.start_worker("heir")


# ── the stories ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def _push(here: Ground, _: Cell) -> TaskDetail:
    task = await here.submit({}, permission_level="autonomous")
    detail = await here.over(task)
    await _sweep(here)
    return detail


async def _branch(here: Ground, _: Cell) -> TaskDetail:
    detail = await here.over(await here.submit({}, permission_level="supervised"))
    await _sweep(here)
    return detail


async def _pull(here: Ground, _: Cell) -> TaskDetail:
    assert here.forge is not None
    task = await here.submit({}, permission_level="supervised", repository=here.forge.url)
    detail = await here.over(task)
    await _sweep(here)
    return detail


async def _fail(here: Ground, _: Cell) -> TaskDetail:
    detail = await here.over(await here.submit({"fails": True}))
    await _sweep(here)
    return detail


async def _cancel(here: Ground, _: Cell) -> TaskDetail:
    task = await here.submit({"seconds": 60.0})
    await _is_worked_on(here, task)
    await here.desk.cancel(task.id)
    detail = await here.over(task)
    await _sweep(here)
    return detail


async def _ask(here: Ground, _: Cell) -> TaskDetail:
    task = await here.submit({"asks": "Which one?"})

    async def asked() -> str | None:
        page = await here.desk.requests(RequestStatus.OPEN)
        return page.items[0].id if page.items else None

    request_id = await eventually(asked, 120)
    assert request_id is not None
    await eventually(_is(here, task, "waiting"), 120)
    await here.desk.respond(request_id, Reply(verdict="answer", message="The first."))
    detail = await here.over(task)
    await _sweep(here)
    return detail


async def _release(here: Ground, _: Cell) -> TaskDetail:
    """The worker is told to leave while it works, and gives the order back."""
    task = await here.submit({"seconds": 4.0})
    await _is_worked_on(here, task)
    here.workers[0].tell(signal.SIGTERM)
    detail = await here.over(task)
    await _sweep(here)
    return detail


async def _lost(here: Ground, _: Cell) -> TaskDetail:
    """The worker dies, and the server takes the order from it."""
    task = await here.submit({"seconds": 0.5})
    await _is_worked_on(here, task)
    await here.workers[0].die()
    detail = await here.over(task)
    await _sweep(here)
    return detail


async def _sweep(here: Ground) -> None:
    """What a killed worker left lies there until a worker of that host begins its first execution."""
    if any((here.work / "executions").glob("*")):
        for worker in here.workers:
            await worker.die()
        await here.start_worker("sweeper")
        await here.over(await here.submit({}))


def _is(here: Ground, task: Task, *statuses: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await here.desk.task(task.id)).order.status in statuses

    return look


async def _is_worked_on(here: Ground, task: Task) -> None:
    async def look() -> bool:
        detail = await here.desk.task(task.id)
        return any(one.phase == "working" for one in detail.executions)

    await eventually(look, 120)


_STORY = {
    "push": _push,
    "branch": _branch,
    "pull": _pull,
    "fail": _fail,
    "cancel": _cancel,
    "ask": _ask,
    "release": _release,
    "lost": _lost,
}


async def play_all(
    cells: Sequence[Cell],
    foundry: Foundry,
    template: Template,
    where: Path,
    *,
    at_once: int = 4,
    told: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Play the cells, a few at a time."""
    rows: list[Row] = []
    waiting = list(enumerate(cells))

    async def hand() -> None:
        while waiting:
            number, cell = waiting.pop(0)
            row = await play(cell, foundry, template, where / f"{number:03}")
            rows.append(row)
            told(row)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(hand())
    return rows
