"""API keys: what they are made of, and what they allow."""

from enum import StrEnum

from pydantic import Field

from agentvine.domain.base import Line, Model, Moment
from agentvine.domain.ids import KeyId
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository import RepositoryUrl
from agentvine.domain.worker_types import WorkerType


class Role(StrEnum):
    """Admin does everything; member submits and answers; viewer looks; worker works."""

    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"
    WORKER = "worker"


class Scope(Model):
    """What a key may do. Empty tuples mean no restriction."""

    role: Role
    worker_types: tuple[WorkerType, ...] = ()
    permission_level: PermissionLevel = PermissionLevel.AUTONOMOUS
    """The highest level of an order that may be claimed, or of a task that may be submitted, with it."""
    repositories: tuple[RepositoryUrl, ...] = ()


class Key(Model):
    """A key as the server knows it. The secret is kept as its SHA-256 only: it is random, a slow hash buys nothing."""

    id: KeyId
    name: Line
    prefix: str = Field(pattern=r"^av_[0-9a-z]{10}$")
    """The visible first part, by which it is looked up."""
    scope: Scope
    created_at: Moment
    created_by: str
    expires_at: Moment | None = None
    revoked_at: Moment | None = None

    def usable(self, now: Moment) -> bool:
        """True while it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
