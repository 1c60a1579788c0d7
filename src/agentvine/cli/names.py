"""Which task, request or worker is meant by what a person typed: an id, or enough of its beginning or end."""

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from agentvine.cli.text import shortened
from agentvine.domain.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from agentvine.domain.request import WorkerRequest
    from agentvine.domain.task import Task
    from agentvine.domain.worker import Worker
    from agentvine.wire.front_desk import FrontDesk
    from agentvine.wire.messages import TaskFilter

_FULL = {"tsk_": 30, "wo_": 29, "exe_": 30, "req_": 30}
"""Length of a whole id, by its prefix."""
RECENT = 1000
"""How many of the latest tasks an abbreviation is looked for among."""
_PAGE = 200
_CANDIDATES = 8


def is_whole(text: str, prefix: str) -> bool:
    """True if `text` looks like a whole id with this prefix."""
    return text.startswith(prefix) and len(text) == _FULL[prefix]


def fits(identifier: str, typed: str) -> bool:
    """True if `typed` is the beginning or the end of `identifier`, with or without its prefix."""
    typed = typed.lower()
    return identifier.startswith(typed) or identifier.endswith(typed) or identifier.partition("_")[2].startswith(typed)


async def task_id(desk: "FrontDesk", typed: str) -> str:
    """The id of the task that `typed` means: its own id, its order's or an execution's, or a part of the first two.

    Raises `NotFound`, or `InvalidInput` that names the candidates if several fit.
    """
    typed = _given(typed)
    if is_whole(typed, "tsk_"):
        return typed
    if is_whole(typed, "wo_"):
        return (await desk.work_order(typed)).task_id
    if is_whole(typed, "exe_"):
        return (await desk.execution(typed)).task_id
    found = [
        task async for task in recent_tasks(desk, RECENT) if fits(task.id, typed) or fits(task.work_order_id, typed)
    ]
    names = [f"{task.id}  {task.status.value:<9}  {shortened(task.asked.title, 60)}" for task in found]
    return found[_only(names, "task", typed)].id


async def recent_tasks(desk: "FrontDesk", most: int, which: "TaskFilter | None" = None) -> AsyncIterator["Task"]:
    """The latest tasks, newest first, at most `most`."""
    from agentvine.wire.messages import TaskFilter

    cursor = None
    while most > 0:
        page = await desk.tasks(which or TaskFilter(), cursor=cursor, limit=min(_PAGE, most))
        for task in page.items[:most]:
            yield task
        most -= len(page.items)
        cursor = page.next_cursor
        if cursor is None or not page.items:
            return


async def worker_id(desk: "FrontDesk", typed: str) -> str:
    """The id of the worker that `typed` means: its id, its name, or a part of its id. Raises as `task_id` does."""
    typed = _given(typed)
    workers = await desk.workers()
    exact = [worker for worker in workers if worker.id == typed] or _named(workers, typed)
    found = exact or [worker for worker in workers if fits(worker.id, typed)]
    names = [f"{worker.id}  {worker.status.value:<9}  {shortened(worker.name, 60)}" for worker in found]
    return found[_only(names, "worker", typed)].id


def _named(workers: Iterable["Worker"], name: str) -> list["Worker"]:
    named = [worker for worker in workers if worker.name == name]
    return [worker for worker in named if worker.status.value != "offline"] or named


async def key_id(desk: "FrontDesk", typed: str) -> str:
    """The id of the key that `typed` means: its id or a part of it, its name or its start. Raises as `task_id`."""
    typed = _given(typed)
    keys = await desk.keys()
    exact = [key for key in keys if typed in {key.id, key.prefix}]
    named = [key for key in keys if key.name == typed]
    found = exact or [key for key in named if key.revoked_at is None] or [key for key in keys if fits(key.id, typed)]
    names = [f"{key.id}  {key.prefix}  {shortened(key.name, 60)}" for key in found]
    return found[_only(names, "key", typed)].id


async def request(desk: "FrontDesk", typed: str, kind: str) -> "WorkerRequest":
    """The request that `typed` means: its id or a part of it, or the task whose one open request of this kind it is.
    A task that has none open means the last one that nobody answered in time: that can be answered late.

    Raises as `task_id` does, and `NotFound` if the task has no such request open.
    """
    typed = _given(typed)
    if is_whole(typed, "req_"):
        return await desk.request(typed)
    found = [each async for each in requests(desk) if fits(each.id, typed)]
    try:
        found = found or await _of_task(desk, typed, kind)
    except NotFound:  # it may be over: then it is the server that says so, and what was answered first
        found = [each async for each in requests(desk, everything=True) if fits(each.id, typed)]
        if not found:
            raise
    names = [f"{each.id}  {each.kind.value:<13}  {shortened(each.message, 60)}" for each in found]
    return found[_only(names, "request", typed)]


async def _of_task(desk: "FrontDesk", typed: str, kind: str) -> list["WorkerRequest"]:
    task = await task_id(desk, typed)
    detail = await desk.task(task)
    waiting = [each for each in detail.requests if each.status.value == "open"]
    late = [each for each in detail.requests if each.status.value == "expired" and each.response is None]
    if not waiting and late and kind:
        return late[-1:]
    if not waiting:
        raise NotFound(
            f"task {task} is {detail.task.status.value} and asks nothing; `agentvine inbox` lists what is asked",
            kind="request",
            id=typed,
        )
    return [each for each in waiting if each.kind.value == kind] or waiting


async def requests(desk: "FrontDesk", everything: bool = False) -> AsyncIterator["WorkerRequest"]:
    """Open requests, or all, oldest first."""
    from agentvine.domain.request import RequestStatus

    cursor = None
    while True:
        page = await desk.requests(None if everything else RequestStatus.OPEN, cursor=cursor, limit=_PAGE)
        for each in page.items:
            yield each
        cursor = page.next_cursor
        if cursor is None or not page.items:
            return


def _given(typed: str) -> str:
    typed = typed.strip()
    if not typed:
        raise InvalidInput("an empty id names nothing; `agentvine tasks` lists the tasks")
    if any("\ud800" <= character <= "\udfff" for character in typed):
        raise InvalidInput(f"'{shortened(typed, 40)}' is not text in this terminal's encoding")
    return typed


def _only(names: list[str], kind: str, typed: str) -> int:
    """0, the place of the only candidate; raises if there is none, or more than one."""
    if not names:
        raise NotFound(f"there is no {kind} '{typed}'; `agentvine {_LISTINGS[kind]}` lists them", kind=kind, id=typed)
    if len(names) > 1:
        more = [{"pointer": "", "message": f"and {len(names) - _CANDIDATES} more"}] if len(names) > _CANDIDATES else []
        candidates = [{"pointer": "", "message": name} for name in names[:_CANDIDATES]] + more
        raise InvalidInput(f"'{typed}' could be any of {len(names)} {kind}s; write more of it:", errors=candidates)
    return 0


_LISTINGS = {"task": "tasks", "worker": "workers --all", "request": "inbox", "key": "keys list --all"}
