"""The ground of a run: a server, or several, with their data, bare repositories, and as many workers as one likes, all
of them processes that may be killed."""

import asyncio
import itertools
import json
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.domain.key import Role, Scope
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import NewTask, Task
from agentvine.domain.work_order import TERMINAL
from agentvine.kit.failpoints import VARIABLE
from agentvine.testing.eventually import eventually
from agentvine.testing.forges.hosted import Hosted, hosted
from agentvine.testing.forges.world import SECRET
from agentvine.testing.git_repository import GitRepository
from agentvine.testing.http import FIRST_KEY
from agentvine.wire.administration import NewKey
from agentvine.wire.messages import TaskDetail
from tests.chaos.disks import disks
from tests.chaos.foundry import Born, Foundry
from tests.chaos.history import PullSeen, Scene
from tests.chaos.ledger import Ledger
from tests.chaos.postgresql import Postgresql
from tests.chaos.stand_in import PLAN

LEASE = 3.0
MODEL_KEY = "sk-ant-this-key-must-never-be-seen-anywhere"
_FILES = {"README.md": "# Chaos\n", "docs/index.md": "# Index\n"}
DATABASE = "AGENTVINE_SERVER_DATABASE_URL"
_names = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Template:
    """What every ground begins with: a server's data with its keys, and a repository."""

    data: Path
    remote: Path
    worker_key: str = field(repr=False)
    databases: Postgresql | None = None
    """Where the databases are, if not files."""


async def make_template(foundry: Foundry, where: Path, databases: Postgresql | None = None) -> Template:
    """Made once; a ground is a copy of it."""
    repository = await GitRepository.create(where / "tree", _FILES)
    remote = await repository.bare_copy(where / "remote.git")
    port = free_port()
    more = {} if databases is None else {DATABASE: databases.template()}
    settings = server_settings(where / "data", port, LEASE, **more)
    server = await foundry.start("server", settings, where / "server.log")
    async with APIClient(f"http://127.0.0.1:{port}", FIRST_KEY, patience=30) as api:
        key = await HTTPFrontDesk(api).create_key(NewKey(name="workers", scope=Scope(role=Role.WORKER)))
    await server.leave()
    return Template(where / "data", remote, key.secret, databases)


def server_settings(data: Path, port: int, lease: float, failpoints: str = "", **more: str) -> dict[str, str]:
    return {
        "AGENTVINE_SERVER_DATA_DIR": str(data),
        "AGENTVINE_SERVER_PORT": str(port),
        "AGENTVINE_SERVER_FIRST_KEY": FIRST_KEY,
        "AGENTVINE_SERVER_LEASE_SECONDS": f"{lease:g}",
        "AGENTVINE_SERVER_CLAIM_ACK_SECONDS": f"{lease * 2 / 3:g}",
        "AGENTVINE_SERVER_REAPER_INTERVAL": "0.2",
        VARIABLE: failpoints,
        **more,
    }


