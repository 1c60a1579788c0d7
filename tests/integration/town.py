"""A real server on a real port, a worker that does what a test says, and the CLI as a process."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from agentvine.cli.context import Context, write_context
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.evidence import Check, CheckOutcome, Evidence, RefusedCall, TestSummary
from agentvine.domain.execution import Delivery, Phase, Usage
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role, Scope
from agentvine.domain.request import RequestKind
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.process import Completed, Running, run, spawn
from agentvine.kit.shutdown import Shutdown
from agentvine.server.main import BoundServer, serve
from agentvine.server.settings import ServerSettings
from agentvine.testing.databases import sqlite_database
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from tests.integration.warm_cli import run_cli

REPOSITORY = "https://git.example/acme/shop.git"
BASE, HEAD = "a" * 40, "b" * 40
DIFF = "--- a/price.py\n+++ b/price.py\n@@ -1 +1 @@\n-old\n+new\n"
CLOCK = SystemClock()


@dataclass(slots=True)
class Town:
    """What a test works with."""

    where: Path
    url: str
    key: str = field(repr=False)
    desk: HTTPFrontDesk
    plane: HTTPControlPlane
    environment: dict[str, str]
    processes: list[Running] = field(default_factory=list)

    # ── the command line ─────────────────────────────────────────────────────────────────────────────────────────

    async def cli(self, *arguments: str, stdin: bytes | None = None, **variables: str) -> Completed:
        """`agentvine arguments…` to its end."""
        environment = {**self.environment, **variables}
        return await run_cli(arguments, cwd=self.where, env=environment, stdin=stdin, timeout=240)

    async def shell(self, script: str) -> Completed:
        """A shell command that may hold pipes; `agentvine` stands for the program."""
        program = f"{sys.executable} -m agentvine"
        script = script.replace("agentvine", program)
        return await run(["sh", "-c", script], cwd=self.where, env=self.environment, timeout=240)

    async def ok(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What a command that succeeds prints."""
        done = await self.cli(*arguments, stdin=stdin)
        assert done.exit_code == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    async def json(self, *arguments: str, stdin: bytes | None = None) -> JsonValue:
        """The document that a command prints with `--json`."""
        document: JsonValue = json.loads(await self.ok(*arguments, "--json", stdin=stdin))
        return document

    async def refused(self, *arguments: str, code: int = 1, **variables: str) -> str:
        """What a command that is refused says: to people, on the error output, in few words."""
        done = await self.cli(*arguments, stdin=None, **variables)
        assert done.exit_code == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return done.stderr

    async def background(self, *arguments: str, heard: list[str]) -> Running:
        """`agentvine arguments…` as it goes on; its lines, of both outputs, are added to `heard`."""
        argv = [sys.executable, "-m", "agentvine", *arguments]
        running = await spawn(
            argv, cwd=self.where, env=self.environment, output=lambda _, line: heard.append(line), guarded=True
        )
        self.processes.append(running)
        return running

    # ── what others did before ───────────────────────────────────────────────────────────────────────────────────

    async def submitted(self, type: str = "bugfix", title: str = "Prices lose a cent") -> str:
        """The id of a new task."""
        asked = NewTask(type=TaskType(type), title=title, repository=REPOSITORY, branch="main")
        return (await self.desk.submit(asked)).id

    # ── a worker ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def worker(self, kind: str = "bugfix") -> str:
        """A worker of this type is there."""
        worker_id = f"wrk_{kind}-1"
        registration = m.Registration(id=worker_id, name=f"{kind} one", worker_type=TaskType(kind), version="0.1.0")
        await self.plane.register(registration)
        return worker_id

    async def working(self, kind: str = "bugfix") -> m.Claimed:
        """The next order of this type, claimed and worked on."""
        ask = m.ClaimRequest(worker_id=await self.worker(kind), execution_id=new_id("exe", CLOCK.now()))
        claimed = await self.plane.claim(ask)
        assert claimed is not None, "nothing to claim"
        await self.plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
        await self.plane.phase(
            claimed.lease.execution_id,
            m.PhaseReport(token=claimed.lease.token, phase=Phase.WORKING, base_sha=BASE, usage=Usage(cost_usd=0.12)),
        )
        return claimed

    async def says(self, claimed: m.Claimed, first: int, *entries: dict[str, JsonValue]) -> None:
        """Entries of the transcript arrive."""
        batch = m.TranscriptBatch(token=claimed.lease.token, first=first, entries=entries)
        await self.plane.add_transcript(claimed.lease.execution_id, batch)

    async def result(self, claimed: m.Claimed) -> None:
        """A diff and evidence are stored."""
        execution, token = claimed.lease.execution_id, claimed.lease.token
        await self.plane.store_artifact(execution, token, "diff", DIFF.encode())
        evidence = Evidence(
            execution_id=execution,
            task_id=claimed.task.id,
            type=claimed.task.asked.type,
            made_at=CLOCK.now(),
            base_sha=BASE,
            head_sha=HEAD,
            checks=(Check(name="tests pass", outcome=CheckOutcome.PASSED, seconds=1.5),),
            tests_before=TestSummary(total=3, passed=2, failed=1, failing=("test_price",)),
            tests_after=TestSummary(total=4, passed=4),
            files_changed=1,
            lines_added=1,
            lines_removed=1,
            refused_calls=(RefusedCall(tool="Bash", subject="git push", rule="shell", count=2),),
        )
        await self.plane.add_evidence(execution, m.EvidenceReport(token=token, evidence=evidence, head_sha=HEAD))

    async def completes(self, claimed: m.Claimed) -> None:
        """The result is delivered."""
        token = claimed.lease.token
        delivery = Delivery(kind="push", branch="main", old_sha=BASE, new_sha=HEAD)
        await self.plane.deliver(claimed.order.id, m.DeliveryIntent(token=token, delivery=delivery))
        usage = Usage(input_tokens=12_000, output_tokens=900, turns=7, cost_usd=0.25)
        await self.plane.complete(
            claimed.order.id,
            m.Completion(token=token, delivery=delivery, usage=usage, summary="Prices keep their cents."),
        )

    async def fails(self, claimed: m.Claimed, detail: str = "no test fails without the change") -> None:
        """It did not work, and will not."""
        failure = Failure(reason=FailureReason.VERIFICATION_FAILED, detail=detail)
        await self.plane.fail(claimed.order.id, m.FailureReport(token=claimed.lease.token, failure=failure))

    async def parks(self, claimed: m.Claimed, kind: RequestKind, message: str) -> str:
        """It asks, and waits. Returns the request's id."""
        request = m.NewRequest(
            token=claimed.lease.token, id=new_id("req", CLOCK.now()), kind=kind, message=message, context="see evidence"
        )
        await self.plane.park(claimed.order.id, m.Parking(token=claimed.lease.token, request=request))
        return request.id


@asynccontextmanager
async def running_town(where: Path, **settings: object) -> AsyncIterator[Town]:
    """Start it, with more settings of the server, and leave nothing of it."""
    data = where / "data"
    sqlite_database(data)
    shutdown, ready = Shutdown(), asyncio.Queue[BoundServer]()
    held = {"lease_seconds": 3600.0}  # nobody renews what a test claims
    told = ServerSettings.load({}, data_dir=data, port=0, **held | settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(told, shutdown, ready.put_nowait))
        url = (await ready.get()).url
        admin = (data / "first-key").read_text().strip()
        context = where / "context.json"
        write_context(Context(url, admin, data), context)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(where),
            "LANG": "C.UTF-8",
            "AGENTVINE_CONTEXT": str(context),
        }
        async with APIClient(url, admin) as people, AsyncExitStack() as stack:
            desk = HTTPFrontDesk(people)
            worker = await desk.create_key(adm.NewKey(name="worker", scope=Scope(role=Role.WORKER)))
            api = await stack.enter_async_context(APIClient(url, worker.secret))
            town = Town(where, url, admin, desk, HTTPControlPlane(api), environment)
            try:
                yield town
            finally:
                for running in town.processes:
                    await running.kill_tree()
        shutdown.stop()
