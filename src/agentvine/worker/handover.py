"""What an earlier execution of the order left behind, and what follows from it."""

from dataclasses import dataclass

from agentvine.domain.evidence import CheckOutcome
from agentvine.domain.execution import Execution, Outcome
from agentvine.domain.request import ControllerResponse, RequestKind
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.worker_types import TaskType
from agentvine.kit.logs import logger
from agentvine.wire.messages import Earlier
from agentvine.worker.checkpoint import CHECKPOINT
from agentvine.worker.conclusion import Failed
from agentvine.worker.delivery import Verified, has_arrived
from agentvine.worker.git_errors import GitFailed, RepositoryProblem
from agentvine.worker.job import Job
from agentvine.worker.storing import Result, artifact, stored
from agentvine.worker.verification.verify import kept_to_rules

_log = logger("handover")


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nothing to go on with: the work begins. `comment`: what a person said of work that is lost."""

    comment: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """A verified result, which only has to be delivered. `approved`: a person has agreed already."""

    result: Verified
    stored: Result
    approved: bool


@dataclass(frozen=True, slots=True)
class GoOn:
    """A person refused the result and said why: the work goes on where it stopped."""

    comment: str
    base: str
    head: str
    execution_id: str
    session_id: str | None


@dataclass(frozen=True, slots=True)
class Paused:
    """It stopped at a call to wait for an answer: the work goes on at that very call. `head`: the checkpoint."""

    base: str
    head: str
    execution_id: str
    session_id: str


Start = Fresh | GoOn | Paused


async def handed_over(job: Job) -> Start | Ready | Failed:
    """What to do first. The mirror must be up to date. Raises GitFailed."""
    earlier = job.claimed.earlier
    if earlier is None:
        return Fresh()
    if _asked_in_the_middle(earlier):
        return await _paused(job, earlier.execution)
    answer = _answer(earlier)
    result = await stored(job.shelf.plane, earlier.execution.id)
    if answer is not None and answer.verdict != "approved":
        return await _refused(job, earlier, answer, result)
    if result is None or not result.evidence.passed or (result.bundle is None and job.task.type is not TaskType.REVIEW):
        return Fresh()
    verified = await _made_again(job, result, earlier)
    if verified is None or not await _keeps_to_rules_here(job, verified):
        return Fresh()
    return Ready(verified, result, approved=answer is not None)


async def _keeps_to_rules_here(job: Job, result: Verified) -> bool:
    """Whether a result that another worker took for good may leave from this one, too. What left already, did.

    Raises GitFailed.
    """
    if result.base == result.head:
        return True
    if result.intended is not None and await has_arrived(result.intended, job.publisher, job.mirror):
        return True
    subject = job.subject(result.base, result.head)
    checks = await kept_to_rules(subject, await subject.commits.diff(subject.base, subject.head))
    broken = [check.why for check in checks if check.outcome is CheckOutcome.FAILED]
    if broken:
        _log.warning("the stored result breaks a rule of this worker; beginning again", reasons=broken)
    return not broken


def _asked_in_the_middle(earlier: Earlier) -> bool:
    return (
        earlier.execution.outcome is Outcome.PARKED
        and earlier.request is not None
        and earlier.request.kind is RequestKind.CLARIFICATION
    )


async def _paused(job: Job, execution: Execution) -> Paused | Fresh:
    """Where it stopped; the work begins again if that cannot be had."""
    base, session = execution.base_sha, execution.session_id
    if base is None or session is None:
        return Fresh()
    head = base
    try:
        bundle = await artifact(job.shelf.plane, execution.id, CHECKPOINT)
        if bundle is not None:
            head = await job.publisher.admit(bundle, base, job.execution_id)
    except RepositoryProblem as problem:
        _log.warning("a checkpoint cannot be used; beginning again", execution_id=execution.id, reason=str(problem))
        return Fresh()
    return Paused(base, head, execution.id, session)


def _answer(earlier: Earlier) -> ControllerResponse | None:
    """The answer to what that execution asked before it was parked, if it asked for approval of its result."""
    request = earlier.request
    if request is None or request.kind is not RequestKind.APPROVAL or request.execution_id != earlier.execution.id:
        return None
    return request.response


async def _refused(
    job: Job, earlier: Earlier, answer: ControllerResponse, result: Result | None
) -> Fresh | GoOn | Failed:
    comment = answer.message.strip()
    if not comment:
        detail = f"{answer.made_by} refused the delivery and did not say why"
        return Failed(Failure(reason=FailureReason.DENIED, detail=detail))
    made = await _made_again(job, result, earlier) if result is not None else None
    if result is None or made is None:
        return Fresh(comment)
    return GoOn(comment, result.note.base_sha, made.head, earlier.execution.id, earlier.execution.session_id)


async def _made_again(job: Job, result: Result, earlier: Earlier) -> Verified | None:
    """The stored commits, made again from the bundle; None if they do not come out as they were recorded."""
    note, evidence = result.note, result.evidence
    head = note.base_sha
    if result.bundle is not None:
        head = await job.take_in(result.bundle, note.base_sha, note.signed_for)
        if evidence.base_sha != note.base_sha:
            try:
                head = await job.publisher.rebase(head, note.base_sha, evidence.base_sha)
            except GitFailed as error:
                _log.warning("the stored result cannot be made again", reason=str(error))
                return None
    if evidence.head_sha not in {None, head}:
        _log.warning("the stored result comes out different", recorded=evidence.head_sha, found=head)
        return None
    return Verified(evidence.base_sha, head, evidence, note.summary, earlier.execution.delivery)
