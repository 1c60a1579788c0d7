"""One work order, from the claim to the delivery: prepare, work, verify, deliver."""

import contextlib
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from agentvine.domain.errors import InvalidInput
from agentvine.domain.execution import Phase
from agentvine.domain.ids import new_id
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import RepositoryRules
from agentvine.domain.request import RequestKind
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.worker_types import TaskType
from agentvine.kit import failpoints
from agentvine.kit.clock import Clock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.logs import logger
from agentvine.wire.lending import HandedCredential
from agentvine.wire.messages import Claimed, NewRequest
from agentvine.worker.access import Access
from agentvine.worker.agent.boxed import claude_in
from agentvine.worker.agent.claude import made_ready
from agentvine.worker.agent.sessions import recording
from agentvine.worker.bench import boxed, prepare, set_up
from agentvine.worker.beside import beside, vital
from agentvine.worker.box import Boxes
from agentvine.worker.conclusion import Conclusion, Failed, Parked, Progress
from agentvine.worker.confinement import WITHOUT, sandbox_here
from agentvine.worker.credentials import EitherCredentials
from agentvine.worker.delivery import Deliverer, Verified
from agentvine.worker.examination import examine
from agentvine.worker.forge.base import ForgeProblem, Lookout
from agentvine.worker.forge.choice import Forges
from agentvine.worker.forge.sites import read_forges
from agentvine.worker.git import Git
from agentvine.worker.git_errors import RepositoryProblem
from agentvine.worker.handover import Fresh, Ready, Start, handed_over
from agentvine.worker.job import Job, Workshop
from agentvine.worker.lease_credentials import LeaseCredentials
from agentvine.worker.main import Surroundings
from agentvine.worker.mirror import Mirrors
from agentvine.worker.place import place_of, sweep
from agentvine.worker.publisher import Publisher
from agentvine.worker.sandbox.host import SandboxUnavailable
from agentvine.worker.sandbox.limits import LimitExceeded
from agentvine.worker.sensitive_file import read_sensitive
from agentvine.worker.settings import WorkerConfig
from agentvine.worker.spares import Spares
from agentvine.worker.storing import EGRESS, Shelf
from agentvine.worker.toolchain import Toolchain
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.environments import Environments
from agentvine.worker.verification.subject import SetupFailed
from agentvine.worker.verification.telling import evidence_in_words
from agentvine.worker.verification.verify import Verifier
from agentvine.worker.work import Work

_log = logger("executor")


