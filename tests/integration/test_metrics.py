"""What servers count when several of them share a folder for it, and when each counts for itself."""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from time import perf_counter

from prometheus_client.parser import text_string_to_metric_families

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.ids import new_id
from agentvine.domain.key import Role
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.kit.process import Running, run, spawn
from agentvine.server.terms import Terms
from agentvine.testing.cast import a_task, a_worker
from agentvine.testing.eventually import eventually
from agentvine.testing.http import FIRST_KEY, api, http_site, new_key
from agentvine.wire import messages as m
from agentvine.wire import routes

TASK = NewTask(type=TaskType.DOCS, title="x", repository="https://host/owner/name.git", branch="main")
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CLAIMS = "agentvine_claims_total"
REQUESTS = "agentvine_http_request_seconds_count"
SECONDS = "agentvine_http_request_seconds_sum"
WAITING = "agentvine_waiting_requests"
ORDERS = "agentvine_work_orders"
OLDEST = "agentvine_oldest_pending_seconds"
_SAYS_WHERE = "takes requests at "
Series = tuple[str, tuple[tuple[str, str], ...]]
"""A name and its labels."""


def series(name: str, **labels: str) -> Series:
    return name, tuple(sorted(labels.items()))


def samples(exposition: str) -> dict[Series, float]:
    """The figures of an exposition, each of which has to be told once; without when counting began."""
    told = defaultdict[Series, list[float]](list)
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            told[series(sample.name, **sample.labels)].append(sample.value)
    assert {len(values) for values in told.values()} == {1}
    return {name: values[0] for name, values in told.items() if not name[0].endswith("_created")}


def headers(exposition: str) -> set[str]:
    return {line for line in exposition.splitlines() if line.startswith("#") and "_created" not in line}


COUNTING = """
import json, os, sys
from agentvine.domain.retry import FailureReason
from agentvine.server.metrics import Metrics
from agentvine.wire import messages, routes

metrics = Metrics()
metrics.answered(routes.CLAIM, 0.25)
metrics.answered(routes.CLAIM, 8.0)
metrics.refused(404)
metrics.failed(FailureReason.NO_CHANGES)
metrics.claims.inc()
metrics.completions.inc()
line = {"queue": "default", "type": "docs", "pending": 3, "running": 2, "oldest_pending_seconds": 1.5}
queue = messages.QueueReport.model_validate({"lines": [line], "totals": {}})
told = [metrics.exposition(queue).decode()]
metrics.waiting.set(5)
told.append(metrics.exposition(queue).decode())
if sys.argv[1:]:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
print(json.dumps(told))
"""
QUEUE = {
    **{series(ORDERS, queue="default", type="docs", state=state): 0.0 for state in ("blocked", "delayed", "waiting")},
    series(ORDERS, queue="default", type="docs", state="pending"): 3.0,
    series(ORDERS, queue="default", type="docs", state="running"): 2.0,
    series(OLDEST, queue="default", type="docs"): 1.5,
}


async def counting(folder: Path | None, *again: str) -> tuple[str, str]:
    """What a process tells that counts a little, before and after five requests wait there."""
    variables = {FOLDER: str(folder)} if folder else {}
    done = await run([sys.executable, "-c", COUNTING, *again], cwd=None, env=variables, timeout=120)
    assert done.exit_code == 0, done.stderr
    before, after = json.loads(done.stdout.splitlines()[-1])  # after what is logged
    return before, after


def times(number: int, one: Mapping[Series, float]) -> dict[Series, float]:
    """What `number` processes that did the same tell together, of which only the last one is still there."""
    gauges = {*QUEUE, series(WAITING)}
    return {name: value if name in gauges else number * value for name, value in one.items()}


