"""Puts a worker together and runs it."""

import os
import stat
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from agentvine.broker.base import Broker
from agentvine.broker.redis import RedisBroker
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.domain.ids import new_id
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.logs import HIDDEN, hide, logger
from agentvine.kit.shutdown import Shutdown
from agentvine.wire.control_plane import ControlPlane
from agentvine.worker.conclusion import Executor
from agentvine.worker.queue_client import QueueClient
from agentvine.worker.redacting import RedactingPlane, secrets_of
from agentvine.worker.settings import WorkerConfig
from agentvine.worker.worker import Refused, Worker

EXIT_OK = 0
EXIT_REFUSED = 1
EXIT_STUCK = 70  # EX_SOFTWARE of sysexits.h

_log = logger("worker")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an executor may need of the worker in which it works."""

    config: WorkerConfig
    worker_id: str
    plane: ControlPlane
    queue: QueueClient
    clock: Clock


ExecutorFactory = Callable[[Surroundings], Awaitable[Executor]]
"""Raises `ConfigurationError` if executions cannot be done here."""


async def run_worker(
    config: WorkerConfig, make_executor: ExecutorFactory, shutdown: Shutdown, clock: Clock | None = None
) -> int:
    """Run one worker until `shutdown` says so. Returns its exit code: 0 when it left as it should, 1 when the server
    refuses it. Raises `ConfigurationError` if its workspace directory or its sandbox cannot be used.

    An execution that does not end although it must would keep the process alive; it is then ended by force, and the
    guardians of its processes end them.
    """
    clock = clock or SystemClock()
    hide(*secrets_of(config))
    os.umask(0o022)  # a sandbox's own user has to read what it borrows; the directory around it is closed to others
    _make_workspace_dir(config)
    worker_id = config.worker_id or new_id("wrk", clock.now())
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(APIClient(config.api_url, config.api_key.get_secret_value(), clock=clock))
        broker: Broker | None = None
        if config.redis_url is not None:
            broker = RedisBroker(config.redis_url)
            stack.push_async_callback(broker.close)
        plane = RedactingPlane(HTTPControlPlane(api), HIDDEN)
        queue = QueueClient(plane, broker, worker_id, clock)
        executor = await make_executor(Surroundings(config, worker_id, plane, queue, clock))
        worker = Worker(config, worker_id, plane, executor, shutdown, clock, broker)
        try:
            await worker.run()
        except Refused as refusal:
            _log.error(str(refusal))
            return EXIT_REFUSED
    if worker.stuck:
        os._exit(EXIT_STUCK)
    return EXIT_OK


def _make_workspace_dir(config: WorkerConfig) -> None:
    directory = config.workspace_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(directory, os.R_OK | os.W_OK | os.X_OK)
        status = directory.stat()
    except OSError as error:
        raise ConfigurationError(f"WORKSPACE_DIR: {directory} cannot be made: {error.strerror}") from error
    if not usable:
        raise ConfigurationError(f"WORKSPACE_DIR: {directory} is not ours to write in; name another directory")
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"WORKSPACE_DIR: {directory} belongs to somebody else, or others may write in it; name another directory"
        )
