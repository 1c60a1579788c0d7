"""The fleet of a run: servers and workers that are started again when they end, behind a network that can break."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from urllib.parse import parse_qs, urlsplit

import psycopg

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.kit.doorbell import pause
from agentvine.testing.git_server import GitServer
from tests.chaos.clocks import VARIABLE, set_ahead
from tests.chaos.faults import CLOCKS
from tests.chaos.foundry import Born
from tests.chaos.ground import Ground
from tests.chaos.ledger import Ledger
from tests.chaos.network import Network
from tests.chaos.outcome import Plan, Result

CLAUDE = "claude"
CLAUDES_QUEUE = "high_priority"
_PLANTED = "lease.unchecked:plant"


class Fleet:
    """What runs, and where it can be hit."""

    def __init__(self, plan: Plan, here: Ground, broker: EmbeddedBroker, remotes: GitServer, result: Result) -> None:
        self.plan = plan
        self.here = here
        self.broker = broker
        self.remotes = remotes
        self.result = result
        self.api = Network(("127.0.0.1", here.port), plan.seed, http=True)
        self.wire = Network(broker.socket, plan.seed)
        self.workers: dict[str, Born] = {}
        self.next_failpoint: dict[str, str] = {}
        self.server_failpoints: dict[int, str] = {}
        self.deaths: list[tuple[float, str]] = []
        self.model_url = ""
        self.elsewhere = ""
        """Where another server has the same repositories."""
        self.clocks = {kind: here.where / f"{kind.split()[0]}.clock" for kind in CLOCKS}
        """The files of the clocks that can be set wrong."""
        self.wrong = 0
        """How many of them are."""
        self.asleep: set[int] = set()
        """Workers whose machine is suspended: nobody continues one of them alone."""
        self._random = Random(plan.seed ^ 0xC0FFEE)

    @property
    def _redis(self) -> str:
        password = parse_qs(urlsplit(self.broker.url).query)["password"][0]
        return f"redis://:{password}@127.0.0.1:{self.wire.port}"

    @property
    def names(self) -> list[str]:
        """Of the workers."""
        return [f"w{number}" for number in range(self.plan.workers)] + ([CLAUDE] if self.plan.claude else [])

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """The network between them is there."""
        for clock in self.clocks.values():
            set_ahead(clock, 0.0)
        async with self.api, self.wire:
            yield
        self.result.statuses, self.result.network = self.api.statuses, self.api.done + self.wire.done

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Kept running: whatever ends is started again. At the end the workers are told to leave."""
        async with asyncio.TaskGroup() as group:
            numbers = range(self.plan.servers)
            for number in numbers:
                await self._start_server(number)
            keepers = [group.create_task(self._keep_server(number)) for number in numbers]
            keepers += [group.create_task(self._wake_the_frozen())]
            keepers += [group.create_task(self._keep_worker(name)) for name in self.names]
            yield
            for keeper in keepers:
                keeper.cancel()
        async with asyncio.TaskGroup() as leaving:
            for worker in self.workers.values():
                leaving.create_task(_leave(worker))

    def calm(self) -> None:
        """Nothing is broken any more, and nobody frozen."""
        self.api.calm()
        self.wire.calm()
        self.remotes.fault, self.remotes.redirect = None, None
        if self.here.forge is not None:
            self.here.forge.forge.faults = {}
        for process in (*self.workers.values(), *self.here.servers.values()):
            process.tell(signal.SIGCONT)

    def kill(self, process: Born) -> None:
        """As `kill -9`."""
        if not process.ended.is_set():
            self.result.kills += 1
            process.tell(signal.SIGKILL)

    async def _start_server(self, number: int) -> None:
        armed = self.server_failpoints.pop(number, "")
        told = ",".join(filter(None, (armed, _PLANTED if self.plan.planted else "")))
        clock = str(self.clocks["server's clock is set"])
        more = {"AGENTVINE_SERVER_REDIS_URL": self._redis, VARIABLE: clock}
        if self.plan.servers > 1:
            more["AGENTVINE_SERVER_SHARE_PORT"] = "true"
        await self.here.start_server(told, number=number, **more)

    async def _keep_server(self, number: int) -> None:
        while True:
            await self.here.servers[number].ended.wait()
            await pause(self._random.uniform(0.0, 1.0))
            await self._start_server(number)

    async def _keep_worker(self, name: str) -> None:
        while True:
            worker = self.workers[name] = await self.start_worker(name)
            await worker.ended.wait()
            if not self.wrong:
                self.deaths.append((time.time(), f"wrk_{name}"))
            await pause(self._random.uniform(0.0, 1.5))

    async def start_worker(self, name: str) -> Born:
        """With the failpoint that is next for it, if any is."""
        more = {"REDIS_URL": self._redis, VARIABLE: str(self.clocks["workers' clock is set"])}
        if name == CLAUDE:
            more |= {"ANTHROPIC_BASE_URL": self.model_url, "QUEUE_NAMES": CLAUDES_QUEUE, "SANDBOX": "bubblewrap"}
            more |= {"WORKSPACE_DIR": str(self.here.where / "work-claude")}
        else:
            more |= {"QUEUE_NAMES": "default"}
        role = CLAUDE if name == CLAUDE else "worker"
        armed = self.next_failpoint.pop(name, "")
        url = f"http://127.0.0.1:{self.api.port}"
        return await self.here.start_worker(name, armed, role=role, url=url, **more)

    async def _wake_the_frozen(self) -> None:
        """Whoever is stopped is continued when his lease is over, or nearly, or while another does what he did."""
        seen: dict[int, tuple[float, bool]] = {}
        while True:
            for name, worker in list(self.workers.items()):
                if worker.pid in self.asleep or not worker.is_stopped():
                    seen.pop(worker.pid, None)
                    continue
                patience = self.plan.lease * self._random.choice([0.8, 1.2, 1.5, 2.5])
                seen.setdefault(worker.pid, (time.monotonic() + patience, self._random.random() < 0.6))
                until, overtaken = seen[worker.pid]
                if overtaken and time.monotonic() < until + 2 * self.plan.lease:
                    if _is_overtaken(self.here.ledger, f"wrk_{name}"):
                        worker.tell(signal.SIGCONT)
                elif time.monotonic() > until:
                    worker.tell(signal.SIGCONT)
            await pause(0.03)


async def _leave(worker: Born) -> None:
    """It ends, also if a failpoint that it has not come to yet stops it on the way out. Raises TimeoutError."""
    worker.tell(signal.SIGTERM)
    for _ in range(400):
        if worker.ended.is_set():
            return
        worker.tell(signal.SIGCONT)
        await pause(0.1)
    raise TimeoutError(f"{worker.log.name} does not leave")


def _is_overtaken(ledger: Ledger, worker_id: str) -> bool:
    """True while another worker runs what was taken from this one last."""
    try:
        found = ledger.rows(
            """SELECT 1 AS found FROM executions e JOIN work_orders o ON o.id = e.work_order_id
               WHERE e.worker_id = :worker AND e.outcome = 'lost' AND o.status = 'running'
                 AND o.lease_worker <> e.worker_id AND o.lease_token = e.lease_token + 1""",
            worker=worker_id,
        )
    except psycopg.OperationalError:  # it is down at the moment, by another fault
        return False
    return bool(found)
