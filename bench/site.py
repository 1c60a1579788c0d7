"""A server to measure: a process of its own, SQLite on disk, keys, events and authentication on."""

import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.domain.task import NewTask
from agentvine.kit.process import spawn
from agentvine.up import Keys, database_url, machine_keys
from agentvine.wire.messages import NamedTask, TaskBatch

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Site:
    """A server that runs."""

    host: str
    port: int
    keys: Keys
    data: Path
    desk: HTTPFrontDesk

    async def submit(self, count: int) -> None:
        """Queue so many orders."""
        task = NewTask.model_validate(
            {"type": "bugfix", "title": "bench", "repository": "https://git.example/bench.git", "branch": "main"}
        )
        for start in range(0, count, _BATCH):
            names = [f"task {number}" for number in range(start, min(start + _BATCH, count))]
            await self.desk.submit_all(TaskBatch(tasks=tuple(NamedTask(name=name, task=task) for name in names)))


@asynccontextmanager
async def running_site(more: Mapping[str, str] | None = None) -> AsyncIterator[Site]:
    """Start one in a temporary directory, with `more` variables; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as directory, socket.socket() as listener:
        data = Path(directory)
        keys = await machine_keys(data)
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        host, port = listener.getsockname()
        environment = {
            "PATH": os.environ["PATH"],
            "AGENTVINE_SERVER_DATABASE_URL": database_url(data),
            "AGENTVINE_SERVER_DATA_DIR": directory,
            "AGENTVINE_SERVER_LISTEN_FD": str(listener.fileno()),
            "AGENTVINE_SERVER_REPOSITORY_CONCURRENCY": "10000",
            **(more or {}),
        }
        argv = [sys.executable, "-m", "agentvine", "server"]
        server = await spawn(argv, cwd=data, env=environment, output=data / "server.log", pass_fds=(listener.fileno(),))
        try:
            async with APIClient(f"http://{host}:{port}", keys.admin, patience=30) as api:
                desk = HTTPFrontDesk(api)
                await desk.health()
                yield Site(host, port, keys, data, desk)
        finally:
            await server.terminate(10)
