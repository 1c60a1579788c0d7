"""`agentvine up`: server, broker and workers of one machine, as supervised processes.

It assembles and watches, and does no work itself: each part is the process that `agentvine server` or `agentvine
worker` starts anywhere else. The socket of a single server is opened here and handed down, so that callers of one that
crashed wait in the socket's queue until its successor accepts them, instead of being refused. Several servers listen
each on a socket of its own at the same port: callers of one that crashed come to the others.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from agentvine.broker.base import BrokerUnavailable
from agentvine.broker.embedded import EmbeddedBroker
from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.transport import APIClient
from agentvine.domain.errors import AgentVineError
from agentvine.domain.worker_types import WorkerType
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.file_lock import lock, open_lock
from agentvine.kit.log_files import kept_small
from agentvine.kit.logs import logger
from agentvine.kit.process import Running, spawn
from agentvine.kit.pulse import Asked
from agentvine.kit.shutdown import Shutdown
from agentvine.kit.supervision import Kept
from agentvine.server.machine import Keys, database_url, machine_keys

DEFAULT_PORT = 8420
_LONGEST_START = 30.0
_SERVER_GRACE = 10.0
_LEFT = 0
"""The exit code of a worker that was told to leave."""
_LOOK_SECONDS = 0.02
_BACKLOG = 2048
_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made there
_ROOM = 1_000_000
"""Bytes, more than one server's counts take."""
_log = logger("up")
_QUICKER = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Pydantic otherwise looks for plugins in every package that is installed; no part of AgentVine has one."""


class CannotStart(Exception):
    """The message says what to mend."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall run here."""

    data: Path
    """Where everything is kept; made with mode 0700."""
    workers: Mapping[WorkerType, int]
    """How many of each type."""
    environment: Mapping[str, str] = field(repr=False)
    """What every part is given besides its own settings: PATH, the model's address and key …"""
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any free one."""
    servers: int = 1
    """How many server processes share the port."""
    for_workers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Settings that all workers share; what each is given of its own goes before them."""
    for_server: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Settings of the server, but for those that are decided here."""
    grace: float = 300.0
    """Seconds that running tasks have to finish after the first signal."""
    silence: float = 60.0
    """Seconds after which a server that does nothing any more is replaced."""


@dataclass(frozen=True, slots=True)
class Up:
    """What runs now."""

    url: str
    key: str = field(repr=False)
    data: Path
    workers: tuple[str, ...]


_NOT_ALIKE = {"max_concurrent_tasks", "queue_names", "specializations", "tools"}
"""Settings that workers of different types hardly share."""
_OURS = {
    "host": "give --host",
    "port": "give --port",
    "data_dir": "give --data",
    "listen_fd": "leave it out",
    "pulse_fd": "leave it out",
    "share_port": "give --servers",
    "first_key": "leave it out: `agentvine up` makes keys of its own",
    "database_url": "start `agentvine server` for a database of its own",
    "redis_url": "start `agentvine server` for a broker of its own",
}
"""Settings of the server that `agentvine up` decides, and what to do instead of setting them."""


def for_workers(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of workers that stand in `environment`, but for those that each worker is given its own of."""
    from agentvine.worker.settings import WorkerConfig

    variables = {WorkerConfig.variable(name) for name in WorkerConfig.model_fields if name not in _NOT_ALIKE}
    return {name: value for name, value in environment.items() if name in variables}


