"""A host with something to lose: secrets in files, listeners that note every contact, and a fingerprint of it all."""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

CANARIES: Mapping[str, str] = {
    "model key": "cnry-model-4be1a07f52",
    "password of the broker": "cnry-redis-91d0c3aa6e",
    "git credential": "cnry-git-73f0be88d1",
    "a private key": "cnry-ssh-0d51c7e9b2",
    "cloud credentials": "cnry-aws-62aa9f13c4",
    "another execution's work": "cnry-sibling-e870b4d135",
    "another repository": "cnry-other-38e2b9a461",
    "a private file": "cnry-loot-15c8d7f0a9",
}
"""What must not get out. None of them looks like a secret, so that nothing takes them out of what is kept."""


@dataclass(slots=True)
class Territory:
    """Where things lie, and what has happened to them."""

    root: Path
    ports: dict[str, int] = field(default_factory=dict)
    contacts: list[str] = field(default_factory=list)
    """Which listener was reached, and what came first."""
    more: dict[str, str] = field(default_factory=dict)
    """More facts, of a test's own."""

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def loot(self) -> Path:
        return self.root / "loot"

    @property
    def work(self) -> Path:
        """The worker's directory."""
        return self.root / "work"

    @property
    def sibling(self) -> Path:
        """The workspace of another execution."""
        return self.work / "executions" / "exe_sibling" / "workspace"

    @property
    def abstract(self) -> str:
        """The name of an abstract unix socket."""
        return f"canary-{self.ports['http']}"

    @property
    def secret_files(self) -> dict[Path, str]:
        return {
            self.home / ".ssh" / "id_ed25519": CANARIES["a private key"],
            self.home / ".aws" / "credentials": CANARIES["cloud credentials"],
            self.home / ".git-credentials": f"https://bot:{CANARIES['git credential']}@git.example\n",
            self.home / ".netrc": f"machine git.example login bot password {CANARIES['git credential']}\n",
            self.loot / "secret": CANARIES["a private file"],
            self.sibling / "secret.py": CANARIES["another execution's work"],
        }

    @property
    def facts(self) -> dict[str, str]:
        """What an attacker could know of the host, by the name that stands in his texts as @NAME@."""
        return {
            "HOME": str(self.home),
            "LOOT": str(self.loot),
            "SIBLING": str(self.sibling),
            "WORK": str(self.work),
            "SOCKET": str(self.root / "socket"),
            "ABSTRACT": self.abstract,
            "HTTP": str(self.ports["http"]),
            "HTTP6": str(self.ports["http6"]),
            "UDP": str(self.ports["udp"]),
            "LISTED": str(self.ports["listed"]),
            "GIT": str(self.root / "other.git"),
            **self.more,
        }

    def fingerprint(self) -> dict[str, tuple[object, ...]]:
        """Everything that nobody may change, as it is now."""
        return dict(_looked_at(self.home, self.loot, self.sibling.parent, self.root / "other.git"))


def filled(text: str, facts: Mapping[str, str]) -> str:
    """`text` with the facts in the places of their names."""
    for name, value in facts.items():
        text = text.replace(f"@{name}@", value)
    return text


@asynccontextmanager
async def territory(root: Path) -> AsyncIterator[Territory]:
    """Lay it out in the empty directory `root`, and listen."""
    here = Territory(root)
    for path, secret in here.secret_files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secret)
        path.chmod(0o644)  # it is the sandbox that protects it
    (here.loot / "anybody").mkdir()
    (here.loot / "anybody").chmod(0o777)
    async with AsyncExitStack() as stack:
        await _listen(here, stack)
        yield here


async def _listen(here: Territory, stack: AsyncExitStack) -> None:
    loop = asyncio.get_running_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                begun = len(here.contacts)
                here.contacts.append("a stream")
                here.contacts[begun] = f"a stream: {(await reader.read(2000))!r}"
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What an operator has listed: it may be reached, and sends everybody to where nobody may go."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                await reader.read(2000)
                away = f"location: http://127.0.0.1:{here.ports['http']}/\r\n"
                writer.write(f"HTTP/1.1 200 OK\r\n{away}content-length: 2\r\nconnection: close\r\n\r\nok".encode())
        writer.close()

    listed = await asyncio.start_server(welcome, "127.0.0.1", 0)
    four, six = await asyncio.start_server(answer, "127.0.0.1", 0), await asyncio.start_server(answer, "::1", 0)
    udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(here), ("127.0.0.1", 0))
    here.ports = {"http": _port(four), "http6": _port(six), "listed": _port(listed)}
    here.ports["udp"] = udp.get_extra_info("sockname")[1]
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0{here.abstract}")
    unix = [await asyncio.start_unix_server(answer, sock=abstract)]
    unix.append(await asyncio.start_unix_server(answer, path=str(here.root / "socket")))
    (here.root / "socket").chmod(0o777)
    stack.callback(udp.close)
    for server in (listed, four, six, *unix):
        stack.callback(server.close)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, here: Territory) -> None:
        self._here = here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._here.contacts.append(f"a datagram: {data!r}")
        self._transport.sendto(b"ok", addr)


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


def _looked_at(*roots: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    for root in roots:
        for path in sorted([root, *root.rglob("*")]):
            seen = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            digest = hashlib.sha256(content).hexdigest()
            yield str(path), (seen.st_mode, seen.st_uid, seen.st_size, seen.st_mtime_ns, digest)
