"""Where cases are tried: a server, remotes, one worker's executor with its sandbox and its verification. Only the agent
is a stand-in.

All cases of a process share what a host shares: mirrors, and what is known of base commits. Each has a branch of its
own in the remote of its repository, and a server of its own.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from agentvine.domain.errors import NotFound
from agentvine.domain.evidence import Check, Evidence
from agentvine.domain.ids import new_id
from agentvine.domain.task import NewTask
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.process import Completed
from agentvine.testing.databases import sqlite_database
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk
from agentvine.worker.box import Boxes
from agentvine.worker.conclusion import Conclusion, Delivered, Failed, Parked, Progress
from agentvine.worker.confinement import sandbox_here
from agentvine.worker.credentials import NoCredentials
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.forge.choice import Forges
from agentvine.worker.git import Git
from agentvine.worker.job import Workshop
from agentvine.worker.mirror import Mirrors
from agentvine.worker.queue_client import QueueClient
from agentvine.worker.sandbox.base import Box, BoxSpec, Sandbox
from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.settings import SandboxKind, SandboxSettings
from agentvine.worker.spares import Spares
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.verify import Verifier, failing
from tests.proof.agent import ScriptedAgent
from tests.proof.case import Case
from tests.proof.repositories import PROPOSALS, REPOSITORIES
from tests.proof.toolchains import toolchain

PROPOSED = "proposed"
"""The branch that reviews are of."""
LONGEST = 240.0
"""Seconds that a test run may take, where a case says nothing else."""


@dataclass(slots=True)
class Trial:
    """How a case ended."""

    conclusion: Conclusion
    order: WorkOrder
    evidence: Evidence | None
    told: list[str]
    """What the agent was told, run by run."""
    base: str
    refs: Mapping[str, str]
    """The branches of the remote that belong to the case, and their commits."""
    report: bytes | None = None
    """The stored report of a review."""

    @property
    def failing(self) -> dict[str, str]:
        """The checks for which it was not delivered, and why."""
        return {check.name: check.why for check in failing(self.evidence)} if self.evidence is not None else {}

    @property
    def left(self) -> bool:
        """Whether anything of it is in the remote that was not there."""
        return set(self.refs.values()) != {self.base} or len(self.refs) != 1

    def check(self, name: str) -> Check:
        """The check called `name`."""
        assert self.evidence is not None
        return next(check for check in self.evidence.checks if check.name == name)

    def __str__(self) -> str:
        said = self.conclusion.failure if isinstance(self.conclusion, Failed) else self.conclusion
        return f"{self.order.status}: {said}"


@dataclass(slots=True)
class NumberedRuns:
    """A `Sandbox` that tells each run of pytest, in TEST_RUN, the how many-th it is: by it a test can fail now and
    then, and yet the same each time."""

    inner: Sandbox
    number: int = 0

    @property
    def confinement(self) -> str:
        return self.inner.confinement

    @asynccontextmanager
    async def box(self, spec: BoxSpec) -> AsyncIterator[Box]:
        async with self.inner.box(spec) as box:
            yield _NumberedBox(box, self)


class _NumberedBox:
    def __init__(self, inner: Box, runs: NumberedRuns) -> None:
        self._inner = inner
        self._runs = runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **more: Any) -> Completed:
        if "pytest" in argv:
            self._runs.number += 1
            env = {**(env or {}), "TEST_RUN": str(self._runs.number)}
        return await self._inner.run(argv, env=env, **more)


@dataclass(slots=True)
class Court:
    """Tries cases. `root` is the host's folder; `verifier_of` makes what verifies."""

    root: Path
    verifier_of: Callable[..., Verifier] = Verifier
    numbered: bool = False
    """Whether runs of pytest are told their numbers."""
    _sandboxes: list[Sandbox] = field(default_factory=list)
    _origins: dict[str, tuple[GitRepository, Path]] = field(default_factory=dict)
    _branches: set[str] = field(default_factory=set)

    async def try_(self, case: Case, *, longest: float = LONGEST) -> Trial:
        """The whole execution of `case`, from the submission to the report."""
        origin, remote = await self._repository(case.base)
        branch = f"case/{case.name}"
        assert branch not in self._branches, "each case is tried once in a court"
        self._branches.add(branch)
        base = await origin.git("rev-parse", PROPOSED if case.type is TaskType.REVIEW else "main")
        await git("update-ref", f"refs/heads/{branch}", base, cwd=remote)
        here = self.root / "cases" / case.name
        async with in_process_site(sqlite_database(here), here) as site:
            return await self._tried(case, site, remote, branch, base, longest)

    async def _tried(
        self, case: Case, site: InProcessSite, remote: Path, branch: str, base: str, longest: float
    ) -> Trial:
        plane, desk = await site.worker_plane(), await site.front_desk()
        claimed = await _claimed(case, plane, desk, str(remote), branch)
        agents: list[ScriptedAgent] = []

        def agent_in(box: Box) -> ScriptedAgent:
            agents.append(ScriptedAgent(box, case.turns))
            return agents[-1]

        shop = await self._workshop(plane, longest)
        executor = TaskExecutor(replace(shop, agent_in=agent_in, max_repairs=case.repairs))
        progress = Progress(claimed, plane)
        conclusion = await executor.execute(claimed, progress)
        assert list((self.root / "executions").iterdir()) == []
        order = await _reported(plane, desk, claimed, conclusion, progress)
        execution = claimed.lease.execution_id
        delivered = isinstance(conclusion, Delivered)
        review = delivered and case.type is TaskType.REVIEW
        return Trial(
            conclusion,
            order,
            await _evidence(desk, execution),
            [told for agent in agents for told in agent.told],
            base,
            await _refs(remote, branch, claimed.task.id),
            await plane.artifact(execution, "review.md") if review else None,
        )

    async def _repository(self, name: str) -> tuple[GitRepository, Path]:
        """The repository called `name`, with a branch that proposes a change, and its bare copy that is the remote."""
        if name not in self._origins:
            origin = await GitRepository.create(self.root / "origins" / name, REPOSITORIES[name])
            await origin.git("checkout", "--quiet", "-b", PROPOSED)
            await origin.commit(PROPOSALS.get(name, {}), "feat: propose")
            await origin.git("checkout", "--quiet", "main")
            self._origins[name] = origin, await origin.bare_copy(self.root / "remotes" / f"{name}.git")
        return self._origins[name]

    async def _workshop(self, plane: ControlPlane, longest: float) -> Workshop:
        clock, gitter, tools = SystemClock(), Git(self.root / "home"), toolchain()
        if not self._sandboxes:
            wanted = SandboxSettings.load({}, sandbox=SandboxKind.BUBBLEWRAP)
            found = await sandbox_here(wanted, tools)
            self._sandboxes.append(NumberedRuns(found) if self.numbered else found)
        boxes = Boxes(self._sandboxes[0], tools.environment(), Limits())
        known = BaseResults(self.root / "base-results")
        return Workshop(
            root=self.root,
            agent_in=partial(ScriptedAgent, turns=()),
            git=gitter,
            mirrors=Mirrors(gitter, self.root / "mirrors"),
            spares=Spares(self.root / "spares"),
            boxes=boxes,
            verifier=self.verifier_of(boxes, known, clock, surroundings=tools.path, longest=longest),
            forges=Forges((), NoCredentials(), clock),
            queue=QueueClient(plane, None, "wrk_proof", clock),
            clock=clock,
            environment=tools.environment(),
            request_hold=0.0,
            checkpoint_seconds=0.0,
        )


