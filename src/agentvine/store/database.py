"""What every database is to its callers: hand in a unit of work, await its result. Where it runs is their affair."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from agentvine.domain.errors import Unavailable
from agentvine.kit import failpoints
from agentvine.store.unit import Dialect, Work
from agentvine.wire.channels import Ring

T = TypeVar("T")
Announce = Callable[[Sequence[Ring]], None]
QUEUE_LIMIT = 10_000
"""Units of work that may wait; more are refused."""


def unavailable(message: str, retry_after: float = 1.0) -> Unavailable:
    """The error for what will pass."""
    return Unavailable(message, retry_after=retry_after)


def database_out_of_reach() -> Unavailable:
    """The error of a database that a test took away."""
    return unavailable("the database is not available")


class Job:
    """A unit of work on its way, and how it ended. `future` belongs to the caller's event loop."""

    __slots__ = ("brief", "error", "future", "result", "rings", "work")

    def __init__(self, work: Work[Any], future: "asyncio.Future[Any]", *, brief: bool = False) -> None:
        self.work = work
        self.future = future
        self.brief = brief
        self.result: Any = None
        self.error: BaseException | None = None
        self.rings: Sequence[Ring] = ()


class Database(ABC):
    """A database that is open. Methods are called from an event loop. The work runs in a thread; a brief one may run in
    the loop's.

    What a work raises is raised here, and then it has changed nothing. Besides, both methods raise `Unavailable` when
    the database cannot be reached, is locked, full or too busy. If the connection breaks in the very moment of the
    commit it is unknown whether the work was done: callers' requests are made so that they can be repeated.
    """

    dialect: Dialect

    def __init__(self, on_fatal: Callable[[BaseException], None] | None) -> None:
        self._announce: Announce = lambda rings: None
        self._on_fatal = on_fatal
        self._gathered: list[Job] = []

    def listen(self, announce: Announce) -> None:
        """Have `announce` called, in the event loop, with the rings of what was committed."""
        self._announce = announce

    async def write(self, work: Work[T], *, brief: bool = False) -> T:
        """Run `work` in a transaction; it is durable when this returns.

        `brief`: it takes about a millisecond at most and waits for nothing, so it may run in the event loop's thread.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._gathered:
            loop.call_soon(self._hand_over)
        self._gathered.append(Job(work, future, brief=brief))
        return await future

    def _hand_over(self) -> None:
        """Hand over all that came up in this round of the loop at once: the thread is woken once, and commits once."""
        jobs, self._gathered = self._gathered, []
        self._queue_writes(jobs)

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which changes nothing, on one snapshot."""
        self._check_open()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue_read(Job(work, future))
        return await future

    @abstractmethod
    def _check_open(self) -> None:
        """Raises `Unavailable` if no more work is taken."""

    @abstractmethod
    def _queue_writes(self, jobs: list[Job]) -> None: ...

    @abstractmethod
    def _queue_read(self, job: Job) -> None: ...

    @abstractmethod
    async def close(self) -> None:
        """Finish what is queued, then let go."""

    def _settled(self, jobs: Sequence[Job]) -> None:
        """Tell the callers; called in a thread."""
        try:
            jobs[0].future.get_loop().call_soon_threadsafe(self._settle, jobs)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _settle(self, jobs: Sequence[Job]) -> None:
        if any(job.rings for job in jobs):
            failpoints.passed("commit.before_rings")
        rings: list[Ring] = []
        for job in jobs:
            rings += job.rings
            if job.future.cancelled():
                continue
            if isinstance(job.error, StopIteration):  # no future takes that
                job.future.set_exception(RuntimeError("a work raised StopIteration"))
            elif job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        if rings:
            self._announce(rings)

    def _fatal(self, jobs: Sequence[Job], error: BaseException) -> None:
        if self._on_fatal is not None:
            jobs[0].future.get_loop().call_soon_threadsafe(self._on_fatal, error)
