"""How long after its death a local worker works again: killed under `agentvine up`, until it is registered anew."""

import json
import os
import signal
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.domain.worker import WorkerStatus
from agentvine.kit.doorbell import pause
from agentvine.kit.process import Running, spawn
from bench.report import Figure

_TIMES = 24
_WORKERS = 8
"""Each is killed a few times only: a worker that keeps ending is started again ever more slowly."""
_LOOK_SECONDS = 0.02
_PATIENCE = 60.0


async def measure() -> list[Figure]:
    """Kill one worker after the other."""
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as folder:
        started, url, key = await _up(Path(folder))
        try:
            async with APIClient(url, key) as api:
                taken = await _kill_and_wait(HTTPFrontDesk(api), Path(folder))
        finally:
            await started.terminate(30.0)
    return [
        Figure(f"a local worker killed → registered again, p50 of {len(taken)}", median(taken), "s", ()),
        Figure("the same, p95", quantiles(taken, n=20)[18], "s", (), "<= 5 s"),
    ]


async def _up(folder: Path) -> tuple[Running, str, str]:
    context = folder / "context.json"
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "AGENTVINE_CONTEXT": str(context),
        "SANDBOX": "none",
    }
    argv = [sys.executable, "-m", "agentvine", "up", "--data", str(folder / "data"), "--port", "0"]
    argv += ["--workers", f"docs={_WORKERS}"]
    started = await spawn(argv, cwd=folder, env=environment, guarded=True)
    began = time.monotonic()
    while not context.exists():
        if time.monotonic() - began > _PATIENCE:
            raise TimeoutError("`agentvine up` does not come up")
        await pause(_LOOK_SECONDS)
    told = json.loads(context.read_bytes())
    return started, told["url"], told["key"]


async def _kill_and_wait(desk: HTTPFrontDesk, folder: Path) -> list[float]:
    taken = []
    names = [f"docs-{number + 1}" for number in range(_WORKERS)]
    for name in names:
        await _registered(desk, f"wrk_{name}", None)
    for number in range(_TIMES):
        name = names[number % _WORKERS]
        before = (await desk.worker(f"wrk_{name}")).registered_at
        os.kill(_process_of(f"wrk_{name}"), signal.SIGKILL)
        began = time.monotonic()
        await _registered(desk, f"wrk_{name}", before)
        taken.append(time.monotonic() - began)
    return taken


async def _registered(desk: HTTPFrontDesk, worker_id: str, before: datetime | None) -> None:
    """Wait until it is there, and later than `before`."""
    began = time.monotonic()
    while time.monotonic() - began < _PATIENCE:
        there = {each.id: each for each in await desk.workers()}.get(worker_id)
        if there is not None and there.status is not WorkerStatus.OFFLINE and there.registered_at != before:
            return
        await pause(_LOOK_SECONDS)
    raise TimeoutError(f"{worker_id} is not there")


def _process_of(worker_id: str) -> int:
    """The worker's process, found by its environment."""
    wanted = f"WORKER_ID={worker_id}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            ours = wanted in (place / "environ").read_bytes().split(b"\0")
            if ours and b"worker" in (place / "cmdline").read_bytes().split(b"\0"):
                return int(place.name)
        except OSError:
            continue
    raise LookupError(f"there is no process of {worker_id}")
