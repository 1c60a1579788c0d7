"""Tokens of a GitHub App: the app's key signs a short statement, which is exchanged for a token of one repository.

The statement is a JSON Web Token with RS256 (RFC 7519, RFC 7518 section 3.3), valid for at most ten minutes; a token of
an installation is valid for an hour (GitHub, "Generating an installation access token for a GitHub App").
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agentvine.domain.retry import FailureReason
from agentvine.kit.clock import Clock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.logs import hide
from agentvine.worker.forge.answers import Value, understood
from agentvine.worker.forge.base import ForgeRefused
from agentvine.worker.forge.connection import Authorize, Connection, Refusal
from agentvine.worker.forge.repository_api import piece

_BACKDATED, _VALID = 60, 540
"""Seconds: GitHub's advice against clocks that differ, and less than its ten minutes."""
_BEFORE_ITS_END = timedelta(minutes=5)


class _Installation(Value):
    id: int
    app_slug: str = ""


class _Token(Value):
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class App:
    """A GitHub App. `id`: its number or client id."""

    id: str
    key: RSAPrivateKey = field(repr=False)

    @classmethod
    def of(cls, app_id: str, key_file: Path) -> "App":
        """The app whose private key is in `key_file` (PEM). Raises ConfigurationError."""
        try:
            key = load_pem_private_key(key_file.read_bytes(), password=None)
        except OSError as error:
            raise ConfigurationError(f"FORGES: {key_file} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError(f"FORGES: {key_file} is no private key in PEM without a password") from None
        if not isinstance(key, RSAPrivateKey):
            raise ConfigurationError(f"FORGES: {key_file} is no RSA key; GitHub makes one in the app's settings")
        return cls(app_id, key)

    def statement(self, now: datetime) -> str:
        """Who we are, signed."""
        seconds = int(now.timestamp())
        claims = {"iat": seconds - _BACKDATED, "exp": seconds + _VALID, "iss": self.id}
        said = b".".join(_coded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        signature = self.key.sign(said, PKCS1v15(), SHA256())
        return (said + b"." + _coded(signature)).decode()


class AppTokens:
    """Tokens of an app's installations, each kept until shortly before its end."""

    def __init__(self, app: App, clock: Clock, connect: Callable[[Authorize], Connection]) -> None:
        self._app = app
        self._clock = clock
        self._connect = connect
        self._tokens: dict[str, _Token] = {}
        self._name: str | None = None

    async def of(self, repository: str) -> str:
        """A token for `owner/name` alone. Raises ForgeProblem."""
        known = self._tokens.get(repository)
        if known is None or known.expires_at - _BEFORE_ITS_END <= self._clock.now():
            known = self._tokens[repository] = await self._fresh(repository)
        return known.token

    async def account(self, repository: str) -> str | None:
        """The name under which the app writes, which its tokens may not ask for. Raises ForgeProblem."""
        await self.of(repository)
        return self._name

    def forget(self, repository: str) -> None:
        """Ask for a new one next time: this one was not taken."""
        self._tokens.pop(repository, None)

    async def _fresh(self, repository: str) -> _Token:
        owner, _, name = repository.partition("/")
        async with self._connect(self._headers) as connection:
            try:
                found = await connection.get(f"repos/{piece(owner)}/{piece(name)}/installation")
                installation = understood(_Installation, found, connection.name)
                self._name = f"{installation.app_slug}[bot]" if installation.app_slug else None
                path = f"app/installations/{installation.id}/access_tokens"
                told = await connection.send("POST", path, {"repositories": [name]}, repeatable=True)
            except Refusal as refusal:
                raise ForgeRefused(
                    f"the GitHub App {self._app.id} is not installed for {repository} ({refusal}); install it there, "
                    "with write access to pull requests",
                    FailureReason.REPOSITORY_AUTH_FAILED,
                ) from refusal
            token = understood(_Token, told, connection.name)
        hide(token.token)
        return token

    async def _headers(self) -> Mapping[str, str]:
        # Not hidden by name, which is dear for something so long: redaction knows it by its shape (eyJ….eyJ….…).
        return {"Authorization": f"Bearer {self._app.statement(self._clock.now())}"}


def _coded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
