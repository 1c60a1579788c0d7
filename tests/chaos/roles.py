"""What a process of the foundry can become: the product's server, or its worker, with the real agent or a stand-in."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import uvloop

from agentvine.kit import failpoints
from agentvine.kit.clock import SystemClock
from agentvine.kit.logs import configure_logs
from agentvine.kit.shutdown import Shutdown, on_signals
from agentvine.server.main import serve
from agentvine.server.settings import ServerSettings
from agentvine.worker.executor import TaskExecutor, make_executor
from agentvine.worker.main import ExecutorFactory, Surroundings, run_worker
from agentvine.worker.sandbox.base import Box
from agentvine.worker.settings import WorkerConfig
from tests.chaos.clocks import VARIABLE, SetClock
from tests.chaos.stand_in import StandIn


def _stand_in(_: Box) -> StandIn:
    return StandIn()


async def _make_with_stand_in(around: Surroundings) -> TaskExecutor:
    executor = await make_executor(around)
    return TaskExecutor(replace(executor._shop, agent_in=_stand_in))


async def _server(settings: Mapping[str, str], shutdown: Shutdown) -> int:
    await serve(ServerSettings.load(settings), shutdown, clock=_clock(settings))
    return 0


def _clock(settings: Mapping[str, str]) -> SystemClock:
    return SetClock(Path(settings[VARIABLE])) if VARIABLE in settings else SystemClock()


def _worker(make: ExecutorFactory) -> Callable[[Mapping[str, str], Shutdown], Awaitable[int]]:
    async def run(settings: Mapping[str, str], shutdown: Shutdown) -> int:
        return await run_worker(WorkerConfig.load(settings), make, shutdown, _clock(settings))

    return run


ROLES = {"server": _server, "worker": _worker(_make_with_stand_in), "claude": _worker(make_executor)}


def play(role: str, settings: Mapping[str, str]) -> int:
    """Be it, until told to end; returns the exit code."""
    configure_logs(json=True)
    failpoints.arm(settings.get(failpoints.VARIABLE, ""))

    async def run() -> int:
        shutdown = Shutdown()
        with on_signals(shutdown):
            return await ROLES[role](settings, shutdown)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if role == "server" else None) as runner:
        return runner.run(run())
