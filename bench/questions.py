"""How long Claude stands still for a question: a worker's gate, Redis, a server as a process, and somebody who answers.

The slot is held, as it is for the first minutes. Each round asks three ways, and wakes a bare stream of the same broker
for comparison: so much of it is Redis. A rule answers in the transaction that stores the question, so that figure is
the whole way there and back. A person answers once the worker waits for it; the clock starts with the answer.
"""

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import redis.asyncio

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.broker.redis import RedisBroker
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.ids import new_id
from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.kit.clock import SystemClock
from agentvine.wire import messages as m
from agentvine.worker.agent.asking import ASK_TOOL
from agentvine.worker.agent.base import ToolCall, Verdict
from agentvine.worker.agent.tools import TypeGate
from agentvine.worker.asking import Asking
from agentvine.worker.queue_client import QueueClient
from bench.report import Figure
from bench.site import Site, running_site

_TIMES = 150
_WORKER = "wrk_b"
_RULE = """
[[rule]]
name = "settled"
reason = "bench"
decide = "answer"
text = "Round half to even."
match = { words = ["settled"] }
"""


class _Queue(QueueClient):
    """Tells what was handed over."""

    def __init__(self, plane: HTTPControlPlane, broker: RedisBroker) -> None:
        super().__init__(plane, broker, _WORKER, SystemClock())
        self.handed_over: asyncio.Queue[str] = asyncio.Queue()

    async def enqueue_worker_request(self, execution_id: str, request: m.NewRequest) -> None:
        await super().enqueue_worker_request(execution_id, request)
        self.handed_over.put_nowait(request.id)


async def measure() -> list[Figure]:
    """Ask again and again."""
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        policy = where / "policy.toml"
        policy.write_text(_RULE)
        more = {"AGENTVINE_SERVER_POLICY": str(policy), "AGENTVINE_SERVER_LEASE_SECONDS": "3600"}
        async with (
            EmbeddedBroker(where) as broker,
            running_site({**more, "AGENTVINE_SERVER_REDIS_URL": broker.url}) as site,
        ):
            return await _asked(site, broker.url)


async def _asked(site: Site, url: str) -> list[Figure]:
    broker = RedisBroker(url)
    waiter, pusher = redis.asyncio.Redis.from_url(url), redis.asyncio.Redis.from_url(url)
    wakeups, handed_over, answered, settled = [], [], [], []
    async with APIClient(f"http://{site.host}:{site.port}", site.keys.worker, patience=30) as api:
        plane = HTTPControlPlane(api)
        queue = _Queue(plane, broker)
        gate = _gate(queue, await claimed_by(site, plane), 60.0)
        for number in range(_TIMES):
            wakeups.append(await _woken(waiter, pusher, f"bench-{number}"))
            there, back = await _by_a_person(site, gate, queue, number)
            handed_over.append(there)
            answered.append(back)
            settled.append(await _by_a_rule(gate, queue, number))
    for connection in (broker, waiter, pusher):
        await (connection.close() if isinstance(connection, RedisBroker) else connection.aclose())
    peer = "Redis stream wake-up"
    return [
        *_figures("question → with the server", handed_over, wakeups, peer),
        *_figures("answer → Claude goes on, held", answered, wakeups, peer, "< 50 ms"),
        *_figures("question → a rule → Claude goes on", settled, wakeups, peer, "< 50 ms"),
        Figure(peer, median(wakeups), "ms"),
    ]


async def _by_a_person(site: Site, gate: Asking, queue: _Queue, number: int) -> tuple[float, float]:
    """Milliseconds until the server has the question, and from the answer until the gate returns."""
    began = time.perf_counter()
    asking = asyncio.create_task(gate(_call(f"Up or down, {number}?")))
    request_id = await queue.handed_over.get()
    there = (time.perf_counter() - began) * 1000
    await asyncio.sleep(0.02)  # long enough to wait on the stream
    began = time.perf_counter()
    await site.desk.respond(request_id, m.Reply(verdict="answer", message="down"))
    _must(await asking, "down")
    return there, (time.perf_counter() - began) * 1000


async def _by_a_rule(gate: Asking, queue: _Queue, number: int) -> float:
    """Milliseconds from the call until the gate returns."""
    began = time.perf_counter()
    _must(await gate(_call(f"Is this settled, {number}?")), "half to even")
    taken = (time.perf_counter() - began) * 1000
    await queue.handed_over.get()
    return taken


async def _woken(waiter: "redis.asyncio.Redis", pusher: "redis.asyncio.Redis", stream: str) -> float:
    waiting = asyncio.ensure_future(waiter.xread({stream: "0"}, block=10_000))
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    await pusher.xadd(stream, {"payload": "an answer"})
    await waiting
    return (time.perf_counter() - began) * 1000


def _gate(queue: QueueClient, claimed: m.Claimed, hold: float) -> Asking:
    return Asking(TypeGate(PROFILES[TaskType.BUGFIX], Path.cwd()), queue, claimed, hold=hold, expiry=3600.0)


async def parked_question(plane: HTTPControlPlane, claimed: m.Claimed) -> None:
    """Ask, and let the order wait."""
    gate = _gate(QueueClient(plane, None, _WORKER, SystemClock()), claimed, 0.0)
    await gate(_call("Up or down?"))
    if gate.parked is None:
        raise SystemExit("the question was answered before anybody could")
    await plane.park(claimed.order.id, m.Parking(token=claimed.lease.token, request=gate.parked))


async def claimed_by(site: Site, plane: HTTPControlPlane) -> m.Claimed:
    """An order that a worker has claimed and begun."""
    await site.submit(1)
    await plane.register(m.Registration(id=_WORKER, name="b", worker_type=TaskType.BUGFIX, version="0.1.0"))
    execution = new_id("exe", datetime.now(UTC))
    claimed = await plane.claim(m.ClaimRequest(worker_id=_WORKER, execution_id=execution))
    if claimed is None:
        raise SystemExit("there is nothing to claim")
    await plane.start(claimed.order.id, m.Held(token=claimed.lease.token))
    return claimed


def _call(question: str) -> ToolCall:
    return ToolCall("toolu_bench", ASK_TOOL, {"question": question, "options": ["up", "down"]})


def _must(verdict: Verdict, answer: str) -> None:
    if answer not in (verdict.answer or ""):
        raise SystemExit(f"the gate returned {verdict}")


def _figures(name: str, times: list[float], limit: list[float], peer: str, aim: str | None = None) -> list[Figure]:
    p95, limit95 = quantiles(times, n=20)[18], quantiles(limit, n=20)[18]
    return [
        Figure(f"{name}, p50", median(times), "ms", (), aim, median(limit), peer),
        Figure(f"{name}, p95", p95, "ms", (), None, limit95, peer),
    ]
