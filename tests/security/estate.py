"""Whole executions in hostile surroundings: a real server, real workers of it in this process, the real Claude Code."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.demo.script import Script
from agentvine.demo.scripted_model import RunningModel, serve
from agentvine.domain.errors import NotFound
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.domain.task import Task
from agentvine.domain.work_order import TERMINAL, WorkOrder
from agentvine.kit.process import run
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.eventually import eventually
from agentvine.testing.git_repository import ENV, GitRepository, git
from agentvine.testing.stage import Stage, stage
from agentvine.worker.executor import make_executor
from agentvine.worker.main import EXIT_OK, run_worker
from agentvine.worker.settings import WorkerConfig
from tests.security.cases import DELIVERED, Case
from tests.security.territory import CANARIES, Territory, filled, territory

LONGEST = 240.0
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "": {"max_repairs": 0},
    "small": {
        "max_repairs": 0,
        "memory_limit_mb": 900,
        "process_limit": 500,
        "disk_limit_mb": 60,
        "file_count_limit": 3000,
        "file_size_limit_mb": 50,
        "test_timeout": 60,
    },
    "repairing": {"max_repairs": 1},
    "proxied": {"max_repairs": 0, "allowed_hosts": "127.0.0.1:@LISTED@"},
    "unconfined": {"max_repairs": 0, "sandbox": "none"},
}
"""The worker's settings, by the name that a case uses."""
_POLICY = """
[[rule]]
name = "nobody"
reason = "nobody agrees to anything here"
decide = "deny"
match = { tools = ["*"] }
"""
"""What is sensitive is asked about: the policy of this server answers at once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case."""

    order: WorkOrder
    execution: Execution
    evidence: Evidence | None
    transcript: str
    remote: Path
    before: str
    """The head of the remote's branch before."""

    @property
    def ended(self) -> str:
        failure = self.order.failure
        return DELIVERED if failure is None else failure.reason.value

    async def delivered(self, path: str) -> str | None:
        """The content of a file of the branch; None if it has none of this name."""
        with contextlib.suppress(AssertionError):
            return await git("show", f"main:{path}", cwd=self.remote)
        return None


