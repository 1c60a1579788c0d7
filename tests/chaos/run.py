"""A running fleet under faults: many orders and workers, the faults of `faults.py`, an orderly end, and the checker."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from threading import Event
from urllib.parse import parse_qs, urlsplit

from agentvine.broker.base import BrokerUnavailable
from agentvine.broker.embedded import EmbeddedBroker
from agentvine.demo.scripted_model import serve as serve_model
from agentvine.domain.errors import AgentVineError
from agentvine.domain.request import RequestStatus
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import Task
from agentvine.domain.work_order import OrderStatus
from agentvine.kit.doorbell import pause
from agentvine.testing.eventually import eventually
from agentvine.testing.git_repository import git
from agentvine.testing.git_server import Fault as GitFault
from agentvine.testing.git_server import GitServer
from agentvine.testing.redis_wire import redis_command
from agentvine.wire.messages import Reply
from tests.chaos.faults import Fault, schedule
from tests.chaos.foundry import Born, Foundry
from tests.chaos.ground import Ground, Template, ground
from tests.chaos.network import Network
from tests.chaos.outcome import Plan, Result, judge, recovered
from tests.e2e.scripts import edits_readme, script

_CLAUDE = "claude"
_ITS_QUEUE = "high_priority"
_MOST_PAGES = 200
_LIVE = (OrderStatus.PENDING, OrderStatus.RUNNING, OrderStatus.WAITING)
_NOT_ITS_FAULT = frozenset({FailureReason.QUARANTINED, FailureReason.REPOSITORY_UNREACHABLE, FailureReason.WORKER_LOST})
_PLANTED = "lease.unchecked:plant"


class Chaos:
    """One run."""

    def __init__(self, plan: Plan, here: Ground, broker: EmbeddedBroker, remotes: GitServer, result: Result) -> None:
        self._plan = plan
        self._here = here
        self._broker = broker
        self._remotes = remotes
        self._result = result
        self._random = Random(plan.seed ^ 0xC0FFEE)
        self._api = Network(("127.0.0.1", here.port), plan.seed, http=True)
        self._wire = Network(broker.socket, plan.seed)
        self._workers: dict[str, Born] = {}
        self._next_failpoint: dict[str, str] = {}
        self._server_failpoint = ""
        self.deaths: list[tuple[float, str]] = []
        self._ending = False
        self._tasks: list[Task] = []
        self.model_url = ""

    @property
    def _redis(self) -> str:
        password = parse_qs(urlsplit(self._broker.url).query)["password"][0]
        return f"redis://:{password}@127.0.0.1:{self._wire.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The fleet, kept running: whatever ends is started again. At the end the workers leave, and one sweeps."""
        async with self._api, self._wire:
            async with asyncio.TaskGroup() as group:
                await self._start_server()
                keepers = [group.create_task(self._keep_server()), group.create_task(self._wake_the_frozen())]
                names = [f"w{number}" for number in range(self._plan.workers)]
                names += [_CLAUDE] if self._plan.claude else []
                keepers += [group.create_task(self._keep_worker(name)) for name in names]
                yield
                for keeper in keepers:
                    keeper.cancel()
            await self._sweep()
        self._result.statuses, self._result.network = self._api.statuses, self._api.done

    # ── what is kept running ─────────────────────────────────────────────────────────────────────────────────────

    async def _start_server(self) -> None:
        armed, self._server_failpoint = self._server_failpoint, ""
        told = ",".join(filter(None, (armed, _PLANTED if self._plan.planted else "")))
        await self._here.start_server(told, AGENTVINE_SERVER_REDIS_URL=self._redis)

    async def _keep_server(self) -> None:
        while True:
            await self._here.server.ended.wait()
            await pause(self._random.uniform(0.0, 1.0))
            await self._start_server()

    async def _keep_worker(self, name: str) -> None:
        while True:
            worker = self._workers[name] = await self._start_worker(name)
            await worker.ended.wait()
            self.deaths.append((time.time(), f"wrk_{name}"))
            await pause(self._random.uniform(0.0, 1.5))

    async def _start_worker(self, name: str) -> Born:
        more = {"REDIS_URL": self._redis}
        if name == _CLAUDE:
            more |= {"ANTHROPIC_BASE_URL": self.model_url, "QUEUE_NAMES": _ITS_QUEUE, "SANDBOX": "bubblewrap"}
            more |= {"WORKSPACE_DIR": str(self._here.where / "work-claude")}
        else:
            more |= {"QUEUE_NAMES": "default"}
        role = _CLAUDE if name == _CLAUDE else "worker"
        armed = self._next_failpoint.pop(name, "")
        url = f"http://127.0.0.1:{self._api.port}"
        return await self._here.start_worker(name, armed, role=role, url=url, **more)

    async def _wake_the_frozen(self) -> None:
        """Whoever is stopped is continued when his lease is over, or nearly, or while another does what he did."""
        seen: dict[int, tuple[float, bool]] = {}
        while True:
            for name, worker in list(self._workers.items()):
                if not worker.is_stopped():
                    seen.pop(worker.pid, None)
                    continue
                patience = self._plan.lease * self._random.choice([0.8, 1.2, 1.5, 2.5])
                seen.setdefault(worker.pid, (time.monotonic() + patience, self._random.random() < 0.6))
                until, overtaken = seen[worker.pid]
                if overtaken and time.monotonic() < until + 2 * self._plan.lease:
                    if _is_overtaken(self._here.data / "agentvine.db", f"wrk_{name}"):
                        worker.tell(signal.SIGCONT)
                elif time.monotonic() > until:
                    worker.tell(signal.SIGCONT)
            await pause(0.03)

    # ── what is done to it ───────────────────────────────────────────────────────────────────────────────────────

    async def strike(self, faults: Sequence[Fault]) -> None:
        """Let all faults happen at their times."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await pause(max(fault.at - (time.monotonic() - began), 0.0))
                self._result.faults[fault.kind] += 1
                group.create_task(self._commit(fault))

    async def _commit(self, fault: Fault) -> None:
        name = f"w{fault.worker}" if fault.worker or not self._plan.claude or fault.seconds > 1.5 else _CLAUDE
        worker = self._workers.get(name)
        kind = fault.kind
        if kind in {"kill a worker", "failpoint in a worker", "freeze before a report"} and worker is not None:
            self._next_failpoint[name] = fault.failpoint
            self._kill(worker)
        elif kind == "freeze a worker" and worker is not None:
            worker.tell(signal.SIGSTOP)
        elif kind == "drain a worker" and worker is not None:
            worker.tell(signal.SIGTERM)
        elif kind in {"kill the server", "failpoint in the server"}:
            self._server_failpoint = fault.failpoint
            self._kill(self._here.server)
        elif "broker" in kind:
            await self._to_the_broker(fault)
        elif "remote" in kind or kind == "somebody pushes":
            await self._to_the_remote(fault)
        elif kind == "database locked":
            await asyncio.to_thread(_hold_the_lock, self._here.data / "agentvine.db", fault.seconds)
        else:
            await self._to_the_network(fault)

    def _kill(self, process: Born) -> None:
        if not process.ended.is_set():
            self._result.kills += 1
            process.tell(signal.SIGKILL)

    async def _to_the_broker(self, fault: Fault) -> None:
        if fault.kind == "kill the broker":
            self._result.kills += 1
            await self._broker._end()
            await pause(fault.seconds)
            await self._broker.__aenter__()
        elif fault.kind == "flush the broker":
            with suppress(OSError, RuntimeError, BrokerUnavailable):
                await redis_command(self._broker.url, "FLUSHALL")
        elif fault.kind == "broker out of reach":
            self._wire.cut_off = True
            await self._wire.break_links()
            await pause(fault.seconds)
            self._wire.cut_off = False
        else:
            self._wire.latency = 0.5
            await pause(fault.seconds)
            self._wire.latency = 0.0

    async def _to_the_network(self, fault: Fault) -> None:
        if fault.kind == "server out of reach":
            self._api.cut_off = True
            await self._api.break_links()
            await pause(fault.seconds)
            self._api.cut_off = False
            return
        name = {"replies lost": "lose", "requests repeated": "repeat", "network slow": "latency"}[fault.kind]
        setattr(self._api, name, 0.4)
        await pause(fault.seconds)
        setattr(self._api, name, 0.0)

    async def _to_the_remote(self, fault: Fault) -> None:
        if fault.kind == "somebody pushes":
            await self._push_something()
            return
        self._remotes.fault = GitFault.BROKEN if fault.kind == "remote fails" else GitFault.CUT
        await pause(fault.seconds)
        self._remotes.fault = None

    async def _push_something(self) -> None:
        """A person's commit on main."""
        remote, name = self._here.remote, f"person-{self._random.getrandbits(32):08x}"
        tree = await git("commit-tree", "main^{tree}", "-p", "main", "-m", f"chore: {name}", cwd=remote)
        with suppress(AssertionError):  # a worker was faster
            await git("push", "--quiet", str(remote), f"{tree.strip()}:refs/heads/main", cwd=remote)

    # ── what it is given to do ───────────────────────────────────────────────────────────────────────────────────

    async def submit_until(self, end: float) -> None:
        """Keep as many orders under way as the plan says."""
        random, number = self._random, 0
        while time.monotonic() < end:
            with suppress(AgentVineError):
                if await self._under_way() < self._plan.in_flight:
                    number += 1
                    await self._submit(random, number)
                    continue
            await pause(0.2)

    async def _under_way(self) -> int:
        lines = (await self._here.desk.queue()).lines
        return sum(line.pending - line.delayed + line.running for line in lines)

    async def _submit(self, random: Random, number: int) -> None:
        here = self._here
        plan: dict[str, object] = {"seconds": random.choice([0.0, 0.5, 1.0, 2.5])}
        more: dict[str, object] = {
            "permission_level": random.choice(["autonomous", "autonomous", "supervised"]),
            "priority": random.choice([0, 0, 0, 5]),
            "repository": random.choice([str(here.remote), self._remotes.url("remote.git")]),
        }
        luck = random.random()
        if luck < 0.12:
            plan["asks"] = f"Which one of {number}?"
        elif luck < 0.17:
            plan["fails"] = True
        elif luck < 0.3:
            plan["child"] = 3000 + number
        elif luck < 0.36 and self._tasks:
            more["needs"] = [self._tasks[-1].id]
        if self._plan.claude and number % 20 == 3 and self._result.claude < _MOST_PAGES:
            more |= {**self._for_claude(), "repository": str(here.remote)}
        task = await here.submit(plan, **more)
        self._tasks.append(task)
        if luck > 0.95:
            await pause(random.uniform(0.0, 1.0))
            with suppress(AgentVineError):
                await here.desk.cancel(task.id)

    def _for_claude(self) -> dict[str, object]:
        """What makes an order one for the worker with the real CLI; each writes another page."""
        self._result.claude += 1
        return {"queue": _ITS_QUEUE, "title": _title(self._result.claude)}

    async def answer(self) -> None:
        """A person who answers what is asked, sooner or later, and requeues what was given up, until cancelled."""
        while True:
            await pause(0.5)
            with suppress(AgentVineError):
                await self._requeue_the_quarantined()
                for request in (await self._here.desk.requests(RequestStatus.OPEN)).items:
                    verdict = "answer" if request.kind == "clarification" else "approved"
                    if self._ending or self._random.random() < 0.5:
                        await self._here.desk.respond(request.id, Reply(verdict=verdict, message="The first."))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def finish(self) -> None:
        """No more faults: everything comes to its end, and one last worker sweeps."""
        self._ending = True
        self._api.calm()
        self._wire.calm()
        self._remotes.fault = None
        for process in self._workers.values():
            process.tell(signal.SIGCONT)
        try:
            await eventually(self._all_over, self._plan.patience)
        except TimeoutError:
            self._result.violations.append(f"after {self._plan.patience:g} s not everything has ended")

    async def _all_over(self) -> bool:
        with suppress(AgentVineError):
            await pause(0.5)
            orders = [order for status in _LIVE for order in (await self._here.desk.work_orders(status)).items]
            if all(order.blocked_by for order in orders):  # what they need has failed, and waits for a person as well
                for order in orders:
                    await self._here.desk.cancel_order(order.id)
                return not orders and not await self._requeue_the_quarantined()
        return False

    async def _requeue_the_quarantined(self) -> int:
        """As a person does who has seen that not the order was to blame. Returns how many there were."""
        letters = (await self._here.desk.queue()).dead_letters
        given_up = [order for order in letters if order.failure and order.failure.reason in _NOT_ITS_FAULT]
        for order in given_up:
            self._result.reasons["given up and requeued"] += 1
            await self._here.desk.requeue(order.id)
        return len(given_up)

    async def _sweep(self) -> None:
        """Every host's last execution: what killed workers left goes when the next one begins."""
        async with asyncio.TaskGroup() as leaving:
            for worker in self._workers.values():
                leaving.create_task(_leave(worker))
        for name in ("w0", *([_CLAUDE] if self._plan.claude else [])):
            more = self._for_claude() if name == _CLAUDE else {}
            last = await self._start_worker(name)
            await self._here.over(await self._here.submit({}, **more), 90)
            await last.leave()


