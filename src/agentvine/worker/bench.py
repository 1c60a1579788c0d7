"""What the agent works on: a workspace, the box around it, and what there is to say of the repository."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agentvine.domain.worker_types import TaskType
from agentvine.worker.agent.prompts import RepositoryFacts
from agentvine.worker.box import OpenBox, attempt
from agentvine.worker.checkpoint import taken_up
from agentvine.worker.files import languages
from agentvine.worker.handover import Fresh, Start
from agentvine.worker.job import Job
from agentvine.worker.place import never_commit_leftovers
from agentvine.worker.sandbox.base import MODEL_URL, Upstream
from agentvine.worker.verification.commands import Commands
from agentvine.worker.verification.runs import within
from agentvine.worker.verification.verify import SetupFailed, commands_of
from agentvine.worker.workspace import Workspace

GUIDE = "CLAUDE.md"
_LARGEST_GUIDE = 200_000
_LOCAL_BRANCH = "work"


@dataclass(frozen=True, slots=True)
class Bench:
    """A workspace that is ready but for the set-up, and what the agent is told of it."""

    workspace: Workspace
    base: str
    commands: Commands
    facts: RepositoryFacts
    since: str | None = None
    """Of a review: the commit from which on the branch is reviewed."""


async def prepare(job: Job, start: Start, base: str) -> Bench:
    """Make the workspace, find out what there is to say of it. Raises RepositoryProblem, InvalidInput."""
    commands = await commands_of(job.mirror, base, job.rules)
    head = base if isinstance(start, Fresh) else start.head
    going_on = head != base
    workspace = await Workspace.prepare(
        job.publisher.repository if going_on else job.mirror,
        head,
        _LOCAL_BRANCH,
        job.place.workspace,
        spares=None if going_on else job.shop.spares,
    )
    if going_on:
        await taken_up(job.shop.git, job.publisher.repository, workspace)
    never_commit_leftovers(workspace.path)
    paths = [file.path for file in await job.mirror.list_tree(base)]
    since = None
    if job.task.type is TaskType.REVIEW:
        since = await job.mirror.fork_of(job.claimed.order.branch, base)
    guide = await job.mirror.read_file(base, GUIDE, _LARGEST_GUIDE)
    facts = RepositoryFacts(
        branch=job.claimed.order.branch,
        base_sha=base,
        languages=languages(paths),
        setup=" ".join(commands.setup.argv) if commands.setup else None,
        test=commands.test.shown() if commands.test else None,
        guide=guide.decode("utf-8", "replace") if guide else None,
        since=since,
    )
    return Bench(workspace, base, commands, facts, since)


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
    argv = within(setup.directory, setup.argv)
    done = await attempt(box, argv, cwd=bench.workspace.path, timeout=setup.timeout_seconds)
    if done.exit_code != 0:
        said = f"{done.stdout}\n{done.stderr}".strip()[-2000:]
        raise SetupFailed(f"the set-up `{' '.join(setup.argv)}` ended with {done.exit_code}: {said}")
