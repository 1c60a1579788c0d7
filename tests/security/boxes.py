"""What the tests of the sandbox have in common: boxes, and a host with something to steal."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from agentvine.kit.process import Completed, spawn
from agentvine.testing.eventually import eventually
from agentvine.worker.agent.claude import bundled_cli
from agentvine.worker.sandbox.base import Box, BoxSpec
from agentvine.worker.sandbox.bubblewrap import Bubblewrap
from agentvine.worker.sandbox.host import machine
from agentvine.worker.sandbox.seccomp import ARCHITECTURES

SECRET = "canary-5f1e9c"
SOON = 60.0


async def find_sandbox() -> Bubblewrap:
    """The sandbox of this host; fails with what to change if there can be none."""
    made = await Bubblewrap.on_this_host(agent=bundled_cli())
    problems = await made.check()
    assert not problems, "; ".join(map(str, problems))
    return made


@dataclass(frozen=True, slots=True)
class Place:
    """Directories for one box."""

    workspace: Path
    private: Path

    def spec(self, **wishes: object) -> BoxSpec:
        return BoxSpec(self.workspace, self.private, **wishes)  # type: ignore[arg-type]


def place(parent: Path, name: str = "one") -> Place:
    """New directories for a box, beneath `parent`."""
    workspace, private = parent / name / "workspace", parent / name / "private"
    workspace.mkdir(parents=True)
    private.mkdir(mode=0o700)
    return Place(workspace, private)


@dataclass(frozen=True, slots=True)
class Host:
    """A host with something to steal, to reach and to kill."""

    facts: dict[str, object]
    sentinel: int


@contextlib.asynccontextmanager
async def tempting_host(parent: Path, where: Place) -> AsyncIterator[Host]:
    """Lay out secrets, listen on sockets, and start a process that must not be found."""
    loot = parent / "loot"
    (loot / "sibling").mkdir(parents=True)
    (loot / "sibling" / "code.py").write_text(SECRET)
    (loot / "canary").write_text(SECRET)
    marker = f"{SECRET}-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        four, six = stack.enter_context(_listener("127.0.0.1")), stack.enter_context(_listener("::1"))
        abstract = stack.enter_context(_unix("\0" + marker))
        path = loot / "socket"
        stack.enter_context(_unix(str(path)))
        echo = await _echo()
        stack.callback(echo.close)
        async with await spawn(["sleep", "600", "--", "0"], cwd=None, env={"PATH": os.defpath}) as sentinel:
            facts: dict[str, object] = {
                "canary": str(loot / "canary"),
                "sibling": str(loot / "sibling"),
                "private": str(where.private),
                "prefix": sys.prefix,
                "calls": dict(ARCHITECTURES[machine()].numbers),
                "port": four.getsockname()[1],
                "port6": six.getsockname()[1],
                "udp": echo.get_extra_info("sockname")[1],
                "abstract": abstract.getsockname()[1:].decode(),
                "socket": str(path),
                "marker": "pytest",
                "processes": 5,
                "variables": ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "PWD", "LC_CTYPE"],
                "sentinel": sentinel.pid,
            }
            yield Host(facts, sentinel.pid)


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def _echo() -> asyncio.DatagramTransport:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Echo, ("127.0.0.1", 0))
    return transport


@contextlib.contextmanager
def _listener(host: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        yield server


@contextlib.contextmanager
def _unix(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        yield server


def interpreter(*arguments: str) -> list[str]:
    """The command line of a Python that is seen in boxes too."""
    return [str(Path(sys.executable).resolve()), *arguments]


async def python(box: Box, where: Place, program: str, **more: object) -> Completed:
    """Run a Python program in a box."""
    argv = interpreter("-c", program)
    return await box.run(argv, cwd=where.workspace, timeout=SOON, **more)  # type: ignore[arg-type]


async def sh(box: Box, where: Place, script: str, **more: object) -> Completed:
    """Run a shell script in a box."""
    return await box.run(["sh", "-c", script], cwd=where.workspace, timeout=SOON, **more)  # type: ignore[arg-type]


def left_of(where: Place) -> list[int]:
    """Processes that can still see the workspace, by pid: whatever it called itself, a box has it mounted."""
    found = []
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if directory.name.isdigit() and f" {where.workspace} " in (directory / "mountinfo").read_text():
                found.append(int(directory.name))
    return found


async def until(fact: Callable[[], object]) -> None:
    """Wait until `fact` is true; fail if it does not become so."""
    await eventually(fact, SOON)
