"""A house where whole executions take place: a server, a git remote, the real Claude Code and a scripted model."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.scripted_model import RunningModel, serve
from agentvine.domain.ids import new_id
from agentvine.domain.task import NewTask, Task
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.testing.agents import PATIENT
from agentvine.testing.base_results import shared_base_results
from agentvine.testing.boxes import boxes_here
from agentvine.testing.databases import sqlite_database
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.front_desk import FrontDesk
from agentvine.worker.access import Offer
from agentvine.worker.agent.base import ModelAccess
from agentvine.worker.agent.boxed import claude_in
from agentvine.worker.conclusion import Conclusion, Delivered, Failed, Parked, Progress
from agentvine.worker.credentials import NoCredentials
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.forge.choice import Forges
from agentvine.worker.git import Git
from agentvine.worker.job import Workshop
from agentvine.worker.mirror import Mirrors
from agentvine.worker.queue_client import QueueClient
from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.settings import SandboxKind
from agentvine.worker.spares import Spares
from agentvine.worker.toolchain import Toolchain
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.verify import Verifier

KEY = "sk-ant-a-key-that-must-not-be-told"
CODE = "def add(a, b):\n    return a - b\n"
FILES = {
    "calc.py": CODE,
    "tests/test_calc.py": "from calc import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n",
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
    "README.md": "# Calc\n",
    "CLAUDE.md": "Write short functions.\n",
}
FIXED = "def add(a, b):\n    return a + b\n"
REPRODUCING = FILES["tests/test_calc.py"] + "\n\ndef test_one():\n    assert add(1, 1) == 2\n"


def write(path: str, content: str) -> ToolCall:
    return ToolCall(name="Write", input={"file_path": f"{{workspace}}/{path}", "content": content})


def bash(command: str) -> ToolCall:
    return ToolCall(name="Bash", input={"command": command, "description": "Do it"})


def commit(message: str) -> ToolCall:
    return bash(f"git add -A && git commit -qm '{message}'")


def turn(*calls: ToolCall, text: str = "I am at it.", when: str | None = None) -> Turn:
    return Turn(text=text, tool_calls=calls, when=when)


def fixes(title: str = "Adding is wrong") -> Scenario:
    done = turn(write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING), commit("fix: add"))
    return Scenario(name=title, match=(title,), turns=(done, Turn(text="Adding is right now.")))


@dataclass
class House:
    """A server, a remote, a model and one worker's executor."""

    root: Path
    site: InProcessSite
    plane: ControlPlane
    desk: FrontDesk
    repository: GitRepository
    remote: Path
    model: RunningModel
    executor: TaskExecutor
    shop: Workshop

    async def submit(self, kind: TaskType, title: str, **changes: object) -> Task:
        fields = {"type": kind, "title": title, "repository": str(self.remote), "branch": "main", **changes}
        return await self.desk.submit(NewTask.model_validate(fields))

    async def claim(self, kind: TaskType) -> m.Claimed:
        worker = f"wrk_{kind.value}"
        await self.plane.register(m.Registration(id=worker, name=worker, worker_type=kind, version="1"))
        execution = new_id("exe", SystemClock().now())
        claimed = await self.plane.claim(m.ClaimRequest(worker_id=worker, execution_id=execution))
        assert claimed is not None
        await self.plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
        return claimed

    async def execute(self, claimed: m.Claimed, executor: TaskExecutor | None = None) -> tuple[Conclusion, Progress]:
        progress = Progress(claimed, self.plane)
        conclusion = await (executor or self.executor).execute(claimed, progress)
        places = self.root / "worker" / "executions"
        assert list(places.iterdir()) == []
        return conclusion, progress

    async def report(self, claimed: m.Claimed, conclusion: Conclusion, progress: Progress) -> WorkOrder:
        """As the pool does."""
        order, token = claimed.order.id, claimed.lease.token
        match conclusion:
            case Delivered():
                done = m.Completion(
                    token=token, delivery=conclusion.delivery, usage=progress.usage, summary=conclusion.summary
                )
                await self.plane.complete(order, done)
            case Failed():
                report = m.FailureReport(token=token, failure=conclusion.failure, usage=progress.usage)
                await self.plane.fail(order, report)
            case Parked():
                await self.plane.park(order, m.Parking(token=token, request=conclusion.request, usage=progress.usage))
        return await self.desk.work_order(order)

    async def carry_out(self, kind: TaskType) -> tuple[m.Claimed, Conclusion, WorkOrder]:
        """Claim, execute, report."""
        claimed = await self.claim(kind)
        conclusion, progress = await self.execute(claimed)
        return claimed, conclusion, await self.report(claimed, conclusion, progress)

    async def on_remote(self, branch: str, *args: str) -> str:
        return (await git(*args, branch, cwd=self.remote)).strip()

    async def push_by_somebody(self, files: Mapping[str, str]) -> str:
        """Somebody else pushes onto main."""
        await self.repository.git("pull", "--quiet", str(self.remote), "main")
        sha = await self.repository.commit(files, "feat: meanwhile")
        await self.repository.git("push", "--quiet", str(self.remote), "HEAD:main")
        return sha


@asynccontextmanager
async def house(
    root: Path,
    *scenarios: Scenario,
    files: Mapping[str, str | bytes] | None = None,
    sandbox: SandboxKind = SandboxKind.BUBBLEWRAP,
    limits: Limits | None = None,
    offer: Offer | None = None,
    policy: Path | None = None,
    max_repairs: int = 3,
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(in_process_site(sqlite_database(root), root, policy=policy))
        model = await stack.enter_async_context(serve(Script(scenarios=scenarios)))
        repository = await GitRepository.create(root / "origin", files or FILES)
        remote = await repository.bare_copy(root / "remote.git")
        plane, desk = await site.worker_plane(), await site.front_desk()
        shop = await workshop(root / "worker", model, plane, sandbox, limits)
        shop = replace(shop, offer=offer or Offer(), max_repairs=max_repairs)
        yield House(root, site, plane, desk, repository, remote, model, TaskExecutor(shop), shop)
        assert model.model.failures == []


async def workshop(
    root: Path,
    model: RunningModel,
    plane: ControlPlane,
    sandbox: SandboxKind = SandboxKind.BUBBLEWRAP,
    limits: Limits | None = None,
) -> Workshop:
    clock, toolchain, gitter = SystemClock(), Toolchain.of_this_worker(), Git(root / "home")
    boxes = await boxes_here(sandbox, limits)
    usual = sandbox is SandboxKind.BUBBLEWRAP and limits is None
    return Workshop(
        root=root,
        agent_in=partial(claude_in, max_retries=0),
        git=gitter,
        mirrors=Mirrors(gitter, root / "mirrors"),
        spares=Spares(root / "spares"),
        boxes=boxes,
        verifier=Verifier(
            boxes,
            shared_base_results() if usual else BaseResults(root / "base-results"),
            clock,
            surroundings=toolchain.path,
            longest=240,
            inquiries=(),  # they are tried where results are judged, and cost several runs of the tests each time
        ),
        forges=Forges((), NoCredentials(), clock),
        queue=QueueClient(plane, None, "wrk_bugfix", clock),
        clock=clock,
        model=ModelAccess(model.url, KEY),
        watchdog=PATIENT,
        environment=toolchain.environment(),
    )


def processes_of(place: Path) -> list[int]:
    """The processes that know of this place by their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if str(place).encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found
