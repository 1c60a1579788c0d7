"""Starts servers and workers in milliseconds: a process that has imported everything, and forks for each of them.

What it starts is a process of its own, with a pid, a session and a log of its own, in which the product runs as it
would after `agentvine server` or `agentvine worker`; only the import, seconds of it, is done once. A child that is
killed is gone as any process is. All die with the foundry (PR_SET_PDEATHSIG), which runs beneath a guardian.
"""

import asyncio
import ctypes
import json
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentvine.kit.process import Running, spawn
from agentvine.testing.eventually import eventually

_PR_SET_PDEATHSIG = 1
_PATH = "/usr/local/bin:/usr/bin:/bin"


class Born:
    """A process that the foundry started."""

    def __init__(self, pid: int, role: str, log: Path) -> None:
        self.pid = pid
        self.role = role
        self.log = log
        self.ended = asyncio.Event()
        self.exit_code: int | None = None
        """As wait(2) has it: -9 if SIGKILL ended it."""
        self._handle = os.pidfd_open(pid)

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal; harmless if it has ended."""
        if not self.ended.is_set():
            try:
                signal.pidfd_send_signal(self._handle, number)
            except ProcessLookupError:
                return

    def is_stopped(self) -> bool:
        """True while it is stopped, as by SIGSTOP."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    async def die(self) -> None:
        """Kill it, and wait until it is gone."""
        self.tell(signal.SIGKILL)
        await self.gone(10)

    async def leave(self, within: float = 60.0) -> int:
        """Ask it to end, twice if need be; returns its exit code."""
        self.tell(signal.SIGTERM)
        return await self.gone(within)

    async def gone(self, within: float) -> int:
        """Its exit code, once it has ended. Raises TimeoutError."""
        async with asyncio.timeout(within):
            await self.ended.wait()
        assert self.exit_code is not None
        return self.exit_code

    def buried(self, code: int) -> None:
        self.exit_code = code
        os.close(self._handle)
        self.ended.set()


class Foundry:
    """Use it as an async context manager; `where` is for its socket and log."""

    def __init__(self, where: Path, **environment: str) -> None:
        self._where = where
        self._socket = where / "foundry.sock"
        self._environment = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": str(where), **environment}
        self._process: Running | None = None
        self._watching: set[asyncio.Task[None]] = set()
        self.born: list[Born] = []

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._where.mkdir(parents=True, exist_ok=True)
        root = str(Path(__file__).parents[2])
        argv = [sys.executable, "-m", "tests.chaos.foundry", str(self._socket)]
        environment = {**self._environment, "PYTHONPATH": f"{root}/src:{root}"}
        log = self._where / "foundry.log"
        self._process = await spawn(argv, cwd=self._where, env=environment, output=log, guarded=True)
        process = self._process
        await eventually(lambda: self._socket.exists() or process.exit_code is not None, 60)
        assert process.exit_code is None, log.read_text()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._process is not None
        await self._process.kill_tree()
        for task in self._watching:
            task.cancel()

    async def start(self, role: str, settings: Mapping[str, str], log: Path) -> Born:
        """Start a process in a role of `roles.py`, with these settings as its environment."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        order = {"role": role, "settings": {"PATH": _PATH, **settings}, "log": str(log)}
        writer.write(json.dumps(order).encode() + b"\n")
        await writer.drain()
        born = Born(json.loads(await reader.readline())["pid"], role, log)
        self.born.append(born)
        watching = asyncio.create_task(_watch(born, reader, writer))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        return born


async def _watch(born: Born, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        line = await reader.readline()
        born.buried(json.loads(line)["exit"] if line else -signal.SIGKILL)
    finally:
        writer.close()


# ── the other side ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Forge:
    """Waits for orders on a socket, forks, and tells how its children end."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(100)
        self._clients: dict[int, socket.socket] = {}
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._listener, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(4096)
                self._bury()
            if self._listener in ready:
                client, _ = self._listener.accept()
                self._cast(client, json.loads(client.makefile().readline()))

    def _cast(self, client: socket.socket, order: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            self._become(order)
        self._clients[pid] = client
        _tell(client, {"pid": pid})

    def _bury(self) -> None:
        while self._clients:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (client := self._clients.pop(pid, None)) is not None:
                _tell(client, {"exit": os.waitstatus_to_exitcode(status)})
                client.close()

    def _become(self, order: dict[str, Any]) -> None:
        """The child; never returns."""
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
            os.setsid()
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.closerange(3, 64)
            random.seed()
            from tests.chaos.roles import play

            code = play(order["role"], order["settings"])
        except BaseException:  # noqa: BLE001  the border of the forked process, which must not go on as its parent
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


def _tell(client: socket.socket, message: dict[str, int]) -> None:
    try:
        client.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return


if __name__ == "__main__":
    import tests.chaos.roles  # noqa: F401  all that is imported once

    _Forge(sys.argv[1]).run()