async def _claimed(case: Case, plane: ControlPlane, desk: FrontDesk, remote: str, branch: str) -> m.Claimed:
    asked = NewTask(
        type=case.type,
        title=case.title or case.name.replace("_", " "),
        description=case.description,
        repository=remote,
        branch=branch,
    )
    await desk.submit(asked)
    await plane.register(m.Registration(id="wrk_proof", name="proof", worker_type=case.type, version="1"))
    execution = new_id("exe", SystemClock().now())
    claimed = await plane.claim(m.ClaimRequest(worker_id="wrk_proof", execution_id=execution))
    assert claimed is not None
    await plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
    return claimed


async def _reported(
    plane: ControlPlane, desk: FrontDesk, claimed: m.Claimed, conclusion: Conclusion, progress: Progress
) -> WorkOrder:
    """As the pool does."""
    order, token, usage = claimed.order.id, claimed.lease.token, progress.usage
    match conclusion:
        case Delivered():
            done = m.Completion(token=token, delivery=conclusion.delivery, usage=usage, summary=conclusion.summary)
            await plane.complete(order, done)
        case Failed():
            await plane.fail(order, m.FailureReport(token=token, failure=conclusion.failure, usage=usage))
        case Parked():
            await plane.park(order, m.Parking(token=token, request=conclusion.request, usage=usage))
    return await desk.work_order(order)


async def _evidence(desk: FrontDesk, execution: str) -> Evidence | None:
    try:
        return await desk.evidence(execution)
    except NotFound:
        return None


async def _refs(remote: Path, branch: str, task: str) -> dict[str, str]:
    listed = await git("for-each-ref", "--format=%(refname:short) %(objectname)", cwd=remote)
    refs = dict(line.split(" ") for line in listed.splitlines())
    return {name: sha for name, sha in refs.items() if name == branch or task[-8:] in name}
