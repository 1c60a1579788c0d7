"""What an earlier execution of the order left behind, and what follows from it."""

from dataclasses import dataclass, replace

from agentvine.domain.evidence import CheckOutcome
from agentvine.domain.execution import Execution, Outcome
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.request import ControllerResponse, RequestKind, WorkerRequest
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.worker_types import TaskType
from agentvine.kit.logs import logger
from agentvine.wire.messages import CommentsWanted, Earlier
from agentvine.worker.checkpoint import Kept, kept_by, shown
from agentvine.worker.clearance import asks_about_result, judged_anew, refusal_of
from agentvine.worker.conclusion import Failed
from agentvine.worker.delivery import Verified, has_arrived
from agentvine.worker.git_errors import GitFailed, RepositoryProblem
from agentvine.worker.job import Job
from agentvine.worker.storing import Note, Result, insist, stored
from agentvine.worker.taking_onto import taken_onto, verified_alone
from agentvine.worker.verification.verify import kept_to_rules

_INTERRUPTED = {
    Outcome.RELEASED: "the worker that you ran on had to stop",
    Outcome.LOST: "the worker that you ran on was lost",
}

_AS_LEFT = "Your files are as you left them, committed or not."

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
    kept: Kept | None = None
    asked: WorkerRequest | None = None
    why: str = "the worker that you ran on stopped while you waited for an answer"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """It was broken off in its conversation: the work goes on where that stopped, with what was kept of the files."""

    why: str
    base: str
    head: str
    execution_id: str
    session_id: str
    kept: Kept | None
    asked: WorkerRequest | None
    """What was asked last, whose answer the conversation may not have heard."""


@dataclass(frozen=True, slots=True)
class Reopened:
    """It had come to its end, and a person has said what is to be different: its conversation goes on with that."""

    why: str
    files: str
    base: str
    head: str
    execution_id: str
    session_id: str


Start = Fresh | GoOn | Paused | Interrupted | Reopened


async def handed_over(job: Job) -> Start | Ready | Failed:
    """What to do first. The mirror must be up to date. Raises RepositoryProblem, LeaseLost."""
    earlier = job.claimed.earlier
    if earlier is None:
        return await _following(job)
    if _asked_in_the_middle(earlier):
        return await _paused(job, earlier)
    about_result = earlier.execution.outcome is Outcome.PARKED and asks_about_result(earlier.request)
    answer = None if about_result else _answer(earlier)
    result = await stored(job.shelf.plane, earlier.execution.id)
    if not _settled(earlier) and await _has_to_hear(job, earlier):
        return await _with_comments(job, earlier, result)
    if answer is not None and answer.verdict != "approved":
        return await _refused(job, earlier, answer, result)
    if about_result:
        return await _asked_about(job, earlier, result)
    if earlier.execution.broken_off and not earlier.verified:
        return await _interrupted(job, earlier)
    ready = await _ready(job, earlier, result, approved=answer is not None)
    return ready or await _following(job)


async def _ready(job: Job, earlier: Earlier, result: Result | None, *, approved: bool) -> Ready | None:
    """The verified result that is stored, if it can leave as it is."""
    if result is None or not result.evidence.passed:
        return None
    if result.bundle is None and job.task.type is not TaskType.REVIEW and job.claimed.grows is None:
        return None
    verified = await _made_again(job, result, earlier)
    if verified is None or not await _keeps_to_rules_here(job, verified):
        return None
    return Ready(verified, result, approved)


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
        and (earlier.request.kind is RequestKind.CLARIFICATION or earlier.request.call is not None)
        and not asks_about_result(earlier.request)
    )


async def _paused(job: Job, earlier: Earlier) -> Paused | Fresh:
    """Where it stopped; the work begins again if that cannot be had."""
    execution = earlier.execution
    there = await _kept_files(job, execution)
    if there is None or execution.session_id is None:
        return Fresh()
    base, head, kept = there
    return Paused(base, head, execution.id, execution.session_id, kept, earlier.request)