async def test_in_a_folder_processes_tell_the_same_names_and_the_sums(tmp_path: Path) -> None:
    alone, alone_waited = await counting(None)
    one, one_waited = samples(alone), samples(alone_waited)
    assert QUEUE.items() <= one.items()
    assert one[series(REQUESTS, method="POST", route=routes.CLAIM.full)] == 2
    assert (one[series(WAITING)], one_waited[series(WAITING)]) == (0, 5)

    first, first_waited = await counting(tmp_path)
    assert headers(first) == headers(alone)
    assert (samples(first), samples(first_waited)) == (one, one_waited)

    third, third_waited = await counting(tmp_path, COUNTING)  # and a second before it, whose process id it has
    assert headers(third) == headers(alone)
    assert (samples(third), samples(third_waited)) == (times(3, one), times(3, one_waited))

    whole = next(tmp_path.glob("histogram_*.db")).read_bytes()
    for name, size in (("counter_1", 0), ("gauge_livesum_1", 0), ("counter_2", 3), ("histogram_1", 64)):
        (tmp_path / f"{name}.db").write_bytes(whole[:size])  # as one that is just being made, or was cut off
    fourth, fourth_waited = await counting(tmp_path)
    assert (samples(fourth), samples(fourth_waited)) == (times(4, one), times(4, one_waited))


@dataclass(frozen=True)
class Server:
    """A server process, and clients of it."""

    process: Running
    admin: APIClient
    worker: HTTPControlPlane
    worker_id: str

    async def tells(self) -> dict[Series, float]:
        return samples((await self.admin.http.get("/metrics")).text)

    async def claim(self) -> m.Claimed:
        execution_id = new_id("exe", SystemClock().now())
        claimed = await self.worker.claim(m.ClaimRequest(worker_id=self.worker_id, execution_id=execution_id))
        assert claimed is not None
        return claimed


class Folder:
    """Servers on one database that count in one folder."""

    def __init__(self, where: Path, stack: AsyncExitStack) -> None:
        self._where = where
        self._stack = stack
        self._counted = where / "metrics"
        self._counted.mkdir()

    async def start(self, *names: str) -> list[Server]:
        """New server processes, all at once."""
        logs = [self._where / f"{name}.log" for name in names]
        processes = [await self._spawn(log) for log in logs]
        urls = [await eventually(partial(_url, log)) for log in logs]
        secret = await new_key(urls[0], Role.WORKER)
        return [await self._server(*started, secret) for started in zip(names, processes, urls, strict=True)]

    async def _spawn(self, log: Path) -> Running:
        variables = {
            "PATH": "/usr/bin:/bin",
            "AGENTVINE_SERVER_DATABASE_URL": f"sqlite:///{self._where / 'shared.db'}",
            "AGENTVINE_SERVER_DATA_DIR": str(self._where / "data"),
            "AGENTVINE_SERVER_FIRST_KEY": FIRST_KEY,
            "AGENTVINE_SERVER_PORT": "0",
            "AGENTVINE_SERVER_LEASE_SECONDS": "3600",  # nobody renews here
            "AGENTVINE_SERVER_CLAIM_ACK_SECONDS": "3600",
            FOLDER: str(self._counted),
        }
        argv = [sys.executable, "-m", "agentvine", "server"]
        return await self._stack.enter_async_context(await spawn(argv, cwd=self._where, env=variables, output=log))

    async def _server(self, name: str, process: Running, url: str, secret: str) -> Server:
        admin = await self._stack.enter_async_context(api(url))
        worker = HTTPControlPlane(await self._stack.enter_async_context(api(url, secret)))
        await worker.register(m.Registration(id=f"wrk_{name}", name=name, worker_type=TaskType.DOCS, version="1"))
        return Server(process, admin, worker, f"wrk_{name}")


def _url(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if _SAYS_WHERE in line] if log.exists() else []
    return lines[0].partition(_SAYS_WHERE)[2] if lines else ""


async def agree(servers: list[Server], facts: Mapping[Series, float]) -> None:
    """Wait until all of them tell these facts; one counts a request a moment after it has answered."""
    for server in servers:

        async def tells(server: Server = server) -> bool:
            return facts.items() <= (await server.tells()).items()

        await eventually(tells)


