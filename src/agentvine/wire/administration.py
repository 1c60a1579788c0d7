"""What is said about keys, the audit log and the server itself."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from agentvine.domain.base import Line, Model, Strict
from agentvine.domain.execution import Count
from agentvine.domain.key import Key, Scope


class NewKey(Strict):
    name: Line
    scope: Scope
    expires_in_seconds: Annotated[float, Field(gt=0, le=315_360_000, allow_inf_nan=False)] | None = None


class Rotation(Strict):
    """A new secret for a key."""

    overlap_seconds: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)] = 0.0
    """How long the present secret still opens."""


class CreatedKey(Model):
    key: Key
    secret: str
    """Shown this once; the server keeps only its digest."""


class WhoAmI(Model):
    key: Key


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


class Health(Model):
    """`degraded` names what is missing and does not stop the work, such as the broker."""

    status: Literal["ok", "degraded", "down"]
    version: Line
    degraded: dict[str, str] = {}


class SigningKeyInfo(Model):
    """The public half of the Ed25519 key by which a server signs evidence."""

    id: Line
    pem: str


class EventStreamStart(StrEnum):
    """Where a stream of events begins when no Last-Event-ID is given."""

    NOW = "now"
    BEGINNING = "beginning"