async def _interrupted(job: Job, earlier: Earlier) -> Interrupted | Fresh:
    """Where it was broken off; the work begins again if that cannot be had."""
    execution = earlier.execution
    there = await _kept_files(job, execution)
    if there is None or execution.session_id is None:
        return Fresh()
    base, head, kept = there
    why = "your process ended in the middle of the work"
    if execution.outcome is not None:
        why = _INTERRUPTED.get(execution.outcome, why)
    return Interrupted(why, base, head, execution.id, execution.session_id, kept, earlier.request)


async def _kept_files(job: Job, execution: Execution) -> tuple[str, str, Kept | None] | None:
    """The base of an execution's work, and its last checkpoint; None if the work has to begin again."""
    base = execution.base_sha
    if base is None:
        return None
    try:
        kept = await kept_by(job.shelf, execution.id)
        head = base
        if kept is not None and kept.bundle is not None:
            head = await job.publisher.admit(kept.bundle, base, job.execution_id, checkpoint=True)
    except RepositoryProblem as problem:
        _log.warning("a checkpoint cannot be used; beginning again", execution_id=execution.id, reason=str(problem))
        return None
    return base, head, kept


def _settled(earlier: Earlier) -> bool:
    """Whether somebody's answer says what comes next: it was agreed to, or denied with a reason."""
    if earlier.request is None or earlier.execution.outcome is not Outcome.PARKED:
        return False
    response = earlier.request.response
    return response is not None and (response.verdict == "approved" or bool(response.message.strip()))


async def _has_to_hear(job: Job, earlier: Earlier) -> bool:
    """Whether people said something that this conversation has not heard, and nothing else will make it go on.

    Not if its result has left already: it is done then.
    """
    execution = earlier.execution
    if execution.session_id is None or (execution.broken_off and not earlier.verified):
        return False
    if execution.delivery is not None and await has_arrived(execution.delivery, job.publisher, job.mirror):
        return False
    wanted = CommentsWanted(token=job.claimed.lease.token, after=execution.comments_heard)
    page = await insist(lambda: job.shelf.plane.comments(job.claimed.order.id, wanted))
    return bool(page.comments)


async def _with_comments(job: Job, earlier: Earlier, result: Result | None) -> Reopened | Fresh:
    """The conversation of an execution that had ended, and the files that it left."""
    execution = earlier.execution
    assert execution.session_id is not None  # noqa: S101 - else nobody has to hear anything
    why = "Your result has not left yet, and a person wants you to go on with it."
    if execution.failure is not None:
        why = f"Your task had failed ({execution.failure.reason}), and a person wants you to go on with it."
    made = await _made_again(job, result, earlier) if result is not None and result.bundle is not None else None
    if result is not None and made is not None:
        files = "Your commits are in the checkout as you left them."
        return Reopened(why, files, result.note.base_sha, made.head, execution.id, execution.session_id)
    there = await _kept_files(job, execution)
    if there is None:
        return Fresh()
    base, head, kept = there
    return Reopened(why, files_of(kept), base, head, execution.id, execution.session_id)


async def _following(job: Job) -> Reopened | Fresh | Ready | Failed:
    """Where there is nothing earlier: the beginning, or the end of the task that this one follows.

    Raises RepositoryProblem if the branch that was delivered is gone.
    """
    done = job.claimed.follows
    if done is not None and job.claimed.grows is not None and "conflicts" in job.claimed.grows.causes:
        return await _onto_target(job)
    talked = _talked(job)
    if done is None or talked is None or talked.session_id is None:
        return Fresh()
    branch = job.claimed.order.branch
    head = await job.mirror.resolve(branch)
    if done.delivery is not None and done.delivery.kind == "report":
        return Reopened("A person has read your review and wants more.", "", head, head, talked.id, talked.session_id)
    wants = "A person has looked at it and wants more."
    if job.claimed.grows is not None and job.claimed.grows.causes:
        wants = "It is not over yet."
    why = f"What you did was delivered onto `{branch}`. {wants}"
    files = "Your checkout is a fresh one of that branch."
    return Reopened(why, files, head, head, talked.id, talked.session_id)