async def _leave(worker: Born) -> None:
    """It ends, also if a failpoint that it has not come to yet stops it on the way out. Raises TimeoutError."""
    worker.tell(signal.SIGTERM)
    for _ in range(400):
        if worker.ended.is_set():
            return
        worker.tell(signal.SIGCONT)
        await pause(0.1)
    raise TimeoutError(f"{worker.log.name} does not leave")


def _is_overtaken(database: Path, worker_id: str) -> bool:
    """True while another worker runs what was taken from this one last."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        found = connection.execute(
            """SELECT 1 FROM executions e JOIN work_orders o ON o.id = e.work_order_id
               WHERE e.worker_id = ? AND e.outcome = 'lost' AND o.status = 'running'
                 AND o.lease_worker <> e.worker_id AND o.lease_token = e.lease_token + 1""",
            (worker_id,),
        ).fetchone()
    connection.close()
    return found is not None


def _title(number: int) -> str:
    return f"Write page ({number}) of Claude"


def _hold_the_lock(path: Path, seconds: float) -> None:
    """Hold the database's write lock, as another process would that has gone astray."""
    connection = sqlite3.connect(path, timeout=5, isolation_level=None)
    try:
        with suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            Event().wait(seconds)
            connection.execute("ROLLBACK")
    finally:
        connection.close()


