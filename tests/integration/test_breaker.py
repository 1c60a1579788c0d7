"""A worker whose surroundings are broken leaves the fleet alone until they are mended; no order pays for that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker import Worker, WorkerStatus
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.eventually import eventually
from agentvine.testing.stage import PuppetExecutor, Stage, made, stage
from agentvine.worker.agent.base import ModelAccess
from agentvine.worker.breaker import SUSPECT
from agentvine.worker.conclusion import Failed
from agentvine.worker.examination import disk_full, examine, model_refuses
from agentvine.worker.main import EXIT_OK, run_worker
from agentvine.worker.settings import SandboxKind, SandboxSettings, WorkerConfig
from agentvine.worker.toolchain import Toolchain


class Fragile(PuppetExecutor):
    """A puppet whose surroundings a test breaks and mends."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: str | None = None
        self.looks = 0

    async def examine(self) -> str | None:
        self.looks += 1
        return self.broken


@asynccontextmanager
async def a_worker(there: Stage, folder: Path, name: str) -> AsyncIterator[Fragile]:
    executor, shutdown = Fragile(), Shutdown()
    config = WorkerConfig.load(
        {},
        worker_id=f"wrk_{name}",
        worker_name=name,
        worker_type="bugfix",
        api_url=there.proxy.url,
        api_key=there.worker_key,
        workspace_dir=folder / name,
        heartbeat_interval=0.2,
        poll_interval=0.5,
    )
    running = asyncio.create_task(run_worker(config, made(executor), shutdown))
    try:
        yield executor
    finally:
        shutdown.stop()
        assert await running == EXIT_OK


async def test_a_broken_worker_gives_its_order_to_another_and_comes_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as there, a_worker(there, tmp_path, "one") as one:
        first = await there.submit()
        stay = await one.stay()
        one.broken = "model_auth_failed: the model answers 401"
        stay.conclude(Failed(Failure(reason=FailureReason.MODEL_AUTH_FAILED, detail="invalid x-api-key")))
        said = await _in(there, "wrk_one", WorkerStatus.ERROR)
        assert "invalid x-api-key" in (said.note or "") or "answers 401" in (said.note or "")
        order = await there.until(first, OrderStatus.PENDING)
        assert (order.charged, order.not_before) == (0, None)
        async with a_worker(there, tmp_path, "two") as two:
            (await two.stay()).conclude()
            assert (await there.until(first, OrderStatus.COMPLETED)).attempts == 2
        looks = one.looks
        second = await there.submit()
        await eventually(lambda: one.looks > looks)
        assert (await there.order(second)).status is OrderStatus.PENDING
        assert len(one.stays) == 1
        one.broken = None
        (await one.stay(1)).conclude()
        await there.until(second, OrderStatus.COMPLETED)
        assert not (await _in(there, "wrk_one", WorkerStatus.IDLE)).note


async def _in(there: Stage, worker_id: str, status: WorkerStatus) -> Worker:
    async def look() -> Worker | None:
        worker = await there.desk.worker(worker_id)
        return worker if worker.status is status else None

    found = await eventually(look)
    assert found is not None
    return found


@pytest.mark.parametrize("broken", ["sandbox: no bwrap", None])
async def test_before_an_order_is_blamed_the_surroundings_are_looked_at(tmp_path: Path, broken: str | None) -> None:
    async with stage(tmp_path) as there, a_worker(there, tmp_path, "one") as one:
        task = await there.submit(max_attempts=1)
        stay = await one.stay()
        one.broken = broken
        assert FailureReason.AGENT_CRASHED in SUSPECT
        stay.conclude(Failed(Failure(reason=FailureReason.AGENT_CRASHED, detail="exit code 1")))
        if broken is None:
            order = await there.until(task, OrderStatus.FAILED)
            assert order.charged == 1
        else:
            assert (await _in(there, "wrk_one", WorkerStatus.ERROR)).note == f"working: {broken}"
            assert (await there.until(task, OrderStatus.PENDING)).charged == 0


async def test_it_leaves_at_once_while_it_is_broken(tmp_path: Path) -> None:
    async with stage(tmp_path) as there:
        async with a_worker(there, tmp_path, "one") as one:
            await there.submit()
            one.broken = "disk_full"
            (await one.stay()).conclude(Failed(Failure(reason=FailureReason.DISK_FULL, detail="no space")))
            await _in(there, "wrk_one", WorkerStatus.ERROR)
        assert (await there.desk.worker("wrk_one")).status is WorkerStatus.OFFLINE


async def test_what_executions_need_is_looked_at_for_real(tmp_path: Path) -> None:
    toolchain, sandbox = Toolchain.of_this_worker(None), SandboxSettings.load({})
    assert await examine(tmp_path, ModelAccess(None, None), sandbox, toolchain) is None
    lacking = SandboxSettings.load({}, sandbox=SandboxKind.BUBBLEWRAP, sandbox_program=tmp_path / "bwrap")
    assert "sandbox" in (await examine(tmp_path, ModelAccess(None, None), lacking, toolchain) or "")
    assert "disk_full" in (disk_full(tmp_path / "nowhere") or "")
    async with answering({"good": 200, "bad": 401, "no": 403, "odd": 500}) as url:
        found = {key: await model_refuses(ModelAccess(url, key)) for key in ("good", "bad", "no", "odd")}
    assert {key for key, why in found.items() if why} == {"bad", "no"}
    assert await model_refuses(ModelAccess(url, "bad")) is None  # nobody answers any more


@asynccontextmanager
async def answering(statuses: dict[str, int]) -> AsyncIterator[str]:
    """A model's side that answers each key with a status."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        key = head.partition("x-api-key: ")[2].partition("\r\n")[0]
        writer.write(f"HTTP/1.1 {statuses[key]} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
