"""What is said about keys, the audit log and the server itself."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from agentvine.domain.base import Line, Model, Strict
from agentvine.domain.execution import Count
from agentvine.domain.key import Key, Scope
from agentvine.domain.repository_settings import NewCredential, Repository, RepositorySettings


class NewKey(Strict):
    """A key that is to be made."""

    name: Line
    scope: Scope
    expires_in_seconds: Annotated[float, Field(gt=0, le=315_360_000, allow_inf_nan=False)] | None = None


class Rotation(Strict):
    """A new secret for a key."""

    overlap_seconds: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)] = 0.0
    """How long the present secret still opens."""


class CreatedKey(Model):
    """A key with its secret, which is shown this once."""

    key: Key
    secret: str
    """Shown this once; the server keeps only its digest."""


class WhoAmI(Model):
    """The key that asks."""

    key: Key


class NewRepository(Strict):
    """A repository that the server shall know."""

    settings: RepositorySettings
    credential: NewCredential | None = None
    webhook: bool = False
    """Make a secret by which the forge's webhooks are known."""


class RepositoryChanges(Strict):
    """What is to be different; what is not named stays."""

    settings: dict[str, JsonValue] = {}
    """A JSON merge patch (RFC 7396) of the settings: null takes a field back to its default."""
    credential: NewCredential | None = None
    """null: keep none any more."""
    webhook: Literal["make", "remove"] | None = None
    """make: a new secret, which replaces the one there was."""


class SavedRepository(Model):
    """A repository as it stands now."""

    repository: Repository
    webhook_secret: str | None = Field(default=None, repr=False)
    """Shown this once, if one was made."""


class AuditCheck(Model):
    """What a look at a part of the audit log has found; the next one goes on behind `seq` and `hash`."""

    seq: Count
    hash: str
    entries: Count
    events: Count
    """How many of each were computed again."""
    more: bool
    broken_at: int | None = None
    """The first entry that is not what it was, or that does not follow the one before it."""
    why: str = ""
    pruned_to: Count = 0
    """Events up to this number were removed as old, and cannot be computed again; an entry of the log says so."""


class Prunable(StrEnum):
    """What can be removed when it is old."""

    TRANSCRIPTS = "transcripts"
    """Conversations of orders that ended."""
    ARTIFACTS = "artifacts"
    """Bundles, diffs and the like of orders that ended."""
    ORDERS = "orders"
    """Orders that ended, with their tasks, executions, requests, evidence and all of the above."""
    WORKERS = "workers"
    """Workers that are offline, with their last heartbeat."""
    EVENTS = "events"
    """What happened before, up to the first event of an order that is live."""


class Pruning(Strict):
    """Remove what is older than so many seconds."""

    older_than_seconds: Annotated[float, Field(ge=3600, le=3.2e9, allow_inf_nan=False)]
    what: Annotated[tuple[Prunable, ...], Field(min_length=1, max_length=10)] = tuple(Prunable)
    dry_run: bool = False
    """Remove nothing, only count."""


class Pruned(Model):
    """What was removed, or would be. With `more`, ask again: so much is done at once as takes a few seconds."""

    dry_run: bool
    orders: Count = 0
    executions: Count = 0
    transcript_entries: Count = 0
    artifacts: Count = 0
    artifact_bytes: Count = 0
    workers: Count = 0
    events: Count = 0
    files: Count = 0
    """Contents that no artifact names any more and that were removed; nothing that was stored within a day."""
    file_bytes: Count = 0
    more: bool = False


class Health(Model):
    """`degraded` names what is missing and does not stop the work, such as the broker."""

    status: Literal["ok", "degraded", "down"]
    version: Line
    degraded: dict[str, str] = {}


class SigningKeyInfo(Model):
    """The public half of the Ed25519 key by which a server signs evidence."""

    id: Line
    pem: str
