"""What workers report about an execution: progress, transcript, artifacts, evidence, the intent to deliver.

Runs inside transactions, as `Orders` does. None of it moves the order; all of it needs its live lease.
"""

from agentvine.domain.errors import InvalidInput, TooLarge
from agentvine.domain.event import EventKind
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution, Phase, Usage
from agentvine.domain.key import Key
from agentvine.domain.statement import Statement, envelope
from agentvine.kit.clock import Clock
from agentvine.kit.signing import SigningKey
from agentvine.server.chronicle import Told, actor_of, tell_execution
from agentvine.server.holding import held, live_execution
from agentvine.store import executions, transcripts, work_orders
from agentvine.store.executions import Artifact, Kept
from agentvine.store.unit import Unit
from agentvine.wire import messages as m
from agentvine.wire.channels import Ring

BUNDLE = "bundle"
_PHASES = tuple(Phase)


class Reports:
    """Takes reports down."""

    def __init__(self, clock: Clock, signing: SigningKey) -> None:
        """`signing` signs evidence."""
        self._clock = clock
        self._signing = signing

    def phase(self, unit: Unit, execution_id: str, report: m.PhaseReport, key: Key) -> None:
        """Progress; one that lies behind the present phase is late and changes nothing."""
        execution = live_execution(unit, execution_id, report.token, key).execution
        was, is_ = _PHASES.index(execution.phase), _PHASES.index(report.phase)
        if is_ < was:
            return
        changes: dict[str, Phase | Usage | str | int] = {"phase": report.phase}
        if report.base_sha is not None:
            changes["base_sha"] = report.base_sha
        if report.session_id is not None:
            changes["session_id"] = report.session_id
        if report.usage is not None:
            changes["usage"] = report.usage
        if report.comments_heard is not None:
            changes["comments_heard"] = max(report.comments_heard, execution.comments_heard)
        executions.save_progress(unit, execution.model_copy(update=changes))
        if is_ > was:
            told = Told(actor_of(key), data={"phase": report.phase.value})
            tell_execution(unit, EventKind.EXECUTION_PHASE, self._clock.now(), execution, told)

    def transcript(self, unit: Unit, execution_id: str, batch: m.TranscriptBatch, key: Key) -> None:
        """Entries; those that are there already are passed over. Raises `LeaseLost`, `TooLarge`."""
        live_execution(unit, execution_id, batch.token, key)
        if batch.first + len(batch.entries) > m.MOST_ENTRIES:
            raise TooLarge("the transcript is too long", limit=m.MOST_ENTRIES)
        transcripts.add(unit, execution_id, batch.first, batch.entries)
        unit.ring(Ring(kind="transcript", execution_id=execution_id))

    def artifact(self, unit: Unit, execution_id: str, token: int, artifact: Artifact, key: Key) -> None:
        """An artifact whose content is in the folder already. Raises `LeaseLost`, `TooLarge`."""
        kept = live_execution(unit, execution_id, token, key)
        names = kept.execution.artifacts
        if len(names) >= m.MOST_ARTIFACTS and artifact.name not in names:
            raise TooLarge("the execution has too many artifacts", limit=m.MOST_ARTIFACTS)
        executions.save_artifact(unit, kept.execution, artifact, self._clock.now())

    def evidence(self, unit: Unit, execution_id: str, report: m.EvidenceReport, key: Key) -> None:
        """What the verification found. Passed, with a bundle: the result is stored."""
        kept = live_execution(unit, execution_id, report.token, key)
        if report.evidence.execution_id != execution_id:
            raise _elsewhere("/evidence/execution_id", "the evidence is about another execution")
        if report.evidence.task_id != kept.execution.task_id:
            raise _elsewhere("/evidence/task_id", "the evidence is about another task")
        executions.save_evidence(unit, report.evidence, report.head_sha, self._signed(unit, kept, report.evidence))
        verified = report.evidence.passed and BUNDLE in kept.execution.artifacts
        if verified != kept.verified:
            executions.save_verified(unit, execution_id, verified)
        if verified:
            told = Told(actor_of(key), data={"head_sha": report.head_sha or report.evidence.head_sha})
            tell_execution(unit, EventKind.EXECUTION_RESULT_STORED, self._clock.now(), kept.execution, told)

    def _signed(self, unit: Unit, kept: Kept, evidence: Evidence) -> str:
        """Signed once, when it comes in: what is changed in the database later does not become true by it."""
        order = work_orders.get(unit, kept.execution.work_order_id)
        assert order  # noqa: S101 - there is no execution without one
        statement = Statement(order.repository, evidence.head_sha or evidence.base_sha, evidence)
        return envelope(statement, self._signing.public.id, self._signing.sign)

    def deliver(self, unit: Unit, work_order_id: str, intent: m.DeliveryIntent, key: Key) -> Execution:
        """The intent to deliver, before anything leaves; the same one again is told once."""
        _, kept = held(unit, work_order_id, intent.token, key)
        execution = live_execution(unit, kept.execution.id, intent.token, key).execution
        if execution.delivery == intent.delivery:
            return execution
        executions.save_delivery(unit, execution.id, intent.delivery)
        told = Told(actor_of(key), data=intent.delivery.model_dump(mode="json"))
        tell_execution(unit, EventKind.DELIVERY_INTENDED, self._clock.now(), execution, told)
        changes = {"delivery": intent.delivery, "head_sha": intent.delivery.new_sha}
        return execution.model_copy(update=changes)


def _elsewhere(pointer: str, message: str) -> InvalidInput:
    return InvalidInput(message, errors=[{"pointer": pointer, "message": message}])