async def run(plan: Plan, foundry: Foundry, template: Template, where: Path) -> Result:
    """One run, to its end. Its result says what was broken."""
    result, began = Result(plan), time.monotonic()
    faults = schedule(plan.seed, plan.seconds, plan.workers, plan.lease, plan.every)
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(ground(foundry, where, template, plan.lease))
        remotes = await stack.enter_async_context(GitServer(here.where))
        await git("config", "http.receivepack", "true", cwd=here.remote)
        broker = EmbeddedBroker(here.where / "broker")
        numbers = range(1, _MOST_PAGES + 2)
        pages = [edits_readme(f"c{number}", _title(number), marker=f"claude-{number}") for number in numbers]
        model = await stack.enter_async_context(serve_model(script(*pages)))
        async with broker:
            chaos = Chaos(plan, here, broker, remotes, result)
            chaos.model_url = model.url
            async with chaos.running(), asyncio.TaskGroup() as group:
                answering = group.create_task(chaos.answer())
                async with asyncio.TaskGroup() as busy:
                    busy.create_task(chaos.strike(faults))
                    busy.create_task(chaos.submit_until(time.monotonic() + plan.seconds))
                await chaos.finish()
                answering.cancel()
            await here.end()
        await judge(here, remotes, result)
        result.recovered = recovered(here.data / "agentvine.db", chaos.deaths)
    result.seconds = time.monotonic() - began
    return result
