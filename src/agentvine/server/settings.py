"""Everything that a server can be told."""

import base64
import binascii
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from agentvine.domain.base import Line
from agentvine.domain.repository_settings import CommandName
from agentvine.kit.configuration import CommaSeparated, Settings
from agentvine.server.terms import Terms
from agentvine.wire.administration import Prunable

_DatabaseUrl = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^(sqlite:///|postgres(ql)?://).")]
_RedisUrl = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^(rediss?|unix)://.")]
_HttpUrl = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^https?://[^\s@]+$")]
_Days = Annotated[float, Field(ge=1, le=36_500, allow_inf_nan=False)] | None
_Seconds = Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]


CredentialCommands = Annotated[
    dict[CommandName, Annotated[tuple[Line, ...], Field(min_length=1, max_length=100)]], Field(max_length=100)
]


class What(StrEnum):
    """What people can be told of."""

    WAITS = "waits"
    FAILED = "failed"
    COMPLETED = "completed"


def _several(value: object) -> object:
    """Addresses, on lines of their own or with commas or blanks between; a comma inside of one is a part of it."""
    if isinstance(value, str):
        return tuple(part for part in re.split(r"\s+|,(?=\s*[a-z][a-z0-9+.-]*://)", value.strip()) if part.strip(","))
    return value


