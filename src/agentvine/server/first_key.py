"""The first admin key, without which nobody could make any other."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.doorbell import pause
from agentvine.kit.file_lock import lock, open_lock
from agentvine.kit.logs import logger
from agentvine.server.keyring import KeyRing, new_secret
from agentvine.server.settings import ServerSettings

_LONGEST = 30.0
"""Seconds that another server may take for it."""
_log = logger("server")


async def see_to_first_key(settings: ServerSettings, keyring: KeyRing) -> None:
    """See to it that there is an admin key, and that its secret is known to whoever runs this server.

    It is the one of the settings, or else left in the data directory, once, however many servers start there at once.
    Raises `ConfigurationError` if the settings' secret cannot be used, or the file cannot be written or had.
    """
    if settings.first_key is not None:
        try:
            await keyring.bootstrap(settings.first_key.get_secret_value())
        except ValueError as error:
            raise ConfigurationError(f"AGENTVINE_SERVER_FIRST_KEY: {error}") from error
        return
    if await keyring.has_admin():
        return
    async with _alone(settings.data / "first-key.lock"):
        if not await keyring.has_admin():
            await _make_first_key(settings.data / "first-key", keyring)


@asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    """Let other servers with the same data directory wait: there is one file for the secret."""
    handle = _opened(path)
    try:
        await _locked(handle, path)
        yield
    finally:
        os.close(handle)


async def _locked(handle: int, path: Path) -> None:
    try:
        async with asyncio.timeout(_LONGEST):
            while not lock(handle):
                await pause(0.02)
    except TimeoutError as error:
        raise ConfigurationError(f"another server has held {path} for {_LONGEST:g} s: end it") from error


def _opened(path: Path) -> int:
    try:
        return open_lock(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


async def _make_first_key(path: Path, keyring: KeyRing) -> None:
    secret = new_secret()
    _write_secret(path, secret)  # before there is such a key: one whose secret nobody knows would lock everybody out
    if await keyring.bootstrap(secret) is not None:
        _log.warning("there was no admin key; the first one was made", its_secret_is_in=str(path))
    else:  # a server with another data directory was faster
        _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _write_secret(path: Path, secret: str) -> None:
    try:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        with path.open("w", encoding="utf-8") as file:
            file.write(f"{secret}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(f"the first admin key cannot be written to {path}: {error.strerror}") from error
