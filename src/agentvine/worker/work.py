"""The agent at work, and the worker's judgement of what came of it, until that is good enough or hopeless."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from agentvine.domain.errors import Unavailable
from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.execution import Phase, Usage
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.worker_types import TaskType
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.wire.messages import NewRequest
from agentvine.worker.admission import ResultRefused
from agentvine.worker.agent import prompts
from agentvine.worker.agent.base import AgentResult, Assignment, Watchdog
from agentvine.worker.agent.prompts import RepositoryFacts
from agentvine.worker.agent.sessions import SessionTranscript
from agentvine.worker.agent.tools import TypeGate
from agentvine.worker.asking import Asking
from agentvine.worker.beside import beside
from agentvine.worker.box import OpenBox, attempt
from agentvine.worker.checkpoint import CHECKPOINT, checkpoint, taken_up
from agentvine.worker.conclusion import Failed, Parked
from agentvine.worker.delivery import Verified
from agentvine.worker.files import languages
from agentvine.worker.handover import Fresh, GoOn, Paused, Start
from agentvine.worker.job import Job
from agentvine.worker.place import never_commit_leftovers
from agentvine.worker.sandbox.base import MODEL_URL, Upstream
from agentvine.worker.sandbox.limits import LimitExceeded
from agentvine.worker.storing import Note, Result
from agentvine.worker.verification.commands import Commands
from agentvine.worker.verification.review import SCHEMA, Review, read_review
from agentvine.worker.verification.telling import review_report
from agentvine.worker.verification.verify import SetupFailed, commands_of, failing
from agentvine.worker.workspace import Workspace, export_bundle

GUIDE = "CLAUDE.md"
_LARGEST_GUIDE = 200_000
_DIFF_LIMIT = 4_000_000
_LOCAL_BRANCH = "work"

_log = logger("work")


@dataclass(frozen=True, slots=True)
class Bench:
    """A workspace that is ready but for the set-up, and what the agent is told of it."""

    workspace: Workspace
    base: str
    commands: Commands
    facts: RepositoryFacts


@dataclass(frozen=True, slots=True)
class _Judged:
    evidence: Evidence
    head: str
    bundle: bytes | None = None
    refused: bool = False


async def prepare(job: Job, start: Start, base: str) -> Bench:
    """Make the workspace, find out what there is to say of it. Raises RepositoryProblem, InvalidInput."""
    commands = await commands_of(job.mirror, base)
    head = base if isinstance(start, Fresh) else start.head
    going_on = head != base
    workspace = await Workspace.prepare(
        job.publisher.repository if going_on else job.mirror,
        head,
        _LOCAL_BRANCH,
        job.place.workspace,
        spares=None if going_on else job.shop.spares,
    )
    if isinstance(start, Paused) and going_on:
        await taken_up(job.shop.git, job.publisher.repository, workspace)
    never_commit_leftovers(workspace.path)
    paths = [file.path for file in await job.mirror.list_tree(base)]
    guide = await job.mirror.read_file(base, GUIDE, _LARGEST_GUIDE)
    facts = RepositoryFacts(
        branch=job.claimed.order.branch,
        base_sha=base,
        languages=languages(paths),
        setup=" ".join(commands.setup.argv) if commands.setup else None,
        test=commands.test.shown() if commands.test else None,
        guide=guide.decode("utf-8", "replace") if guide else None,
    )
    return Bench(workspace, base, commands, facts)


@asynccontextmanager
async def boxed(job: Job, bench: Bench) -> AsyncIterator[OpenBox]:
    """The box around a workspace, for the set-up, the agent and what git has to do there, with a model."""
    model = job.shop.model
    upstream = Upstream(model.base_url or MODEL_URL, model.api_key, budget_usd=job.budget_left)
    place, wished = job.place.private, bench.commands.hosts
    async with job.shop.boxes.box(bench.workspace, place, job.access, wished=wished, upstream=upstream) as box:
        yield box


async def set_up(bench: Bench, box: OpenBox) -> None:
    """Run the repository's set-up command in the workspace, if there is one. Raises SetupFailed, LimitExceeded."""
    setup = bench.commands.setup
    if setup is None:
        return
    done = await attempt(box, setup.argv, cwd=bench.workspace.path, timeout=setup.timeout_seconds)
    if done.exit_code != 0:
        said = f"{done.stdout}\n{done.stderr}".strip()[-2000:]
        raise SetupFailed(f"the set-up `{' '.join(setup.argv)}` ended with {done.exit_code}: {said}")


