"""The server's contract, with secrets taken out of every word that goes there.

What is no word passes as it is: commits, diffs and the names of branches are what a person approves and what is pushed,
and must not differ from it.
"""

from typing import TypeVar

from pydantic import JsonValue

from agentvine.domain.base import Model
from agentvine.domain.errand import ErrandResult
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.domain.request import ControllerResponse, WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.kit.redaction import Redactor, mapped, password_of
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.errands import ErrandClaim, ErrandHeld, GivenErrand
from agentvine.wire.lending import HandedCredential
from agentvine.worker.settings import WorkerConfig

_WORDS = (".json", ".jsonl", ".md", ".txt", ".log")
"""How artifacts are called that consist of words."""
_Message = TypeVar("_Message", bound=Model)


class RedactingPlane:
    """Implements `ControlPlane` by another one."""

    def __init__(self, plane: ControlPlane, redactor: Redactor) -> None:
        self._plane = plane
        self._redactor = redactor

    async def register(self, registration: m.Registration) -> m.Registered:
        return await self._plane.register(registration)

    async def heartbeat(self, worker_id: str, beat: m.Heartbeat) -> m.HeartbeatReply:
        note = None if beat.note is None else self._redactor.text(beat.note)
        return await self._plane.heartbeat(worker_id, beat.model_copy(update={"note": note}))

    async def deregister(self, worker_id: str) -> None:
        await self._plane.deregister(worker_id)

    async def claim(self, ask: m.ClaimRequest) -> m.Claimed | None:
        return await self._plane.claim(ask)

    async def renew(self, renewal: m.Renewal) -> m.RenewalReply:
        return await self._plane.renew(renewal)

    async def start(self, work_order_id: str, held: m.Held) -> m.RenewedLease:
        return await self._plane.start(work_order_id, held)

    async def credential(self, work_order_id: str, held: m.Held) -> HandedCredential | None:
        return await self._plane.credential(work_order_id, held)

    async def phase(self, execution_id: str, report: m.PhaseReport) -> None:
        await self._plane.phase(execution_id, report)

    async def comments(self, work_order_id: str, wanted: m.CommentsWanted) -> m.CommentPage:
        return await self._plane.comments(work_order_id, wanted)

    async def add_transcript(self, execution_id: str, batch: m.TranscriptBatch) -> None:
        entries = tuple(self._entry(entry) for entry in batch.entries)
        await self._plane.add_transcript(execution_id, batch.model_copy(update={"entries": entries}))

    async def transcript(self, execution_id: str, after: int = 0, wait_seconds: float = 0.0) -> m.TranscriptPage:
        return await self._plane.transcript(execution_id, after, wait_seconds)

    async def store_artifact(self, execution_id: str, token: int, name: str, content: bytes) -> None:
        if name.endswith(_WORDS):
            words = content.decode("utf-8", "surrogateescape")
            content = self._redactor.text(words).encode("utf-8", "surrogateescape")
        await self._plane.store_artifact(execution_id, token, name, content)

    async def artifact(self, execution_id: str, name: str) -> bytes:
        return await self._plane.artifact(execution_id, name)

    async def add_evidence(self, execution_id: str, report: m.EvidenceReport) -> None:
        await self._plane.add_evidence(execution_id, cleaned(self._redactor, report))

    async def evidence(self, execution_id: str) -> Evidence:
        return await self._plane.evidence(execution_id)

    async def deliver(self, work_order_id: str, intent: m.DeliveryIntent) -> Execution:
        return await self._plane.deliver(work_order_id, intent)

    async def complete(self, work_order_id: str, completion: m.Completion) -> m.Completed:
        summary = self._redactor.text(completion.summary)
        return await self._plane.complete(work_order_id, completion.model_copy(update={"summary": summary}))

    async def fail(self, work_order_id: str, report: m.FailureReport) -> WorkOrder:
        return await self._plane.fail(work_order_id, cleaned(self._redactor, report))

    async def release(self, work_order_id: str, surrender: m.Surrender) -> WorkOrder:
        return await self._plane.release(work_order_id, cleaned(self._redactor, surrender))

    async def park(self, work_order_id: str, parking: m.Parking) -> WorkerRequest:
        return await self._plane.park(work_order_id, cleaned(self._redactor, parking))

    async def ask(self, execution_id: str, request: m.NewRequest) -> WorkerRequest:
        return await self._plane.ask(execution_id, cleaned(self._redactor, request))

    async def response(self, request_id: str, wait_seconds: float = 0.0) -> ControllerResponse | None:
        return await self._plane.response(request_id, wait_seconds)

    async def claim_errand(self, ask: ErrandClaim) -> GivenErrand | None:
        return await self._plane.claim_errand(ask)

    async def errand_credential(self, errand_id: str, held: ErrandHeld) -> HandedCredential | None:
        return await self._plane.errand_credential(errand_id, held)

    async def end_errand(self, errand_id: str, result: ErrandResult) -> None:
        await self._plane.end_errand(errand_id, cleaned(self._redactor, result))

    def _entry(self, entry: dict[str, JsonValue]) -> dict[str, JsonValue]:
        clean = mapped(entry, self._redactor.piece)
        return clean if isinstance(clean, dict) else {}


def cleaned(redactor: Redactor, message: _Message) -> _Message:
    """`message` without secrets; the very same one if there are none."""
    words = message.model_dump(mode="json")
    clean = redactor.value(words)
    return message if clean == words else type(message).model_validate(clean)


def secrets_of(config: WorkerConfig) -> tuple[str | None, ...]:
    """What a worker knows and nobody else is to read."""
    model = config.anthropic_api_key.get_secret_value() if config.anthropic_api_key else None
    return config.api_key.get_secret_value(), model, password_of(config.redis_url)