def _web_address(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("it is no address that begins with https:// or http://")
    return url


def webhook_key(secret: str) -> bytes:
    """The key in a secret as Standard Webhooks writes it. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True) if secret.startswith("whsec_") else b""
    except binascii.Error:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("it is `whsec_` and the base64 of 24 to 64 random bytes (openssl rand -base64 32)")
    return key


def _webhook_secret(secret: SecretStr) -> SecretStr:
    webhook_key(secret.get_secret_value())
    return secret


_Addresses = (NoDecode, BeforeValidator(_several))
_WebAddress = Annotated[SecretStr, AfterValidator(_web_address)]
_WebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]


class ServerSettings(Settings):
    """A server's configuration: AGENTVINE_SERVER_PORT and so on, or flags."""

    model_config = SettingsConfigDict(env_prefix="AGENTVINE_SERVER_")

    host: Line = Field(default="127.0.0.1", examples=["0.0.0.0"])  # noqa: S104  an example
    """The address to listen on. Anything but 127.0.0.1 belongs behind a proxy that speaks TLS."""
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(default=8420, examples=["8420"])
    """The port to listen on; 0: any free one."""
    listen_fd: Annotated[int, Field(ge=0)] | None = Field(default=None, examples=["3"])
    """A socket that the parent process has opened, to be used instead of host and port."""
    pulse_fd: Annotated[int, Field(ge=0)] | None = Field(default=None, examples=["4"])
    """A socket over which the parent process asks whether this one still does anything."""
    share_port: bool = Field(default=False, examples=["true"])
    """Let other servers of this user that say the same listen there, too; each connection goes to one of them."""
    data_dir: Path | None = Field(default=None, examples=["/var/lib/agentvine"])
    """Where artifacts are kept, and the database unless told otherwise. Default: the user's data directory."""
    database_url: _DatabaseUrl | None = Field(
        default=None, repr=False, examples=["postgresql://agentvine@db.internal/agentvine"]
    )
    """The database. Default: an SQLite file in the data directory."""
    redis_url: _RedisUrl | None = Field(default=None, repr=False, examples=["redis://127.0.0.1:6379"])
    """The broker. Without one, several servers hear of one another's work some seconds later."""
    first_key: SecretStr | None = Field(default=None, examples=["av_0123456789_… (43 characters)"])
    """The secret of the first admin key, which is made if there is no key at all. Default: none is made."""
    policy: Path | None = Field(default=None, examples=["/etc/agentvine/policy.toml"])
    """A TOML file of rules that settle what workers ask (docs/policy.md). Default: all of it goes to people."""
    signing_key: Path | None = Field(default=None, examples=["/etc/agentvine/signing.key"])
    """The file of the Ed25519 key (PEM) that signs evidence, one for all servers of a database; made if missing."""
    secrets_key: Path | None = Field(default=None, examples=["/etc/agentvine/secrets.key"])
    """The file of the key that seals repositories' secrets, one for all servers of a database; made if missing."""
    credential_commands: CredentialCommands = Field(
        default_factory=dict, examples=['{"forge-app": ["/usr/local/bin/forge-token", "get"]}']
    )
    """Commands that may give credentials of repositories, as JSON: a name and the arguments of each. Default: none."""
    credentials_over_http: bool = Field(default=False, examples=["true"])
    """Send secrets of repositories to workers that are not on this machine without TLS: what is between is private."""
    answerer_model: Line | None = Field(default=None, examples=["claude-sonnet-4-5"])
    """A model that may answer questions before people do (docs/asking.md). Default: none does."""
    answerer_key: SecretStr | None = Field(default=None, examples=["sk-ant-… (better in a file: …_KEY_FILE)"])
    """The API key for that model."""
    answerer_url: _HttpUrl = Field(default="https://api.anthropic.com", examples=["https://api.anthropic.com"])
    """Where that model is."""
    answerer_timeout: _Seconds = Field(default=60.0, examples=["60"])
    """How many seconds it has for one question; then a person has to answer."""
    answerer_questions_per_day: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=100, examples=["100"])
    """How many questions it is given in a day (UTC), so that it cannot cost more than you think."""
    lease_seconds: _Seconds = Field(default=45.0, examples=["45"])
    """How long a worker keeps an order without being heard of; it renews at a third of it."""
    claim_ack_seconds: _Seconds = Field(default=30.0, examples=["30"])
    """How long an order may be on its way to a worker before it goes to another."""
    heartbeat_timeout: _Seconds = Field(default=90.0, examples=["90"])
    """After how many seconds of silence a worker counts as offline."""
    reaper_interval: _Seconds = Field(default=2.0, examples=["2"])
    """Seconds between two looks for ended leases and due retries."""
    repository_concurrency: Annotated[int, Field(ge=1, le=10_000)] = Field(default=8, examples=["8"])
    """How many orders of one repository run at once."""
    approval_seconds: Annotated[float, Field(ge=1, le=31_536_000, allow_inf_nan=False)] = Field(
        default=259_200.0, examples=["259200"]
    )
    """How long the approval of a call holds; after that the same call asks again."""

    keep_transcripts_days: _Days = Field(default=None, examples=["30"])
    """After how many days the conversations of orders that ended are removed. Default: never."""
    keep_artifacts_days: _Days = Field(default=None, examples=["90"])
    """After how many days the bundles and diffs of orders that ended are removed. Default: never."""
    keep_orders_days: _Days = Field(default=None, examples=["365"])
    """After how many days orders that ended are removed, with all that belongs to them. Default: never."""
    keep_workers_days: _Days = Field(default=None, examples=["7"])
    """After how many days workers that are offline are removed from the list. Default: never."""
    keep_events_days: _Days = Field(default=None, examples=["90"])
    """After how many days events are removed; none since the first of a live order. Default: never."""

    notify: Annotated[tuple[SecretStr, ...], *_Addresses, Field(max_length=20)] = Field(
        default=(), repr=False, examples=["slack://…"]
    )
    """Whom to tell what waits or has failed: addresses that apprise knows (docs/notifications.md). Default: nobody."""
    webhook_urls: Annotated[tuple[_WebAddress, ...], *_Addresses, Field(max_length=20)] = Field(
        default=(), repr=False, examples=["https://hooks.example/agentvine"]
    )
    """Where to post the same as signed JSON (docs/notifications.md). Default: nowhere."""
    webhook_secret: Annotated[tuple[_WebhookSecret, ...], *CommaSeparated, Field(max_length=2)] = Field(
        default=(), repr=False, examples=["whsec_… (44 characters)"]
    )
    """What signs webhooks: `whsec_` and the base64 of 24 to 64 bytes; two, while receivers change to a new one."""
    notify_about: Annotated[tuple[What, ...], *CommaSeparated] = Field(
        default=(What.WAITS, What.FAILED), examples=["waits,failed,completed"]
    )
    """What people are told of: waits, failed, completed."""

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> Self:
        if self.webhook_urls and not self.webhook_secret:
            raise ValueError(
                "AGENTVINE_SERVER_WEBHOOK_SECRET: webhooks are signed; set it to `whsec_` and 32 random "
                "bytes in base64 (openssl rand -base64 32)"
            )
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """What people are told of channels must not hold."""
        return tuple(each.get_secret_value() for each in (*self.notify, *self.webhook_urls, *self.webhook_secret))

    @model_validator(mode="after")
    def _model_with_key(self) -> Self:
        if self.answerer_model is not None and self.answerer_key is None:
            raise ValueError("AGENTVINE_SERVER_ANSWERER_MODEL needs AGENTVINE_SERVER_ANSWERER_KEY, or its …_KEY_FILE")
        return self

    @model_validator(mode="after")
    def _one_way_to_listen(self) -> Self:
        if self.listen_fd is not None and {"host", "port", "share_port"} & self.model_fields_set:
            raise ValueError("AGENTVINE_SERVER_LISTEN_FD is used instead of a host and a port, not with them")
        return self

    @property
    def data(self) -> Path:
        """The data directory, absolute."""
        return (self.data_dir or user_data_path("agentvine")).absolute()

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data / 'agentvine.db'}"

    @property
    def kept_days(self) -> dict[Prunable, float]:
        """What is removed when it is older than so many days."""
        days = {what: getattr(self, f"keep_{what.value}_days") for what in Prunable}
        return {what: kept for what, kept in days.items() if kept is not None}

    @property
    def terms(self) -> Terms:
        """What the server and its workers agree on."""
        defaults = Terms()
        return Terms(
            lease_seconds=self.lease_seconds,
            claim_ack_seconds=self.claim_ack_seconds,
            heartbeat_interval=self.heartbeat_timeout / defaults.silent_heartbeats,
            repository_concurrency=self.repository_concurrency,
            reaper_interval=self.reaper_interval,
            approval_seconds=self.approval_seconds,
        )