@dataclass(slots=True)
class Estate:
    """Made by `estate`."""

    here: Territory
    stage: Stage
    model: RunningModel
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def run(self, case: Case) -> Outcome:
        """Poison a repository, submit the task, let a worker have it, wait for its end."""
        remote = await self._repository(case)
        before = (await git("rev-parse", "main", cwd=remote)).strip()
        task = await self._submit(case, remote)
        async with self._worker(case) as worker:
            order = await self._ended(task, worker)
        execution = (await self.stage.desk.task(task.id)).executions[-1]
        evidence = None
        with contextlib.suppress(NotFound):
            evidence = await self.stage.desk.evidence(execution.id)
        page = await self.stage.desk.transcript(execution.id)
        return Outcome(order, execution, evidence, page.model_dump_json(), remote, before)

    async def _repository(self, case: Case) -> Path:
        folder = self.here.root / "repositories" / str(next(self._numbers))
        repository = await GitRepository.create(folder, case.all_files(self.here.facts))
        if case.built:
            script = filled(case.built, self.here.facts)
            done = await run(["sh", "-e", "-c", script], cwd=folder, env=ENV, timeout=240)
            assert done.exit_code == 0, done
        return await repository.bare_copy(folder.with_suffix(".git"))

    async def _submit(self, case: Case, remote: Path) -> Task:
        return await self.stage.submit(
            type=case.type,
            title=filled(case.title, self.here.facts),
            description=f"{filled(case.description, self.here.facts)}\n{case.mark}",
            repository=str(remote),
            max_attempts=1,
            **case.more,
        )

    @asynccontextmanager
    async def _worker(self, case: Case) -> AsyncIterator[asyncio.Task[int]]:
        """A worker of the case's type. It must leave as it should, whatever it had to work on."""
        shutdown = Shutdown()
        values = {
            "worker_name": "one",
            "worker_id": "wrk_one",
            "worker_type": case.type,
            "api_url": self.stage.proxy.url,
            "api_key": self.stage.worker_key,
            "workspace_dir": self.here.work,
            "poll_interval": 5.0,
            "anthropic_base_url": self.model.url,
            "anthropic_api_key": CANARIES["model key"],
            "agent_exit_timeout": 30.0,
            "task_timeout": 200,
            **{name: self._filled(value) for name, value in SETTINGS[case.settings].items()},
        }
        config = WorkerConfig.model_validate(values)
        worker = asyncio.create_task(run_worker(config, make_executor, shutdown))
        try:
            yield worker
        finally:
            shutdown.stop()
            await asyncio.wait({worker}, timeout=240)
        assert worker.result() == EXIT_OK

    def _filled(self, value: object) -> object:
        return filled(value, self.here.facts) if isinstance(value, str) else value

    async def _ended(self, task: Task, worker: asyncio.Task[int]) -> WorkOrder:
        async def look() -> WorkOrder | None:
            if worker.done():
                worker.result()
            order = await self.stage.desk.work_order(task.work_order_id)
            return order if order.status in TERMINAL else None

        found = await eventually(look, LONGEST)
        assert found is not None
        return found

    # ── what must not have happened ─────────────────────────────────────────────────────────────────────────────

    async def harm(self, outcome: Outcome) -> list[str]:
        """What was stolen, reached, or left over, in sentences."""
        requests = b"\n".join(request.raw for request in self.model.model.requests)
        remote = await git("cat-file", "--batch", "--batch-all-objects", cwd=outcome.remote)
        return [
            *_found("what the model was sent", requests),
            *_found("the remote", remote.encode(errors="replace")),
            *_found("what the server keeps", _content(self.here.root / "server")),
            *self.here.contacts,
            *self._left(),
            *await self._refs(outcome),
        ]

    def _left(self) -> Iterator[str]:
        executions = self.here.work / "executions"
        if more := {path.name for path in executions.iterdir()} - {"exe_sibling"}:
            yield f"left in the worker's directory: {more}"
        known = {"executions", "mirrors", "spares", "base-results", "home", "lock"}
        if more := {path.name for path in self.here.work.iterdir()} - known:
            yield f"new in the worker's directory: {more}"
        for pid in _processes(str(executions)):
            yield f"process {pid} is left"
        for folder, groups, _ in os.walk("/sys/fs/cgroup"):  # which passes over what goes meanwhile
            if Path(folder).name.startswith(f"agentvine-{os.getpid()}-") and groups:
                yield f"control groups are left in {folder}: {groups}"

    async def _refs(self, outcome: Outcome) -> Iterator[str]:
        refs = (await git("for-each-ref", "--format=%(refname)", cwd=outcome.remote)).split()
        wrong = [] if refs == ["refs/heads/main"] else [f"the remote's refs are {refs}"]
        head = (await git("rev-parse", "main", cwd=outcome.remote)).strip()
        if (head != outcome.before) != (outcome.ended == DELIVERED):
            wrong.append(f"the branch is at {head}, the order ended as {outcome.ended}")
        base = await git("merge-base", "main", outcome.before, cwd=outcome.remote)
        if base.strip() != outcome.before:
            wrong.append("the branch does not build on what it was")
        return iter(wrong)


def _found(where: str, content: bytes) -> list[str]:
    return [f"{name} is in {where}" for name, canary in CANARIES.items() if canary.encode() in content]


def _content(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def _processes(folder: str) -> list[int]:
    """Those that stand in `folder` or see it mounted, this one apart."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                standing = str((entry / "cwd").readlink()).startswith(folder)
                if standing or folder in (entry / "mountinfo").read_text():
                    found.append(int(entry.name))
    return found


@asynccontextmanager
async def estate(root: Path, cases: Sequence[Case]) -> AsyncIterator[Estate]:
    """Everything that `cases` need, in the empty directory `root`."""
    (root / "repositories").mkdir()
    policy = root / "policy.toml"
    policy.write_text(_POLICY)
    async with territory(root) as here, stage(root, policy=policy) as there:
        other = await GitRepository.create(root / "other", {"secret.txt": CANARIES["another repository"]})
        await other.bare_copy(root / "other.git")
        script = Script(scenarios=tuple(case.scenario(here.facts) for case in cases))
        async with serve(script) as model:
            yield Estate(here, there, model)