async def test_every_server_of_a_folder_tells_what_all_did_and_what_the_dead_did(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        folder = Folder(tmp_path, stack)
        one, other = await folder.start("one", "other")
        for server in (one, other, one, one, other, one):
            await HTTPFrontDesk(server.admin).submit(TASK)
        for server in (one, other, other):
            await server.claim()
        for server in (one, other):
            await stack.enter_async_context(server.admin.http.stream("GET", routes.EVENTS.url()))
        submissions = series(REQUESTS, method="POST", route=routes.SUBMIT.full)
        counted = {series(CLAIMS): 3.0, submissions: 6.0}
        pending = series(ORDERS, queue="default", type="docs", state="pending")
        await agree([one, other], {**counted, series(WAITING): 2.0, pending: 3.0})

        before = await other.tells()
        await one.process.kill_tree()
        await agree([other], {**counted, series(WAITING): 1.0, pending: 3.0})
        (successor,) = await folder.start("successor")
        await agree([successor, other], {**counted, series(WAITING): 1.0})
        await HTTPFrontDesk(successor.admin).submit(TASK)
        for _ in range(2):
            await successor.claim()
        await agree([successor, other], {series(CLAIMS): 5.0, submissions: 7.0, series(WAITING): 1.0, pending: 2.0})
        after = await other.tells()
        gauges = {series(WAITING)} | {name for name in before if name[0] in {ORDERS, OLDEST}}
        assert {name for name in before.keys() - gauges if after[name] < before[name]} == set()


async def test_files_of_dead_servers_do_not_pile_up(tmp_path: Path) -> None:
    dead = [tmp_path / f"counter_{2**30 + number}.db" for number in range(201)]
    for file in dead[:200]:
        file.touch()
    argv = [sys.executable, "-c", "from agentvine.server.metrics import Metrics; Metrics()"]
    for known, left in ((dead[:200], 200), (dead, 0)):
        known[-1].touch()
        done = await run(argv, cwd=tmp_path, env={FOLDER: str(tmp_path)}, timeout=60)
        assert done.exit_code == 0, done.stderr
        assert sum(file.exists() for file in dead) == left
        for file in tmp_path.glob("*.db"):  # the counting process' own, which is dead by now
            if file not in dead:
                file.unlink()


async def test_a_claim_takes_as_long_as_it_was_not_parked(sqlite_url: str, tmp_path: Path) -> None:
    rung = Terms(claim_recheck_seconds=100.0)
    async with http_site(sqlite_url, tmp_path, rung) as site, asyncio.TaskGroup() as group:
        desk, worker = await site.front_desk(), await a_worker(site)

        async def claims() -> tuple[float, float]:
            """How many there were, and how many seconds they took."""
            report = m.QueueReport.model_validate({"lines": [], "totals": {}})
            told = samples(site.services.metrics.exposition(report).decode())
            of_claims = {"method": "POST", "route": routes.CLAIM.full}
            return told[series(REQUESTS, **of_claims)], told[series(SECONDS, **of_claims)]

        # the database is slow
        goes_on = Event()
        slow = group.create_task(site.site.database.write(lambda _: goes_on.wait(60)))
        claiming = group.create_task(worker.claim())
        await eventually(lambda: len(site.services.waits) == 1)
        blocked = _some_time(0.2)  # more than after which a request's client is watched
        goes_on.set()
        assert await slow
        assert await claiming is None

        async def counted(number: int) -> bool:
            return (await claims())[0] == number

        await eventually(partial(counted, 1))
        work = (await claims())[1]
        assert work >= blocked

        # there is nothing to do
        began = perf_counter()
        claiming = group.create_task(worker.claim(wait_seconds=60))
        await eventually(lambda: site.site.bells.waiting_claims(TaskType.TEST) == 1)
        await site.site.database.write(lambda _: None)  # behind its second look
        parked = _some_time(1.0)
        await desk.submit(a_task())
        assert await claiming is not None
        await eventually(partial(counted, 2))
        took = perf_counter() - began
        assert (await claims())[1] - work <= took - parked


def _some_time(seconds: float) -> float:
    """Let some time pass, in which nothing happens here. Returns how much it was."""
    began = perf_counter()
    Event().wait(seconds)
    return perf_counter() - began
