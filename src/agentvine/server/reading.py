"""What both workers and people read of an execution, and waiting for it. A key sees what its repositories allow."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from agentvine.domain.errors import InvalidInput, Unavailable
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.domain.key import Key
from agentvine.domain.request import ControllerResponse, RequestStatus, WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import Doorbell
from agentvine.server.answers import lapsed, over
from agentvine.server.bells import Bells
from agentvine.server.holding import held_now
from agentvine.server.permits import hidden, known, not_found, sees
from agentvine.server.terms import Terms
from agentvine.store import comments, executions, requests, transcripts, work_orders
from agentvine.store.artifacts import ArtifactFolder
from agentvine.store.database import Database
from agentvine.store.unit import Unit
from agentvine.wire import messages as m

T = TypeVar("T")
_MOST_ENTRIES = 1000
_MOST_COMMENTS = 50
_LARGEST_NUMBER = 2**53
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")


def clamped(wait_seconds: float) -> float:
    """How long to wait when asked to wait so long; not a number is no time."""
    return min(wait_seconds, m.LONGEST_WAIT) if wait_seconds > 0 else 0.0


def invalid(pointer: str, message: str) -> InvalidInput:
    """The error for one wrong thing."""
    return InvalidInput(message, errors=[{"pointer": pointer, "message": message}])


def check_number(name: str, number: int, most: int = _LARGEST_NUMBER, least: int = 0) -> int:
    """`number`, if it lies within its bounds. Raises `InvalidInput`."""
    if not least <= number <= most:
        raise invalid(f"/{name}", f"{name} is between {least} and {most}")
    return number


def visible_order(unit: Unit, work_order_id: str, key: Key) -> WorkOrder:
    """Raises `NotFound`, also if it is outside the key's scope."""
    order = work_orders.get(unit, known("work order", work_order_id))
    if order is None:
        raise not_found("work order", work_order_id)
    if not sees(key, order):
        raise hidden("work order", work_order_id)
    return order


def visible_execution(unit: Unit, execution_id: str, key: Key) -> Execution:
    """Raises `NotFound`, also if it is outside the key's scope."""
    kept = executions.get(unit, known("execution", execution_id))
    if kept is None:
        raise not_found("execution", execution_id)
    if not _may_see(unit, kept.execution.work_order_id, key):
        raise hidden("execution", execution_id)
    return kept.execution


def visible_request(unit: Unit, request_id: str, key: Key) -> WorkerRequest:
    """Raises `NotFound`, also if it is outside the key's scope."""
    request = requests.get(unit, known("request", request_id))
    if request is None:
        raise not_found("request", request_id)
    if not _may_see(unit, request.work_order_id, key):
        raise hidden("request", request_id)
    return request


def _may_see(unit: Unit, work_order_id: str, key: Key) -> bool:
    if not key.scope.restricted:
        return True
    order = work_orders.get(unit, work_order_id)
    return order is not None and sees(key, order)


class Reading:
    """Reads, and waits for what is not there yet."""

    def __init__(self, database: Database, bells: Bells, terms: Terms, artifacts: ArtifactFolder, clock: Clock) -> None:
        self._database = database
        self._bells = bells
        self._terms = terms
        self._artifacts = artifacts
        self._clock = clock

    async def transcript(self, execution_id: str, after: int, wait_seconds: float, key: Key) -> m.TranscriptPage:
        """Entries from number `after` on; waits for some unless the execution is over."""
        check_number("after", after)

        def look(unit: Unit) -> m.TranscriptPage:
            execution = visible_execution(unit, execution_id, key)
            entries, following, all_read = transcripts.page(unit, execution_id, after, _MOST_ENTRIES)
            over = all_read and execution.outcome is not None
            return m.TranscriptPage(entries=entries, next=following, over=over)

        return await self._wait(
            look, lambda page: bool(page.entries) or page.over, self._bells.transcript(execution_id), wait_seconds
        )

    async def response(self, request_id: str, wait_seconds: float, key: Key) -> ControllerResponse | None:
        """The answer, once there is one. Raises `Conflict` when there will be none any more, or it holds no more: its
        facts say what the request is, and what happens to those that nobody answers."""

        def look(unit: Unit) -> ControllerResponse | None:
            request = visible_request(unit, request_id, key)
            if lapsed(request, self._clock.now()):
                raise over(request)
            if request.response is None and request.status is not RequestStatus.OPEN:
                raise over(request)
            return request.response

        return await self._wait(
            look, lambda response: response is not None, self._bells.response(request_id), wait_seconds
        )

    async def comments(self, work_order_id: str, wanted: m.CommentsWanted, key: Key) -> m.CommentPage:
        """Comments above that number, for the holder of the order. Raises `LeaseLost` for anybody else."""

        def look(unit: Unit) -> m.CommentPage:
            order = held_now(unit, work_order_id, wanted.token, key)
            return m.CommentPage(comments=comments.after(unit, order, wanted.after, _MOST_COMMENTS))

        return await self._wait(
            look, lambda page: bool(page.comments), self._bells.comments(work_order_id), wanted.wait_seconds
        )

    async def evidence(self, execution_id: str, key: Key) -> Evidence:
        """Raises `NotFound` if none was recorded."""

        def look(unit: Unit) -> Evidence:
            visible_execution(unit, execution_id, key)
            evidence = executions.evidence_of(unit, execution_id)
            if evidence is None:
                raise not_found("evidence of", execution_id)
            return evidence

        return await self._database.read(look)

    async def statement(self, execution_id: str, key: Key) -> str:
        """Raises `NotFound` if no evidence was recorded, or none was signed."""

        def look(unit: Unit) -> str:
            visible_execution(unit, execution_id, key)
            envelope = executions.envelope_of(unit, execution_id)
            if not envelope:
                raise not_found("signed evidence of", execution_id)
            return envelope

        return await self._database.read(look)

    async def artifact(self, execution_id: str, name: str, key: Key) -> bytes:
        """Raises `NotFound` if there is none of this name, `Unavailable` if its content is not where this server is."""
        if not _NAME.fullmatch(name):
            raise not_found("artifact", name)

        def look(unit: Unit) -> executions.Artifact | None:
            visible_execution(unit, execution_id, key)
            return executions.artifact_of(unit, execution_id, name)

        artifact = await self._database.read(look)
        if artifact is None:
            raise not_found("artifact", f"{execution_id}/{name}")
        try:
            return await asyncio.to_thread(self._artifacts.load, artifact.sha256)
        except FileNotFoundError as error:
            raise Unavailable(
                f"the content of the artifact {name} of {execution_id} is not in this server's data; servers of one "
                "database need one artifacts folder between them",
                retry_after=5.0,
            ) from error

    async def _wait(
        self,
        look: Callable[[Unit], T],
        enough: Callable[[T], bool],
        watch: AbstractContextManager[Doorbell],
        wait_seconds: float,
    ) -> T:
        deadline = asyncio.get_running_loop().time() + clamped(wait_seconds)
        with watch as bell:
            while True:
                found = await self._database.read(look)
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or enough(found):
                    return found
                await bell.wait(min(left, self._terms.watch_recheck_seconds))


def check_artifact_name(name: str) -> str:
    """`name`, if an artifact may be called so. Raises `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise invalid("/name", "an artifact's name has at most 100 lower-case letters, digits, '-' and '.'")
    return name
