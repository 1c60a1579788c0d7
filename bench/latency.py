"""How long an order waits for a worker that is waiting for it."""

import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

import redis.asyncio

from agentvine.broker.embedded import EmbeddedBroker
from agentvine.domain.ids import new_id
from bench.report import Figure
from bench.site import running_site
from bench.wire import Connection, to_body

_TIMES = 200
_TASK = {"type": "bugfix", "title": "bench", "repository": "https://git.example/bench.git", "branch": "main"}


async def measure() -> list[Figure]:
    """Submit to one parked worker, again and again; beside it, what a wake-up through Redis takes."""
    waits = await _waits()
    wakeups = await _wakeups()
    p99, limit99 = quantiles(waits, n=100)[98], quantiles(wakeups, n=100)[98]
    return [
        Figure("submit → claimed, idle, p50", median(waits), "ms", (), "<= 10 ms", median(wakeups), "Redis wake-up"),
        Figure("submit → claimed, idle, p99", p99, "ms", (), None, limit99, "Redis wake-up"),
    ]


async def _waits() -> list[float]:
    async with running_site() as site:
        worker = await Connection(site.host, site.port, site.keys.worker).open()
        person = await Connection(site.host, site.port, site.keys.admin).open()
        _, registered = await worker.post(
            "/api/v1/workers", to_body({"id": "wrk_b", "name": "b", "worker_type": "bugfix", "version": "0.1.0"})
        )
        worker.carry("X-Worker-Session", json.loads(registered)["session"])
        return [await _wait(worker, person) for _ in range(_TIMES)]


async def _wait(worker: Connection, person: Connection) -> float:
    ask = {"worker_id": "wrk_b", "execution_id": new_id("exe", datetime.now(UTC)), "wait_seconds": 30}
    claiming = asyncio.create_task(worker.post("/api/v1/queue/claim", to_body(ask)))
    await asyncio.sleep(0.03)  # long enough to be parked on the server
    began = time.perf_counter()
    await person.post("/api/v1/tasks", to_body(_TASK))
    status, answer = await claiming
    taken = (time.perf_counter() - began) * 1000
    if status != 200:
        raise SystemExit(f"claim: {status} {answer.decode()}")
    lease = json.loads(answer)["lease"]
    done = {
        "token": lease["token"],
        "usage": {},
        "delivery": {"kind": "push", "branch": "main", "old_sha": None, "new_sha": "a" * 40},
    }
    await worker.post(f"/api/v1/work-orders/{lease['work_order_id']}/complete", to_body(done))
    return taken


async def _wakeups() -> list[float]:
    with tempfile.TemporaryDirectory() as directory:
        async with EmbeddedBroker(Path(directory)) as broker:
            waiter = redis.asyncio.Redis.from_url(broker.url)
            pusher = redis.asyncio.Redis.from_url(broker.url)
            times = []
            for _ in range(_TIMES):
                waiting = asyncio.ensure_future(_popped(waiter))
                await asyncio.sleep(0.01)
                began = time.perf_counter()
                await pusher.rpush("queue", "order")
                await waiting
                times.append((time.perf_counter() - began) * 1000)
            await waiter.aclose()
            await pusher.aclose()
            return times


async def _popped(waiter: "redis.asyncio.Redis") -> object:
    return await waiter.blpop(["queue"], timeout=10)