class TaskExecutor:
    """The `Executor` of a worker: Claude works, the worker proves, the publisher delivers."""

    def __init__(self, shop: Workshop, examine: Callable[[], Awaitable[str | None]] | None = None) -> None:
        """`examine` says what of the surroundings is broken, if anything is; without it nobody looks."""
        self._shop = shop
        self._examine = examine
        self._swept = False

    async def execute(self, claimed: Claimed, progress: Progress) -> Conclusion:
        """As in `Executor`. Whatever an order, its repository or its agent does wrong becomes a `Failed`."""
        try:
            async with self._opened(claimed, progress) as job:
                conclusion = await self._concluded(job)
                if attempts := job.access.journal.lines():
                    await job.shelf.keep(EGRESS, attempts)
                return conclusion
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            return _failed(FailureReason.DISK_FULL, f"{self._shop.root}: {error.strerror}; free some space there")

    async def examine(self) -> str | None:
        """As in `Examining`."""
        return await self._examine() if self._examine is not None else None

    async def lookout(self, url: str, lent: HandedCredential | None) -> Lookout | None:
        """As in `Errands`."""
        with contextlib.ExitStack() as stack:
            if self._shop.served is not None:
                stack.enter_context(self._shop.served.lent(url, lent))
            if lent is not None:
                self._shop.forges.know(url, lent.forge)
            return await self._shop.forges.lookout(url)

    async def _concluded(self, job: Job) -> Conclusion:
        try:
            return await self._carry_out(job)
        except ForgeProblem as problem:
            told = Failure(reason=problem.reason, detail=str(problem), retry_after_seconds=problem.retry_after)
            return Failed(told)
        except RepositoryProblem as problem:
            return _failed(problem.reason, str(problem))
        except InvalidInput as mistake:  # the repository's .agentvine.toml
            return _failed(FailureReason.SETUP_FAILED, mistake.message)
        except LimitExceeded as exceeded:
            return _failed(FailureReason.LIMIT_EXCEEDED, f"{exceeded}; the worker's settings say how much is allowed")

    async def _carry_out(self, job: Job) -> Conclusion:
        """The whole story."""
        await job.progress.report(Phase.PREPARING)
        await failpoints.reached("prepare.after_phase")
        await job.mirror.update()
        await failpoints.reached("prepare.after_fetch")
        start = await handed_over(job)
        if isinstance(start, Failed):
            return start
        if isinstance(start, Ready):
            _log.info("taking over a result", execution_id=job.execution_id, head=start.result.head)
            mine = start.stored.evidence.model_copy(update={"execution_id": job.execution_id})
            await job.shelf.store(start.stored.with_evidence(mine))
            return await self._deliver(job, start.result, approved=start.approved)
        result = await self._work(job, start)
        return await self._deliver(job, result) if isinstance(result, Verified) else result

    async def _work(self, job: Job, start: Start) -> Verified | Failed | Parked:
        base = await job.mirror.resolve(job.claimed.order.branch) if isinstance(start, Fresh) else start.base
        async with beside("loading the agent", job.shop.agent_ready()):
            bench = await prepare(job, start, base)
        await failpoints.reached("prepare.after_workspace")
        secrets = [job.shop.model.api_key] if job.shop.model.api_key else []
        async with AsyncExitStack() as stack:
            box = await stack.enter_async_context(boxed(job, bench))
            await set_up(bench, box)
            await stack.enter_async_context(beside("making a spare", job.shop.spares.refill(job.mirror, base)))
            if job.task.type is not TaskType.REVIEW:
                judged_from = await job.judged_from(base)
                ahead = job.shop.verifier.know_base(job.subject(judged_from, judged_from))
                await stack.enter_async_context(vital("testing the base", ahead, SetupFailed))
            else:
                ahead = job.shop.verifier.know_change(job.subject(base, base, since=bench.since))
                await stack.enter_async_context(beside("analysing the change", ahead))
            shelf = job.shelf
            told = recording(shelf.plane, shelf.execution_id, shelf.token, secrets)
            transcript = await stack.enter_async_context(told)
            return await Work(job, bench, box, transcript).until_done(start)

    async def _deliver(self, job: Job, result: Verified, *, approved: bool = False) -> Conclusion:
        """Let the result leave, or ask whether it may."""
        if job.claimed.order.permission_level is PermissionLevel.HUMAN_REQUIRED and not approved:
            return self._ask(job, result)
        await job.progress.report(Phase.DELIVERING)
        forge = await job.shop.forges.of(job.claimed.order.repository)
        deliverer = Deliverer(job.progress, job.publisher, job.mirror, forge, job.shelf, job.verify)
        if job.task.type is TaskType.REVIEW:
            return await deliverer.report(result)
        return await deliverer.deliver(result)

    def _ask(self, job: Job, result: Verified) -> Parked:
        """A person has to agree. Everything needed to go on is stored; the slot is free until then."""
        order, task = job.claimed.order, job.task
        words = f"{result.summary}\n\n{evidence_in_words(result.evidence)}" if result.summary else ""
        request = NewRequest(
            token=job.claimed.lease.token,
            id=new_id("req", job.shop.clock.now()),
            kind=RequestKind.APPROVAL,
            message=f"May the result of “{task.title}” leave for {order.repository} (a branch beside {order.branch})?",
            context=words or evidence_in_words(result.evidence),
            options=("approve", "deny"),
        )
        return Parked(request)

    @asynccontextmanager
    async def _opened(self, claimed: Claimed, progress: Progress) -> AsyncIterator[Job]:
        """Everything for one execution; its folder is gone at the end."""
        shop = self._shop
        places = shop.root / "executions"
        if not self._swept:
            self._swept = True
            await sweep(places)
        mirror = shop.mirrors.of(claimed.order.repository)
        lease = claimed.lease
        shelf = Shelf(progress.plane, lease.execution_id, lease.token)
        async with AsyncExitStack() as stack:
            if shop.served is not None:
                stack.enter_context(shop.served.holding(claimed))
            place = await stack.enter_async_context(place_of(places, lease.execution_id, keep=shop.keep_places))
            publisher = Publisher(shop.git, place.results, mirror)
            rules = claimed.rules or RepositoryRules()
            shop.forges.know(claimed.order.repository, rules.forge)
            access = Access(shop.offer, (*claimed.task.asked.hosts, *rules.hosts))
            yield Job(shop, claimed, progress, place, mirror, publisher, shelf, access)


async def make_executor(around: Surroundings) -> TaskExecutor:
    """The executor of a worker that was configured. Raises ConfigurationError if no sandbox can be made here."""
    config, clock = around.config, around.clock
    root = config.workspace_dir
    served = LeaseCredentials(around.plane, clock)
    credentials = EitherCredentials(config.credentials, served)
    git = Git(root / "home", credentials=credentials)
    toolchain = Toolchain.of_this_worker(config.tool_path)
    boxes = await _boxes(config, toolchain)
    shop = Workshop(
        root=root,
        agent_in=partial(claude_in, clock=clock),
        agent_ready=made_ready,
        git=git,
        mirrors=Mirrors(git, root / "mirrors"),
        spares=Spares(root / "spares"),
        boxes=boxes,
        verifier=_verifier(config, boxes, toolchain, clock),
        forges=Forges(read_forges(config.forges), credentials, clock),
        queue=around.queue,
        clock=clock,
        model=config.model_access,
        watchdog=config.watchdog,
        environment=toolchain.environment(),
        offer=config.offer,
        tools=config.tools,
        sensitive=read_sensitive(config.sensitive_rules),
        request_hold=config.request_hold,
        request_expiry=config.request_expiry,
        max_repairs=config.max_repairs,
        checkpoint_seconds=config.checkpoint_seconds,
        keep_places=not config.cleanup_workspace,
        served=served,
    )
    return TaskExecutor(shop, partial(examine, root, config.model_access, config, toolchain))


def _verifier(config: WorkerConfig, boxes: Boxes, toolchain: Toolchain, clock: Clock) -> Verifier:
    return Verifier(
        boxes,
        BaseResults(config.workspace_dir / "base-results"),
        clock,
        surroundings=f"{toolchain.path} {config.sandbox}",
        longest=config.test_timeout,
        environments=Environments(config.workspace_dir / "environments"),
    )


async def _boxes(config: WorkerConfig, toolchain: Toolchain) -> Boxes:
    try:
        sandbox = await sandbox_here(config, toolchain)
    except SandboxUnavailable as unavailable:
        raise ConfigurationError(*(f"SANDBOX: {problem}" for problem in unavailable.problems), WITHOUT) from None
    return Boxes(sandbox, toolchain.environment(), config.limits)


def _failed(reason: FailureReason, detail: str) -> Failed:
    return Failed(Failure(reason=reason, detail=detail.replace("\0", "")[:20_000]))