def for_server(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The settings of the server that stand in `environment`; paths are meant from `directory`.

    Raises CannotStart for one that is decided here.
    """
    from agentvine.server.settings import ServerSettings

    ours = {ServerSettings.variable(name): instead for name, instead in _OURS.items()}
    if wrong := [f"{name} is not for `agentvine up`: {ours[name]}" for name in ours if environment.get(name)]:
        raise CannotStart("\n".join(wrong))
    found = {}
    for name, field_ in ServerSettings.model_fields.items():
        variable = ServerSettings.variable(name)
        if value := environment.get(variable):
            is_path = field_.annotation in {Path, Path | None}
            found[variable] = str(directory / value) if is_path else value
    return found


async def up(plan: Plan, shutdown: Shutdown, on_ready: Callable[[Up], None]) -> None:
    """Run until `shutdown` asks to end; then let workers finish, and end everything.

    `on_ready` is called when tasks are accepted. Raises CannotStart.
    """
    plan.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.enter_context(_alone(plan.data))
        await _sandbox_works(plan)
        listener = stack.enter_context(_listener(plan))
        keys = await machine_keys(plan.data)
        broker = EmbeddedBroker(plan.data / "broker")
        await stack.enter_async_context(_kept_broker(broker))
        counts = stack.enter_context(_counted_together(plan))
        parts = _Parts(plan, keys, listener, broker.url, counts)
        first, *others = [Kept(name, partial(parts.start_server, name), _SERVER_GRACE) for name in _servers(plan)]
        server = await stack.enter_async_context(first)
        await _answering(parts.url, server, parts.log(server.name))
        for other in others:  # the first has seen to the schema
            await stack.enter_async_context(other)
        workers = [
            Kept(name, parts.start_worker(kind, name), plan.grace + 15, left_with=_LEFT) for kind, name in _names(plan)
        ]
        await stack.enter_async_context(kept_small(parts.logs))
        async with _fleet(workers, shutdown):
            on_ready(Up(parts.url, keys.admin, plan.data, tuple(worker.name for worker in workers)))
            await shutdown.draining.wait()


async def _sandbox_works(plan: Plan) -> None:
    """Try the workers' sandbox out, which they would refuse to start without. Raises CannotStart."""
    from agentvine.worker.confinement import WITHOUT, sandbox_here
    from agentvine.worker.sandbox.host import SandboxUnavailable
    from agentvine.worker.settings import SandboxSettings
    from agentvine.worker.toolchain import Toolchain

    if not any(plan.workers.values()):
        return
    try:
        toolchain = Toolchain.of_this_worker(plan.for_workers.get("TOOL_PATH"))
        await sandbox_here(SandboxSettings.load(plan.for_workers), toolchain)
    except ConfigurationError as error:
        raise CannotStart(str(error)) from error
    except SandboxUnavailable as unavailable:
        raise CannotStart("\n".join([*map(str, unavailable.problems), WITHOUT])) from unavailable


class _Parts:
    """Starts each part, with the environment that it needs and no other."""

    def __init__(
        self, plan: Plan, keys: Keys, listener: socket.socket, broker_url: str, counts: Mapping[str, str]
    ) -> None:
        self.url = f"http://{_bracketed(plan.host)}:{listener.getsockname()[1]}"
        self._plan = plan
        self._keys = keys
        self._listener = listener
        self._broker_url = broker_url
        self.logs = plan.data / "logs"
        self.logs.mkdir(exist_ok=True)
        self._counts = counts

    def log(self, name: str) -> Path:
        """Where a part writes what it has to say."""
        return self.logs / f"{name}.log"

    async def start_server(self, name: str) -> Asked:
        settings = {
            "AGENTVINE_SERVER_DATABASE_URL": database_url(self._plan.data),
            "AGENTVINE_SERVER_DATA_DIR": str(self._plan.data),
            "AGENTVINE_SERVER_REDIS_URL": self._broker_url,
        }
        fds: tuple[int, ...] = ()
        if self._plan.servers == 1:
            fds = (self._listener.fileno(),)
            settings["AGENTVINE_SERVER_LISTEN_FD"] = str(fds[0])
        else:
            settings["AGENTVINE_SERVER_HOST"] = self._plan.host
            settings["AGENTVINE_SERVER_PORT"] = str(self._listener.getsockname()[1])
            settings["AGENTVINE_SERVER_SHARE_PORT"] = "true"
            settings |= self._counts
        variables = self._without_keys() | dict(self._plan.for_server) | settings

        def start(pulse: int) -> Awaitable[Running]:
            asked = {"AGENTVINE_SERVER_PULSE_FD": str(pulse)}
            return self._start(name, ("server",), variables | asked, (*fds, pulse))

        return await Asked.started(start, name, self._plan.silence)

    def start_worker(self, kind: WorkerType, name: str) -> Callable[[], Awaitable[Running]]:
        settings = {
            "WORKER_NAME": name,
            "WORKER_ID": f"wrk_{name}",
            "WORKER_TYPE": kind.value,
            "API_URL": self.url,
            "API_KEY": self._keys.worker,
            "REDIS_URL": self._broker_url,
            "GRACE_SECONDS": f"{self._plan.grace:g}",
            "WORKSPACE_DIR": str(self._plan.data / "work"),
        }
        variables = {**self._plan.environment, **self._plan.for_workers, **settings}
        return lambda: self._start(name, ("worker",), variables, ())

    def _without_keys(self) -> dict[str, str]:
        """The server speaks neither to the model nor to a repository, so it gets no key of theirs."""
        theirs = ("ANTHROPIC_", "GIT_")
        return {name: value for name, value in self._plan.environment.items() if not name.startswith(theirs)}

    async def _start(
        self, name: str, arguments: tuple[str, ...], settings: Mapping[str, str], fds: tuple[int, ...]
    ) -> Running:
        environment = {**settings, "AGENTVINE_PARENT": str(os.getpid()), **_QUICKER}
        argv = [sys.executable, "-m", "agentvine", *arguments]
        return await spawn(argv, cwd=self._plan.data, env=environment, output=self.log(name), pass_fds=fds)


class _BrokerPart:
    """The embedded broker, as something to keep."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    @property
    def exit_code(self) -> int | None:
        return None

    async def wait(self) -> int:
        return await self._broker.wait()

    async def terminate(self, grace: float) -> int:
        await self._broker.__aexit__(None, None, None)
        return 0


def _kept_broker(broker: EmbeddedBroker) -> Kept:
    async def start() -> _BrokerPart:
        try:
            await broker.__aenter__()
        except BrokerUnavailable as error:
            raise CannotStart(str(error)) from error
        return _BrokerPart(broker)

    return Kept("broker", start, 2.0)


def _servers(plan: Plan) -> Sequence[str]:
    return ["server"] if plan.servers == 1 else [f"server-{number}" for number in range(1, plan.servers + 1)]


def _names(plan: Plan) -> Iterator[tuple[WorkerType, str]]:
    for kind, count in plan.workers.items():
        for number in range(1, count + 1):
            yield kind, f"{kind}-{number}"


@asynccontextmanager
async def _fleet(workers: Sequence[Kept], shutdown: Shutdown) -> AsyncIterator[None]:
    """All workers; at the end they finish at the same time, and a second signal is passed on to them."""
    started: list[Kept] = []
    try:
        for worker in workers:
            await worker.__aenter__()
            started.append(worker)
        yield
    finally:
        hurry = asyncio.create_task(_hurry(started, shutdown))
        async with asyncio.TaskGroup() as ending:
            for worker in started:
                ending.create_task(worker.__aexit__(None, None, None))
        hurry.cancel()


async def _hurry(workers: Sequence[Kept], shutdown: Shutdown) -> None:
    await shutdown.stopping.wait()
    for worker in workers:
        if isinstance(worker.part, Running):
            worker.part.tell(signal.SIGTERM)


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Hold the data directory, so that no second `agentvine up` uses it at the same time."""
    handle = open_lock(data / "up.lock")
    try:
        if not lock(handle):
            raise CannotStart(
                f"another `agentvine up` uses {data}; stop it, or give this one a directory of its own with --data"
            )
        yield
    finally:
        os.close(handle)


@contextmanager
def _listener(plan: Plan) -> Iterator[socket.socket]:
    """The socket of the only server; of several, one that only keeps the port: to listen is theirs."""
    family = socket.AF_INET6 if ":" in plan.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener, socket.socket(family, socket.SOCK_STREAM) as keeper:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((plan.host, plan.port))
            listener.listen(_BACKLOG)  # nobody else does, not even one who would share the port
            if plan.servers > 1:
                address = listener.getsockname()
                listener.close()
                keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                keeper.bind(address)
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {plan.host} port {plan.port}: {error.strerror}; choose others with --host and --port"
            ) from error
        yield listener if plan.servers == 1 else keeper


