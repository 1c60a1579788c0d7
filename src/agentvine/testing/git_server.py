"""A git server for tests: repositories of a folder over HTTP, through git's own `git http-backend`.

It can be told to misbehave as servers do: ask for a password, forbid, be missing, fail, tell secrets, or never answer.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agentvine.kit.process import SYSTEM_PATH, run
from agentvine.testing.loopback import LoopbackServer

_LARGEST = 512 * 1024 * 1024
_REASONS = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}


class Fault(StrEnum):
    """How the server misbehaves while told so."""

    FORBIDDEN = "forbidden"
    MISSING = "missing"
    BROKEN = "broken"
    SILENT = "silent"
    """Takes the request and never answers."""
    CUT = "cut"
    """Handles the request, then closes the connection without an answer."""
    TOLD = "told"
    """Forbids, in git's own way of telling an error, and says in it what it was shown of who asks, also in plain."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class GitServer(LoopbackServer):
    """Serves every bare repository beneath `root`, for reading and pushing. An async context manager."""

    def __init__(self, root: Path, *, password: str | None = None) -> None:
        super().__init__()
        self._root = root
        self.password = password
        """What is asked for, whatever the user name; None: nothing."""
        self.fault: Fault | None = None
        self.fault_on = ""
        """Only requests whose path or query holds this text meet the fault."""
        self.before: Callable[[str], Awaitable[None]] | None = None
        """Called with the path and query of each request before it is handled."""
        self._news = asyncio.Event()
        self.redirect: str | None = None
        """Where every request that is let in is sent on to, if anywhere: an address without the request's path."""
        self.authorizations: list[str] = []
        """What each request said of who it is from; empty where nothing was said."""
        self.requests: list[str] = []
        """Method, path and query of each request, in order."""

    def url(self, name: str) -> str:
        """The address of repository `name`."""
        return f"{self.address}/{name}"

    async def next_request(self) -> None:
        """Wait until another request has come since this was last called."""
        await self._news.wait()
        self._news.clear()

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As in `LoopbackServer`: one request."""
        request = await _read(reader, writer)
        if request is not None:
            await self._answer(request, writer)

    async def _answer(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        target = f"{request.path}?{request.query}"
        self.requests.append(f"{request.method} {target}")
        self.authorizations.append(request.headers.get("authorization", ""))
        self._news.set()
        if self.before is not None:
            await self.before(target)
        fault = self.fault if self.fault_on in target else None
        if fault is Fault.SILENT:
            await asyncio.Event().wait()
        status = {Fault.FORBIDDEN: 403, Fault.MISSING: 404, Fault.BROKEN: 500}.get(fault) if fault else None
        if status is not None:
            _write(writer, status, [], b"no")
        elif not self._allowed(request):
            _write(writer, 401, [("WWW-Authenticate", 'Basic realm="git"')], b"who are you?")
        elif self.redirect is not None:
            _write(writer, 301, [("Location", f"{self.redirect}{target}")], b"elsewhere")
        elif fault is Fault.TOLD:
            shown = request.headers.get("authorization", "")
            _write(writer, *_told(request.query, f"access denied: {shown} is {_plainly(shown)}"))
        else:
            status, headers, body = await self._backend(request)
            if fault is Fault.CUT:
                return
            _write(writer, status, headers, body)
        await writer.drain()

    def _allowed(self, request: _Request) -> bool:
        if self.password is None:
            return True
        return _plainly(request.headers.get("authorization", "")).partition(":")[2] == self.password

    async def _backend(self, request: _Request) -> tuple[int, list[tuple[str, str]], bytes]:
        env = {
            "PATH": SYSTEM_PATH,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_PROJECT_ROOT": str(self._root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "tester",
            "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        }
        done = await run(
            ["git", "http-backend"], cwd=None, env=env, stdin=request.body, timeout=120, output_limit=_LARGEST
        )
        head, _, body = done.raw.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        return status, headers, body


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request | None:
    line = (await reader.readline()).decode().split()
    if len(line) != 3:
        return None
    headers: dict[str, str] = {}
    while header := (await reader.readline()).decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "") == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = line[1].partition("?")
    return _Request(line[0], path, query, headers, body)


def _told(query: str, error: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """An error that git shows to people: gitprotocol-pack(5), "Packet-Line ERR"."""
    service = query.removeprefix("service=")
    kind = [("Content-Type", f"application/x-{service}-advertisement")]
    return 200, kind, _packet(f"# service={service}\n") + b"0000" + _packet(f"ERR {error}")


def _packet(text: str) -> bytes:
    return f"{len(text) + 4:04x}{text}".encode()


def _plainly(authorization: str) -> str:
    """User name and password, with a colon between them."""
    return base64.b64decode(authorization.removeprefix("Basic ")).decode()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return bytes(body)


def _write(writer: asyncio.StreamWriter, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Other')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode() + body)