def _talked(job: Job) -> Execution | None:
    """Whose conversation a task goes on with that follows another one."""
    grows = job.claimed.grows
    return grows.talked if grows is not None and grows.talked is not None else job.claimed.follows


async def _onto_target(job: Job) -> Reopened | Ready | Failed:
    """Its pull request conflicts: its branch is taken onto what its target is now, by git alone where that is enough.

    Raises RepositoryProblem.
    """
    talked, branch = _talked(job), job.claimed.order.branch
    assert talked is not None and job.claimed.grows is not None  # noqa: S101 - else nothing conflicts
    moved = await taken_onto(job, job.claimed.grows.target)
    if moved is None:
        why = f"somebody else pushed onto {branch}; whoever that was has to resolve its conflicts"
        return Failed(Failure(reason=FailureReason.BRANCH_MOVED, detail=why))
    alone = job.claimed.grows.causes == ("conflicts",)
    if alone and moved.clean and job.claimed.order.permission_level is not PermissionLevel.HUMAN_REQUIRED:
        evidence = await verified_alone(job, moved)
        if evidence.passed:
            note = Note(base_sha=moved.onto, signed_for=job.execution_id, summary=moved.summary)
            result = Verified(moved.onto, moved.head, evidence, moved.summary)
            return Ready(result, Result(note, evidence), approved=False)
    return Reopened(moved.why, moved.files, moved.onto, moved.head, talked.id, talked.session_id or "")


def files_of(kept: Kept | None) -> str:
    """What the agent is told of the files that it finds."""
    if kept is None:
        return "Your files are as they were at the beginning: nothing that you changed was kept."
    if kept.taken is None:
        return _AS_LEFT
    words = _AS_LEFT if kept.taken.final else f"Your files are as of {shown(kept.taken.at)}: later changes are gone."
    if kept.taken.left_out:
        words += f" These were not kept: {', '.join(f'`{name}`' for name in kept.taken.left_out)}."
    return words


def lost_while_parked(start: Start) -> str:
    """What an agent has to be told whose call goes on as if nothing had been; empty if all of its files are there."""
    if isinstance(start, Paused) and (start.kept is None or not _whole(start.kept)):
        return files_of(start.kept)
    if isinstance(start, Interrupted) and start.kept is not None and start.kept.taken is not None:
        return files_of(start.kept) if start.kept.taken.left_out else ""
    return ""


def _whole(kept: Kept) -> bool:
    return kept.taken is None or (kept.taken.final and not kept.taken.left_out)


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


async def _asked_about(job: Job, earlier: Earlier, result: Result | None) -> Ready | GoOn | Fresh:
    """A result that did something sensitive, and waited for somebody to agree: it can leave, or is taken back."""
    made = await _made_again(job, result, earlier) if result is not None else None
    if result is None or made is None or earlier.request is None:
        return Fresh()
    evidence = await judged_anew(job, made.evidence, made.base, made.head)
    if evidence.passed:
        return Ready(replace(made, evidence=evidence), result.with_evidence(evidence), approved=False)
    comment = refusal_of(earlier.request, evidence)
    return GoOn(comment, result.note.base_sha, made.head, earlier.execution.id, earlier.execution.session_id)


async def _made_again(job: Job, result: Result, earlier: Earlier) -> Verified | None:
    """The stored commits, made again from the bundle; None if they do not come out as they were recorded."""
    note, evidence = result.note, result.evidence
    head = note.base_sha
    base = evidence.base_sha if evidence.base_sha != note.judged_from else note.base_sha
    if result.bundle is not None:
        head = await job.take_in(result.bundle, note.base_sha, note.signed_for)
        if base != note.base_sha:
            try:
                head = await job.publisher.rebase(head, note.base_sha, base)
            except GitFailed as error:
                _log.warning("the stored result cannot be made again", reason=str(error))
                return None
    if evidence.head_sha not in {None, head}:
        _log.warning("the stored result comes out different", recorded=evidence.head_sha, found=head)
        return None
    return Verified(base, head, evidence, note.summary, earlier.execution.delivery)