@contextmanager
def _counted_together(plan: Plan) -> Iterator[Mapping[str, str]]:
    """What servers are told in order to count together.

    In memory: on a disk that is full, to count would end them. Where there is no room, each counts for itself.
    """
    folder = _MEMORY / f"agentvine-{sha256(bytes(plan.data)).hexdigest()[:16]}"
    shutil.rmtree(folder, ignore_errors=True)  # an `up` that was killed leaves it
    try:
        yield _room_in(folder, plan.servers) if plan.servers > 1 else {}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _room_in(folder: Path, servers: int) -> Mapping[str, str]:
    """Make the folder, and see whether there is room for what so many servers count."""
    trial = folder / "room"
    try:
        folder.mkdir(mode=0o700)
        with trial.open("wb") as room:
            os.posix_fallocate(room.fileno(), 0, servers * _ROOM)
        trial.unlink()
    except OSError as error:
        _log.warning("each server counts for itself", folder=str(folder), why=error.strerror)
        return {}
    return {"PROMETHEUS_MULTIPROC_DIR": str(folder)}


async def _answering(url: str, server: Kept, log: Path) -> None:
    """Wait until the server answers. Raises CannotStart if it ends instead, or takes too long."""
    async with APIClient(url, patience=_LONGEST_START) as api:
        asking = asyncio.create_task(HTTPFrontDesk(api).health())
        try:
            while not asking.done():
                if server.starts > 1 or (server.part and server.part.exit_code is not None):
                    raise CannotStart(f"the server ended; it says in {log}:\n{_last_words(log)}")
                await asyncio.wait([asking], timeout=_LOOK_SECONDS)
            await asking
        except AgentVineError as error:
            raise CannotStart(f"the server does not answer ({error}); see {log}") from error
        finally:
            asking.cancel()


def _last_words(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else "(nothing)"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
