"""The agent at work, and the worker's judgement of what came of it, until that is good enough or hopeless."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from agentvine.domain.approval import noted
from agentvine.domain.errors import AgentVineError, Unavailable
from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.execution import Phase, Usage
from agentvine.domain.repository import Sha
from agentvine.domain.retry import GOES_ON, Failure, FailureReason
from agentvine.domain.sarif import sarif_text
from agentvine.domain.worker_types import TaskType
from agentvine.kit import failpoints
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.kit.process import ProcessError
from agentvine.wire.messages import NewRequest
from agentvine.worker.admission import ResultRefused
from agentvine.worker.agent import prompts
from agentvine.worker.agent.base import AgentResult, Assignment, Watchdog
from agentvine.worker.agent.sessions import SessionTranscript
from agentvine.worker.bench import Bench
from agentvine.worker.beside import beside
from agentvine.worker.box import OpenBox
from agentvine.worker.checkpoint import Checkpoints
from agentvine.worker.clearance import cleared, lacks_only_approval
from agentvine.worker.conclusion import Failed, Parked
from agentvine.worker.delivery import Verified
from agentvine.worker.gatehouse import gate_of
from agentvine.worker.going_on import first_words
from agentvine.worker.handover import Start
from agentvine.worker.hearing import Hearing
from agentvine.worker.job import Job
from agentvine.worker.sandbox.limits import LimitExceeded
from agentvine.worker.storing import Note, Result
from agentvine.worker.verification.review import SCHEMA, Review, read_review
from agentvine.worker.verification.telling import review_report
from agentvine.worker.verification.verify import failing
from agentvine.worker.workspace import ExportFailed, export_bundle

_DIFF_LIMIT = 4_000_000

_log = logger("work")


@dataclass(frozen=True, slots=True)
class _Judged:
    evidence: Evidence
    head: str
    bundle: bytes | None = None
    refused: bool = False


class Work:
    """The agent's part of one execution."""

    def __init__(self, job: Job, bench: Bench, box: OpenBox, transcript: SessionTranscript) -> None:
        self._job = job
        self._bench = bench
        self._box = box
        self._agent = job.shop.agent_in(box.inner)
        self._before = job.progress.usage
        self._transcript = transcript
        self._gate = gate_of(job, bench.workspace, bench.base, box)
        self._hearing = Hearing(job.shelf.plane, job.claimed)
        self._checkpoints = Checkpoints(bench.workspace, bench.base, box.offline, job.shelf, job.shop.clock)
        self._session_id = ""

    async def until_done(self, start: Start) -> Verified | Failed | Parked:
        """Let the agent work and repair until its result is verified and stored, or until it has to wait for an answer.

        Raises LeaseLost, RepositoryProblem, InvalidInput, LimitExceeded. Cancelled because the worker has to leave, it
        first keeps what was done, within the time that it is given.
        """
        try:
            async with beside("hearing comments", self._hearing.listen()):
                return await self._rounds(start)
        except asyncio.CancelledError:
            await self._left()
            raise

    async def _rounds(self, start: Start) -> Verified | Failed | Parked:
        job = self._job
        prompt, resumes = await self._begun(start)
        for repairs in range(job.shop.max_repairs + 1):
            result = await self._heard_out(prompt, resumes=resumes)
            if result.failure is not None and result.failure.reason is not FailureReason.AGENT_NO_EXIT:
                return await self._broken_off(result.failure)
            if self._gate.failure is not None:
                return Failed(self._gate.failure)
            if result.parked is not None and self._gate.parked is not None:
                return await self._parked(self._gate.parked)
            await self._tell(Phase.VERIFYING)
            judged = await self._agreed_to(await self._judged(result, repairs), result)
            if not isinstance(judged, _Judged):
                return judged
            if judged.evidence.passed:
                return await self._stored(judged, result)
            await job.shelf.record(judged.evidence)
            number = repairs + 1
            prompt = prompts.repair(job.profile, judged.evidence, number, job.shop.max_repairs)
            resumes = True
            if number > job.shop.max_repairs:
                return _given_up(judged, repairs)
            _log.info("not done yet", execution_id=job.execution_id, repair=number, why=_why(judged.evidence))
        raise AssertionError("the loop ends by returning")

    # ── the agent ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _begun(self, start: Start) -> tuple[str | None, bool]:
        """What the agent is told first, and whether that goes on with an earlier conversation. From here on whoever
        comes after this execution goes on with it, so all that it goes on with itself is stored before."""
        await self._hearing.catch_up()
        words = await first_words(
            self._job,
            start,
            self._bench.facts,
            str(self._box.inner.seen_at),
            transcript=self._transcript,
            hearing=self._hearing,
        )
        if self._bench.workspace.commit != self._bench.base:
            await self._checkpoints.take()
        self._session_id = words.session_id
        await self._tell(Phase.WORKING, base_sha=self._bench.base, session_id=words.session_id)
        return words.prompt, words.resumes

    async def _heard_out(self, prompt: str | None, *, resumes: bool) -> AgentResult:
        """Run the agent, and again for what people said that it has not heard, until it has heard all."""
        while True:
            result = await self._run_agent(prompt, resumes=resumes)
            if result.failure is not None or result.parked is not None or self._gate.failure is not None:
                return result
            await self._hearing.catch_up()
            prompt, resumes = self._hearing.take_all(), True
            if not prompt:
                return result

    async def _run_agent(self, prompt: str | None, *, resumes: bool) -> AgentResult:
        job = self._job
        if job.budget_left <= 0:
            detail = f"the budget of ${job.task.budget.usd:.2f} is used up; raise it and requeue the task"
            return AgentResult(Usage(), failure=Failure(reason=FailureReason.BUDGET_EXCEEDED, detail=detail))
        before, inner = job.progress.usage, self._box.inner

        def meter(usage: Usage) -> None:
            total = before + usage
            if (metered := inner.usage) is not None:  # seen from outside, so it counts; turns cannot be seen there
                total = (self._before + metered).model_copy(update={"turns": total.turns})
            job.progress.usage = total

        async with beside("telling what was used", self._tell_usage()):
            assignment = self._assignment(prompt, resumes=resumes)
            await failpoints.reached("work.before_agent")
            keeping = self._checkpoints.now_and_then(job.shop.checkpoint_seconds)
            async with beside("keeping checkpoints", keeping):
                result = await self._agent.run(assignment, self._gate, self._transcript, meter, self._hearing)
            await failpoints.reached("work.after_agent")
        if inner.breach is not None:
            raise LimitExceeded(inner.breach)
        return result

    async def _tell_usage(self) -> None:
        """Tell the server now and then what was spent: a worker that is lost must not take the bill with it."""
        told = self._job.progress.usage, self._hearing.number
        while True:
            await pause(self._job.shop.tell_seconds)
            if (now := (self._job.progress.usage, self._hearing.number)) != told:
                told = now
                with suppress(Unavailable):  # then with the next
                    await self._tell(self._job.progress.phase)

    async def _tell(self, phase: Phase, *, base_sha: Sha | None = None, session_id: str | None = None) -> None:
        """Report progress. A comment was heard once the server has the conversation in which it was."""
        progress, number = self._job.progress, self._hearing.number
        if number > progress.comments_heard and await self._transcript.flush():
            progress.comments_heard = number
        await progress.report(phase, base_sha=base_sha, session_id=session_id)

    async def _parked(self, request: NewRequest) -> Parked:
        """Store all that is needed to go on, anywhere: the slot is free until there is an answer.

        Files that cannot be kept are no reason to lose the conversation, which is told of it when it goes on.
        """
        try:
            await self._checkpoints.take(final=True)
        except (ExportFailed, ProcessError) as error:
            _log.warning("parked without the last files", execution_id=self._job.execution_id, why=str(error))
        await failpoints.reached("park.after_checkpoint")
        await self._transcript.flush()
        await failpoints.reached("park.after_transcript")
        if self._hearing.number > self._job.progress.comments_heard:
            await self._tell(Phase.WORKING)
        _log.info("waiting without a slot", execution_id=self._job.execution_id, request_id=request.id)
        return Parked(request)

    async def _broken_off(self, failure: Failure) -> Failed:
        """Keep what was done, if the next attempt goes on with it."""
        if failure.reason in GOES_ON:
            await self._checkpoints.try_to_take(final=True)
            await self._transcript.flush()
            await self._tell(self._job.progress.phase)
        return Failed(failure)

    async def _left(self) -> None:
        """Keep what was done, as far as there is time, once there is something to go on with."""
        until = self._job.progress.leave_by
        if until is None or not self._session_id:
            return
        _log.info("keeping what was done", execution_id=self._job.execution_id)
        with suppress(TimeoutError, AgentVineError):
            async with asyncio.timeout_at(until):
                await self._checkpoints.try_to_take(final=True)
                await self._transcript.flush()
                await self._tell(self._job.progress.phase)

    def _assignment(self, prompt: str | None, *, resumes: bool) -> Assignment:
        job = self._job
        limits = job.shop.watchdog
        total = float(job.task.timeout_seconds or limits.total)
        return Assignment(
            execution_id=job.execution_id,
            profile=job.profile,
            workspace=self._bench.workspace.path,
            private=job.place.private,
            session_id=self._session_id,
            prompt=prompt,
            instructions=prompts.instructions(job.profile, self._bench.facts),
            resumes=resumes,
            model=job.shop.model,
            budget_usd=job.budget_left,
            max_turns=job.task.budget.turns,
            watchdog=Watchdog(limits.first_message, limits.idle, limits.after_result, total),
            environment=job.shop.environment,
            output_schema=SCHEMA if job.task.type is TaskType.REVIEW else None,
        )

    # ── the judgement ────────────────────────────────────────────────────────────────────────────────────────────

    async def _judged(self, result: AgentResult, repairs: int) -> _Judged:
        """Bring the commits out of the workspace, and find out whether they are what was asked for."""
        job, base = self._job, self._bench.base
        message = f"{job.profile.commit_prefix}: {' '.join(job.task.title.split())}"
        bundle = await export_bundle(self._bench.workspace, base, message, self._box.offline)
        if job.shop.checkpoint_seconds > 0:  # the verification may take long
            await self._checkpoints.hand_in(bundle)
        head = base
        if bundle is not None:
            try:
                head = await job.take_in(bundle, base, job.execution_id)
            except ResultRefused as error:
                return _Judged(self._refusal(str(error), repairs), base, refused=True)
        await failpoints.reached("result.after_bundle")
        said = result.final_text
        answer, since = result.structured, self._bench.since
        subject = job.subject(
            await job.judged_from(base),
            head,
            repairs=repairs,
            answer=answer,
            said=said,
            since=since,
            builds_on=base,
        )
        evidence = await job.shop.verifier.verify(subject)
        await failpoints.reached("result.after_verification")
        return _Judged(evidence, head, bundle)

    async def _agreed_to(self, judged: _Judged, result: AgentResult) -> _Judged | Failed | Parked:
        """Ask about what is sensitive, where that alone keeps the result from leaving; until it is answered, wait as a
        result waits that somebody has to approve."""
        if not lacks_only_approval(judged.evidence):
            return judged
        evidence = await cleared(self._job, self._gate, judged.evidence, self._bench.base, judged.head)
        if self._gate.failure is not None:
            return Failed(self._gate.failure)
        if isinstance(evidence, Evidence):
            return replace(judged, evidence=evidence)
        await self._stored(judged, result)
        return Parked(evidence)

    def _refusal(self, why: str, repairs: int) -> Evidence:
        """Evidence against a result that cannot even be taken in."""
        job = self._job
        return Evidence(
            execution_id=job.execution_id,
            task_id=job.claimed.task.id,
            type=job.task.type,
            made_at=job.shop.clock.now(),
            base_sha=self._bench.base,
            head_sha=None,
            checks=(Check(name="the commits can be taken in", outcome=CheckOutcome.FAILED, why=why),),
            usage=job.progress.usage,
            repairs=repairs,
            sandbox=job.shop.boxes.confinement,
            egress=job.access.journal.contacts,
            refused_calls=job.refusals.calls,
            approved_calls=noted(job.approvals.grants),
        )

    async def _stored(self, judged: _Judged, result: AgentResult) -> Verified:
        """Store what was verified, before anything leaves this machine."""
        job, base = self._job, self._bench.base
        summary = _summary(result)
        diff = ""
        if judged.bundle is not None:
            diff = (await job.publisher.repository.diff(base, judged.head, _DIFF_LIMIT)).text
        report = sarif = ""
        if job.task.type is TaskType.REVIEW:
            report = review_report(job.task.title, summary, judged.evidence)
            sarif = sarif_text(judged.evidence)
        judged_from = judged.evidence.base_sha if judged.evidence.base_sha != base else None
        note = Note(base_sha=base, signed_for=job.execution_id, summary=summary, judged_from=judged_from)
        await self._transcript.flush()
        await job.shelf.store(Result(note, judged.evidence, judged.bundle, diff, report, sarif))
        return Verified(base, judged.head, judged.evidence, summary)


def _summary(result: AgentResult) -> str:
    review: Review | str = read_review(result.structured) if result.structured is not None else ""
    text = review.summary if isinstance(review, Review) else result.final_text
    return text.replace("\0", "").strip()[:20_000]


def _why(evidence: Evidence) -> str:
    return "; ".join(f"{check.name}: {check.why}" for check in failing(evidence))


def _given_up(judged: _Judged, repairs: int) -> Failed:
    reason = FailureReason.VERIFICATION_FAILED
    if judged.refused:
        reason = FailureReason.RESULT_REFUSED
    elif judged.bundle is None and all(check.name == "has changes" for check in failing(judged.evidence)):
        reason = FailureReason.NO_CHANGES
    detail = f"after {repairs} repairs: {_why(judged.evidence)}" if repairs else _why(judged.evidence)
    return Failed(Failure(reason=reason, detail=detail[:20_000]))
