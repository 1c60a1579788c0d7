"""`agentvine up --servers 2`: two processes behind one address, and nobody notices when one of them is gone."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from prometheus_client.parser import text_string_to_metric_families

from agentvine.cli.context import Context, read_context
from agentvine.cli.settings import environment
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient, Call
from agentvine.kit.process import Running, run, spawn
from agentvine.testing.cast import a_task
from agentvine.testing.eventually import eventually
from agentvine.wire import routes

MANY = 64
"""Connections. That all of them come to the same one of two servers is as likely as 64 coins that fall alike."""


@dataclass(frozen=True)
class Shared:
    """What `up` started."""

    context: Context
    process: Running
    log: Path

    def servers(self) -> set[int]:
        """The servers that run now."""
        return set(self._servers())

    def _servers(self) -> Iterator[int]:
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if child.cmdline()[-2:] == ["agentvine", "server"] and child.status() != psutil.STATUS_ZOMBIE:
                    yield child.pid

    def reached(self) -> dict[int, int]:
        """How many connections each of them holds at its port."""
        port = urlsplit(self.context.url).port
        held = {}
        for pid in self.servers():
            with suppress(psutil.Error):
                connections = psutil.Process(pid).net_connections("tcp")
                held[pid] = sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in connections)
        return held


@asynccontextmanager
async def two_servers(where: Path) -> AsyncIterator[Shared]:
    around = {"PATH": environment()["PATH"], "HOME": str(where), "AGENTVINE_CONTEXT": str(where / "context.json")}
    options = ["--servers", "2", "--workers", "", "--port", "0", "--data", str(where / "data")]
    log = where / "up.log"
    argv = [sys.executable, "-m", "agentvine", "up", *options]
    async with await spawn(argv, cwd=where, env=around, output=log) as process:
        await eventually(lambda: process.exit_code is not None or (where / "context.json").exists())
        assert process.exit_code is None, log.read_text()
        context = read_context(where / "context.json")
        assert context is not None
        yield Shared(context, process, log)


async def refused(where: Path, port: int | None) -> str:
    """What another `up` says that would share the port, for a database of its own."""
    argv = [sys.executable, "-m", "agentvine", "up", "--servers", "2", "--workers", "", "--port", f"{port}"]
    around = {"PATH": environment()["PATH"], "HOME": str(where), "AGENTVINE_CONTEXT": str(where / "other.json")}
    done = await run([*argv, "--data", str(where / "other")], cwd=where, env=around, timeout=60)
    assert done.exit_code == 1, done
    return done.stderr


@asynccontextmanager
async def connections(url: str, number: int) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    address = urlsplit(url)
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(number):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            stack.callback(writer.close)
            opened.append((reader, writer))
        yield opened


async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"GET /api/v1/health HTTP/1.1\r\nHost: here\r\n\r\n")
    return b" 200 " in await reader.readline()


async def both_have_counted(api: APIClient) -> bool:
    """Whichever answers tells what both have counted, each request a moment after its answer has left."""
    exposition = (await api.send(Call(routes.METRICS, {}))).decode()
    return (
        sum(
            sample.value
            for family in text_string_to_metric_families(exposition)
            for sample in family.samples
            if sample.name == "agentvine_http_request_seconds_count" and sample.labels["route"].endswith("/health")
        )
        >= MANY
    )


async def test_two_servers_share_a_port_and_one_goes_on_without_the_other(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as shared:
        url = shared.context.url
        await eventually(lambda: len(shared.servers()) == 2)
        both = shared.servers()
        await eventually(lambda: all("serving" in log.read_text() for log in (tmp_path / "data/logs").glob("server-*")))
        async with connections(url, MANY) as opened:
            await eventually(lambda: sum(shared.reached().values()) >= MANY)
            assert all(shared.reached()[pid] for pid in both), shared.reached()
            assert all([await healthy(*connection) for connection in opened])
        async with APIClient(url, shared.context.key) as api:
            await eventually(partial(both_have_counted, api))

        assert "cannot listen" in await refused(tmp_path, urlsplit(url).port)

        gone = min(both)
        os.kill(gone, signal.SIGKILL)
        await eventually(lambda: not psutil.pid_exists(gone))
        async with connections(url, MANY) as opened:
            assert all([await healthy(*connection) for connection in opened])
        async with APIClient(url, shared.context.key) as api:
            desk = HTTPFrontDesk(api)
            task = await desk.submit(a_task())
            assert (await desk.task(task.id)).task == task

        await eventually(lambda: len(shared.servers()) == 2)
        assert max(both) in shared.servers()
        assert await shared.process.terminate(60) == 0, shared.log.read_text()
        assert not [pid for pid in both if psutil.pid_exists(pid)]
