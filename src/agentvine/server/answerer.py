"""The last step before people: a model answers what the task and the repository's documents settle.

Off unless a model is named. It sees open questions that neither a rule nor a precedent concerns, each once, and leaves
them to people or answers them; approvals it never sees. It works beside the requests' path: a question is stored and
shown to people at once, and whoever answers first has answered.
"""

import asyncio
from datetime import timedelta

from agentvine.domain.errors import Unavailable
from agentvine.domain.request import ControllerResponse
from agentvine.kit.doorbell import Doorbell, pause
from agentvine.kit.logs import hide, logger
from agentvine.server.assistant import Assistant, AssistantFailed, Matter, Opinion
from agentvine.server.settings import ServerSettings
from agentvine.server.worker_desk import ControlPlaneService
from agentvine.store import assistance, executions, requests, tasks, work_orders
from agentvine.store.executions import Artifact
from agentvine.store.unit import Unit

DOCUMENTS = "documents"
"""The artifact in which a worker stores what a repository says of itself."""
AT_ONCE = 4
_LOOK_SECONDS = 0.2
_REST_SECONDS = 30.0
_STALE = timedelta(minutes=10)
"""After so long without an outcome a question is given again; no call takes as long."""
_LONGEST_DOCUMENTS = 64 * 1024
_LONGEST_WHY = 500
_log = logger("answerer")


def answerers(settings: ServerSettings, control: ControlPlaneService) -> "list[Answerer]":
    """The answerer that these settings ask for, or none."""
    if settings.answerer_model is None or settings.answerer_key is None:
        return []
    hide(settings.answerer_key.get_secret_value())
    assistant = Assistant(
        settings.answerer_model, settings.answerer_key, settings.answerer_url, settings.answerer_timeout
    )
    return [Answerer(control, assistant, settings.answerer_questions_per_day)]


class Answerer:
    """One for each server process; together they give each question to the model once."""

    def __init__(self, control: ControlPlaneService, assistant: Assistant, questions_per_day: int) -> None:
        self._control = control
        self._assistant = assistant
        self._per_day = questions_per_day
        self._running: set[asyncio.Task[None]] = set()
        self._bell = Doorbell()
        self._spent = False

    async def run(self) -> None:
        """See to what is open and what comes, until cancelled. Survives trouble with the database and the model."""
        async with self._assistant, asyncio.TaskGroup() as group:
            with self._control.bells.events() as bell:
                self._bell = bell
                while True:
                    try:
                        await self._look(group)
                    except Unavailable as error:
                        _log.warning("questions wait for people alone", why=error.message)
                    except Exception:  # noqa: BLE001  the outermost guard of this loop
                        _log.exception("open questions were not looked at")
                    await pause(_LOOK_SECONDS)
                    await bell.wait(_REST_SECONDS)

    async def _look(self, group: asyncio.TaskGroup) -> None:
        free = AT_ONCE - len(self._running)
        if free <= 0:
            return
        stale = self._control.clock.now() - _STALE
        for request_id in await self._control.database.read(lambda unit: assistance.due(unit, stale, free)):
            found = await self._control.database.write(lambda unit, one=request_id: self._given(unit, one))
            if found is not None:
                task = group.create_task(self._see_to(*found))
                self._running.add(task)
                task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._bell.ring()

    def _given(self, unit: Unit, request_id: str) -> tuple[Matter, Artifact | None] | None:
        """The question, if it is one for the model, and it may be asked today. It is noted as given then."""
        now = self._control.clock.now()
        request = requests.get(unit, request_id)
        order = work_orders.get(unit, request.work_order_id) if request else None
        task = tasks.get(unit, request.task_id) if request else None
        if request is None or order is None or task is None:
            return None
        if self._control.policy.ruling(order, request).rule is not None:
            assistance.leave(unit, request_id)
            return None
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if assistance.given_since(unit, today) >= self._per_day:
            if not self._spent:
                _log.warning("no more questions are answered automatically today", limit=self._per_day)
            self._spent = True
            return None
        self._spent = False
        if not assistance.give(unit, request_id, now, now - _STALE):
            return None
        return Matter(task, request), executions.artifact_of(unit, request.execution_id, DOCUMENTS)

    async def _see_to(self, matter: Matter, documents: Artifact | None) -> None:
        request_id = matter.request.id
        try:
            matter = Matter(matter.task, matter.request, await self._read(documents))
            opinion = await self._opinion(matter)
            await self._control.database.write(lambda unit: self._conclude(unit, request_id, opinion))
        except Unavailable as error:
            _log.warning("a question waits for people", request_id=request_id, why=error.message)
        except Exception:  # noqa: BLE001  the outermost guard of this question
            _log.exception("a question waits for people", request_id=request_id)

    async def _opinion(self, matter: Matter) -> Opinion:
        try:
            return await self._assistant.opinion(matter)
        except AssistantFailed as error:
            _log.warning("the model could not be asked", request_id=matter.request.id, why=str(error))
            return Opinion(None, "the model could not be asked")

    async def _read(self, documents: Artifact | None) -> str:
        if documents is None:
            return ""
        content = await asyncio.to_thread(self._control.artifacts.load, documents.sha256)
        return content[:_LONGEST_DOCUMENTS].decode("utf-8", "replace").replace("\0", "")

    def _conclude(self, unit: Unit, request_id: str, opinion: Opinion) -> None:
        by = f"assistant:{self._assistant.model}"
        if opinion.answer is None:
            assistance.leave(unit, request_id)
            self._control.conversations.leave_to_people(unit, request_id, by, opinion.why[:_LONGEST_WHY])
            return
        told = f"(This answer was made automatically by {self._assistant.model}; no person has looked at it.)"
        response = ControllerResponse(
            verdict="answer",
            message=f"{told}\n\n{opinion.answer}",
            made_by=by,
            made_at=self._control.clock.now(),
        )
        self._control.conversations.answer_open(unit, request_id, response)