class Work:
    """The agent's part of one execution."""

    def __init__(self, job: Job, bench: Bench, box: OpenBox, transcript: SessionTranscript) -> None:
        self._job = job
        self._bench = bench
        self._box = box
        self._agent = job.shop.agent_in(box.inner)
        self._before = job.progress.usage
        self._transcript = transcript
        self._gate = self._asking()
        self._session_id = str(uuid.uuid4())

    async def until_done(self, start: Start) -> Verified | Failed | Parked:
        """Let the agent work and repair until its result is verified and stored, or until it has to wait for an answer.

        Raises LeaseLost, RepositoryProblem, InvalidInput, LimitExceeded.
        """
        job = self._job
        prompt, resumes = await self._first_words(start)
        await job.progress.report(Phase.WORKING, base_sha=self._bench.base, session_id=self._session_id)
        for repairs in range(job.shop.max_repairs + 1):
            result = await self._run_agent(prompt, resumes=resumes)
            if result.failure is not None and result.failure.reason is not FailureReason.AGENT_NO_EXIT:
                return Failed(result.failure)
            if result.parked is not None and self._gate.parked is not None:
                return await self._parked(self._gate.parked)
            await job.progress.report(Phase.VERIFYING)
            judged = await self._judged(result, repairs)
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

    async def _first_words(self, start: Start) -> tuple[str | None, bool]:
        """What the agent is told first, and whether that goes on with an earlier conversation."""
        job = self._job
        if isinstance(start, Paused):
            if await self._transcript.adopt(start.execution_id):
                self._session_id = start.session_id
                return None, True
            return prompts.opening(job.profile, job.task, self._bench.facts), False
        comment = prompts.comments(job.profile, start.comment) if start.comment else ""
        if isinstance(start, GoOn) and start.session_id and await self._transcript.adopt(start.execution_id):
            self._session_id = start.session_id
            seen_at = self._box.inner.seen_at
            moved = f"Your working directory is `{seen_at}`; a path from before that differs from it is gone."
            return f"{comment}\n{moved}\n", True
        opening = prompts.opening(job.profile, job.task, self._bench.facts)
        return f"{opening}\n{comment}" if comment else opening, False

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
            result = await self._agent.run(assignment, self._gate, self._transcript, meter)
        if inner.breach is not None:
            raise LimitExceeded(inner.breach)
        return result

    async def _tell_usage(self) -> None:
        """Tell the server now and then what was spent: a worker that is lost must not take the bill with it."""
        told = self._job.progress.usage
        while True:
            await pause(self._job.shop.tell_seconds)
            if self._job.progress.usage != told:
                told = self._job.progress.usage
                with suppress(Unavailable):  # then with the next
                    await self._job.progress.report(self._job.progress.phase)

    def _asking(self) -> Asking:
        job = self._job
        gate = TypeGate(
            job.profile,
            self._bench.workspace.path,
            self._box.inner.seen_at,
            policy=job.tools,
            sensitive=job.shop.sensitive,
            repository=job.claimed.order.repository,
            refusals=job.refusals,
        )
        return Asking(gate, job.shop.queue, job.claimed, hold=job.shop.request_hold, expiry=job.shop.request_expiry)

    async def _parked(self, request: NewRequest) -> Parked:
        """Store all that is needed to go on, anywhere: the slot is free until there is an answer."""
        bundle = await checkpoint(self._bench.workspace, self._bench.base, self._box.offline)
        if bundle is not None:
            await self._job.shelf.keep(CHECKPOINT, bundle)
        await self._transcript.flush()
        _log.info("waiting without a slot", execution_id=self._job.execution_id, request_id=request.id)
        return Parked(request)

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
        head = base
        if bundle is not None:
            try:
                head = await job.take_in(bundle, base, job.execution_id)
            except ResultRefused as error:
                return _Judged(self._refusal(str(error), repairs), base, refused=True)
        subject = job.subject(base, head, repairs=repairs, answer=result.structured)
        return _Judged(await job.shop.verifier.verify(subject), head, bundle)

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
        )

    async def _stored(self, judged: _Judged, result: AgentResult) -> Verified:
        """Store what was verified, before anything leaves this machine."""
        job, base = self._job, self._bench.base
        summary = _summary(result)
        diff = ""
        if judged.bundle is not None:
            diff = (await job.publisher.repository.diff(base, judged.head, _DIFF_LIMIT)).text
        report = ""
        if job.task.type is TaskType.REVIEW:
            report = review_report(job.task.title, summary, judged.evidence)
        note = Note(base_sha=base, signed_for=job.execution_id, summary=summary)
        await self._transcript.flush()
        await job.shelf.store(Result(note, judged.evidence, judged.bundle, diff, report))
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
