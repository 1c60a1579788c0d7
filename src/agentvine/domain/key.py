"""API keys: what they are made of, and what they allow."""

from enum import StrEnum

from pydantic import Field

from agentvine.domain.base import Line, Model, Moment
from agentvine.domain.ids import KeyId, WorkerId
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

    @property
    def restricted(self) -> bool:
        """True if it names types or repositories, or stops below the highest level."""
        return bool(self.worker_types or self.repositories) or self.permission_level is not PermissionLevel.AUTONOMOUS

    def within(self, other: "Scope") -> bool:
        """True if it allows nothing beyond `other`, whatever the two roles are."""
        return (
            self.permission_level.rank <= other.permission_level.rank
            and _narrower(self.worker_types, other.worker_types)
            and _narrower(self.repositories, other.repositories)
        )


def _narrower(names: tuple[str, ...], allowed: tuple[str, ...]) -> bool:
    """True if `names` allows nothing beyond `allowed`, where none means all."""
    return not allowed or (bool(names) and set(names) <= set(allowed))


class Key(Model):
    """A key as the server knows it. The secret is kept as its SHA-256 only: it is random, a slow hash buys nothing."""

    id: KeyId
    name: Line
    prefix: str = Field(pattern=r"^av_[0-9a-z]{10}$")
    """The visible first part of its present secret, by which it is looked up."""
    scope: Scope
    created_at: Moment
    created_by: str
    expires_at: Moment | None = None
    revoked_at: Moment | None = None
    former_prefix: str | None = None
    """How the secret began that the present one has replaced."""
    former_until: Moment | None = None
    """Until when that one opens as well."""

    def usable(self, now: Moment) -> bool:
        """True while it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class WorkerKey(Key):
    """A key in the hands of one worker process, which has shown the session token that its registration gave."""

    worker_id: WorkerId
    session: str
    """The token's digest."""

    @classmethod
    def of(cls, key: Key, worker_id: WorkerId, session: str) -> "WorkerKey":
        """`key`, spoken with as that worker."""
        return cls.model_construct(**{**dict(key), "worker_id": worker_id, "session": session})
