"""Drains orders over HTTP as workers would, and says how fast: a process of its own, so that it has a core of its own.

    python -m bench.load HOST PORT CONNECTIONS SECONDS together|apart < {"worker_key": …}

Prints {"pairs": n, "seconds": s, "cpu_seconds": c}. A pair is one claim and one complete: `together`, as workers do, a
completion asks for the next order; `apart` each is a request of its own. `cpu_seconds` is what making the load took: on
a machine with few cores it is taken from the server, so it is kept small.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import orjson
import uvloop

from agentvine.domain.ids import new_id
from bench.wire import Connection, to_body

SHA = "a" * 40
Drain = Callable[[Connection, str, float], Coroutine[Any, Any, int]]


async def main() -> None:
    host, port, connections, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    drain: Drain = {"together": _together, "apart": _apart}[sys.argv[5]]
    key = json.load(sys.stdin)["worker_key"]
    opened = [await Connection(host, port, key).open() for _ in range(connections)]
    workers = [await _register(connection, number) for number, connection in enumerate(opened)]
    began, spent_before = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(drain(connection, worker, began + seconds))
            for connection, worker in zip(opened, workers, strict=True)
        ]
    pairs = sum(task.result() for task in tasks)
    taken = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - spent_before}
    print(json.dumps({"pairs": pairs, **taken}))
    for connection in opened:
        connection.close()


async def _register(connection: Connection, number: int) -> str:
    worker = f"wrk_bench-{number}"
    body = {"id": worker, "name": "bench", "worker_type": "bugfix", "version": "0.1.0"}
    status, answer = await connection.post("/api/v1/workers", to_body(body))
    if status >= 300:
        raise SystemExit(f"register: {status} {answer.decode()}")
    connection.carry("X-Worker-Session", orjson.loads(answer)["session"])
    return worker


async def _apart(connection: Connection, worker: str, until: float) -> int:
    pairs = 0
    while time.perf_counter() < until and (lease := await _claim(connection, worker)) is not None:
        await _complete(connection, lease, None)
        pairs += 1
    return pairs


async def _together(connection: Connection, worker: str, until: float) -> int:
    pairs, lease = 0, await _claim(connection, worker)
    while lease is not None:
        going_on = time.perf_counter() < until
        lease = await _complete(connection, lease, _ask(worker) if going_on else None)
        pairs += 1
    return pairs


def _ask(worker: str) -> dict[str, Any]:
    return {"worker_id": worker, "execution_id": new_id("exe", datetime.now(UTC)), "queue_names": ["default"]}


async def _claim(connection: Connection, worker: str) -> dict[str, Any] | None:
    """The lease of an order; None if there was none."""
    status, answer = await connection.post("/api/v1/queue/claim", to_body(_ask(worker)))
    if status not in {200, 204}:
        raise SystemExit(f"claim: {status} {answer.decode()}")
    return orjson.loads(answer)["lease"] if status == 200 else None


async def _complete(connection: Connection, lease: dict[str, Any], ask: dict[str, Any] | None) -> dict[str, Any] | None:
    """The lease of the next order, if one was asked for and there was one."""
    done = {
        "token": lease["token"],
        "usage": {"turns": 3, "cost_usd": 0.01},
        "summary": "done",
        "delivery": {"kind": "push", "branch": "main", "old_sha": None, "new_sha": SHA},
        "next": ask,
    }
    status, answer = await connection.post(f"/api/v1/work-orders/{lease['work_order_id']}/complete", to_body(done))
    if status != 200:
        raise SystemExit(f"complete: {status} {answer.decode()}")
    following = orjson.loads(answer)["next"] if ask is not None else None
    return following and following["lease"]


uvloop.run(main())