def free_port() -> int:
    """A loopback port that nobody listens on; not one of those that the kernel hands out by itself in a moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Ground:
    """Made by `ground`."""

    def __init__(self, foundry: Foundry, where: Path, template: Template, lease: float) -> None:
        self.where = where
        self.lease = lease
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.remote = where / "remote.git"
        self.desk: HTTPFrontDesk
        self.servers: dict[int, Born] = {}
        self.workers: list[Born] = []
        self.accepted: list[str] = []
        self.forgiven: Counter[str] = Counter()
        """How often an order was requeued that had been given up."""
        self.databases = template.databases
        self.disks = (self.data, self.work)
        """Directories that may be on small disks of their own."""
        self.forge: Hosted | None = None
        """Where the repository is as well, if the ground has one."""
        self.ledger: Ledger
        self._foundry = foundry
        self._template = template

    @property
    def data(self) -> Path:
        return self.where / "data"

    @property
    def work(self) -> Path:
        """Where all workers of this ground have their workspaces, as those of one host have."""
        return self.where / "work"

    @property
    def server(self) -> Born:
        """The only one, or the first of several."""
        return self.servers[0]

    async def start_server(self, failpoints: str = "", *, number: int = 0, **more: str) -> Born:
        """Start a server, again with all that it knew; what it says follows what it said before."""
        if self.ledger.file is None:
            more[DATABASE] = self.ledger.url
        settings = server_settings(self.data, self.port, self.lease, failpoints, **more)
        self.servers[number] = await self._foundry.start("server", settings, self.where / f"server{number or ''}.log")
        return self.servers[number]

    async def start_worker(
        self, name: str = "", failpoints: str = "", *, role: str = "worker", url: str | None = None, **more: str
    ) -> Born:
        """Start a worker; one with a name has an identity that outlives its process."""
        called = name or f"w{next(_names)}"
        settings = {
            "WORKER_NAME": called,
            "WORKER_ID": f"wrk_{called}",
            "WORKER_TYPE": "docs",
            "API_URL": url or self.url,
            "API_KEY": self._template.worker_key,
            "WORKSPACE_DIR": str(self.work),
            "SANDBOX": "none",
            "MAX_CONCURRENT_TASKS": "1",
            "POLL_INTERVAL": "5",
            "HEARTBEAT_INTERVAL": "2",
            "GRACE_SECONDS": "0",
            "REQUEST_HOLD": "0.2",
            "ANTHROPIC_API_KEY": MODEL_KEY,
            VARIABLE: failpoints,
            **self._on_the_forge(),
            **more,
        }
        worker = await self._foundry.start(role, settings, self.where / f"{called}.log")
        self.workers.append(worker)
        return worker

    def _on_the_forge(self) -> dict[str, str]:
        if self.forge is None:
            return {}
        return {"FORGES": str(self.where / "forges.toml"), "GIT_CREDENTIAL_COMMAND": f"cat {self.where / 'token'}"}

    async def host(self, stack: AsyncExitStack) -> Hosted:
        """Put the repository on a forge as well, for the workers that are started from now on."""
        self.forge = await stack.enter_async_context(hosted(self.where / "served", self.remote))
        (self.where / "forges.toml").write_text(self.forge.file())
        (self.where / "token").write_text(SECRET)
        return self.forge

    async def submit(self, plan: Mapping[str, object], **more: object) -> Task:
        """A task with a plan; whatever happens to the answer, it is accepted once."""
        number = next(_names)
        told = {"page": f"docs/page-{number}.md", **plan}
        asked: dict[str, object] = {
            "type": "docs",
            "title": f"Write page {number}",
            "description": f"{PLAN}{json.dumps(told)}\n",
            "repository": str(self.remote),
            "branch": "main",
            "max_attempts": 10,
            **more,
        }
        task = await self.desk.submit(NewTask.model_validate(asked), idempotency_key=f"chaos-{number}")
        self.accepted.append(task.id)
        return task

    async def over(self, task: Task, within: float = 120.0) -> TaskDetail:
        """The task, once it has ended."""

        async def look() -> TaskDetail | None:
            detail = await self.desk.task(task.id)
            return detail if detail.order.status in TERMINAL and not await self.requeued(detail) else None

        found = await eventually(look, within)
        assert found is not None
        return found

    async def requeued(self, detail: TaskDetail) -> bool:
        """What a person does who knows that the machine was busy: workers with leases of seconds lose them then, and
        an order that loses three of them is given up. Three times at most, lest that hides an order that is to blame.
        """
        failure = detail.order.failure
        if failure is None or failure.reason is not FailureReason.QUARANTINED or self.forgiven[detail.order.id] >= 3:
            return False
        self.forgiven[detail.order.id] += 1
        await self.desk.requeue(detail.order.id)
        return True

    async def end(self) -> None:
        """Everything ends: politely first."""
        async with asyncio.TaskGroup() as leaving:
            for worker in self.workers:
                leaving.create_task(_end(worker))
        for server in self.servers.values():
            await _end(server)

    def scene(self, **more: object) -> Scene:
        """What is left, for the checker."""
        scene = Scene(
            ledger=self.ledger,
            remotes={str(self.remote): self.remote},
            accepted=tuple(self.accepted),
            marks=(str(self.where),),
            workspaces=(self.work,),
            logs=tuple(self.where.glob("*.log")),
            secrets=(FIRST_KEY, self._template.worker_key, MODEL_KEY),
            mounts=tuple(map(str, self.disks)),
        )
        if (there := self.forge) is not None:
            pulls = tuple(PullSeen(one.number, one.branch, one.body, one.state) for one in there.forge.world.pulls)
            remotes = {**scene.remotes, there.url: self.remote}
            scene = scene.but(remotes=remotes, pulls={there.url: pulls}, secrets=(*scene.secrets, SECRET))
        return scene.but(**more)


async def _end(process: Born) -> None:
    try:
        await process.leave(20)
    except TimeoutError:
        await process.die()


@asynccontextmanager
async def ground(
    foundry: Foundry,
    where: Path,
    template: Template,
    lease: float = LEASE,
    *,
    forge: bool = False,
    small_disks: bool = False,
) -> AsyncIterator[Ground]:
    """A ground whose server is not started yet, with its repository on a `forge` or not, its directories on
    `small_disks` or not. At the end nothing of it runs."""
    where.mkdir(parents=True)
    here = Ground(foundry, where, template, lease)
    async with AsyncExitStack() as stack:
        if small_disks:
            await stack.enter_async_context(disks(here.disks))
        shutil.copytree(template.data, here.data, dirs_exist_ok=True)
        shutil.copytree(template.remote, here.remote)
        own_database = template.databases.copy() if template.databases else f"sqlite:///{here.data / 'agentvine.db'}"
        here.ledger = Ledger(own_database)
        if forge:
            await here.host(stack)
        here.desk = HTTPFrontDesk(await stack.enter_async_context(APIClient(here.url, FIRST_KEY, patience=40)))
        try:
            yield here
        finally:
            for process in [*here.workers, *here.servers.values()]:
                await process.die()
            if small_disks:  # they go, and what was on them stays for whoever wants to look
                shutil.copytree(here.data, where / "data-kept")
