"""Everything that a server can be told."""

from pathlib import Path
from typing import Annotated, Self

from platformdirs import user_data_path
from pydantic import Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

from agentvine.domain.base import Line
from agentvine.kit.configuration import Settings
from agentvine.server.terms import Terms

_DatabaseUrl = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^(sqlite:///|postgres(ql)?://).")]
_RedisUrl = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^(rediss?|unix)://.")]
_Seconds = Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]


class ServerSettings(Settings):
    """A server's configuration: AGENTVINE_SERVER_PORT and so on, or flags."""

    model_config = SettingsConfigDict(env_prefix="AGENTVINE_SERVER_")

    host: Line = Field(default="127.0.0.1", examples=["0.0.0.0"])  # noqa: S104  an example
    """The address to listen on. Anything but 127.0.0.1 belongs behind a proxy that speaks TLS."""
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(default=8420, examples=["8420"])
    """The port to listen on; 0: any free one."""
    listen_fd: Annotated[int, Field(ge=0)] | None = Field(default=None, examples=["3"])
    """A socket that the parent process has opened, to be used instead of host and port."""
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

    @model_validator(mode="after")
    def _one_way_to_listen(self) -> Self:
        if self.listen_fd is not None and {"host", "port"} & self.model_fields_set:
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
    def terms(self) -> Terms:
        """What the server and its workers agree on."""
        defaults = Terms()
        return Terms(
            lease_seconds=self.lease_seconds,
            claim_ack_seconds=self.claim_ack_seconds,
            heartbeat_interval=self.heartbeat_timeout / defaults.silent_heartbeats,
            repository_concurrency=self.repository_concurrency,
            reaper_interval=self.reaper_interval,
        )
