"""API keys. The secret is not here, only its digest."""

from dataclasses import dataclass
from datetime import datetime

from agentvine.domain.key import Key, Role, Scope
from agentvine.store.rows import build, micros, micros_or_none, moment, moment_or_none
from agentvine.store.unit import Row, Unit


@dataclass(frozen=True, slots=True)
class Lock:
    """A key and the digest that its secret must have."""

    key: Key
    digest: str


def insert(unit: Unit, key: Key, digest: str) -> None:
    unit.run(
        """INSERT INTO keys (id, name, prefix, digest, scope, created_at, created_by, expires_at)
           VALUES (:id, :name, :prefix, :digest, :scope, :created_at, :created_by, :expires_at)""",
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        digest=digest,
        scope=key.scope.model_dump_json(),
        created_at=micros(key.created_at),
        created_by=key.created_by,
        expires_at=micros_or_none(key.expires_at),
    )


def usable_admins(unit: Unit, now: datetime) -> tuple[str, ...]:
    """The ids of the admin keys that are good; none of them ends before this transaction does. For `write` only."""
    rows = unit.all(
        """SELECT id, scope FROM keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
           ORDER BY id FOR NO KEY UPDATE""",
        now=micros(now),
    )
    return tuple(row["id"] for row in rows if Scope.model_validate_json(row["scope"]).role is Role.ADMIN)


def by_prefix(unit: Unit, prefix: str) -> Lock | None:
    row = unit.one("SELECT * FROM keys WHERE prefix = :prefix", prefix=prefix)
    return Lock(_key(row), row["digest"]) if row else None


def get(unit: Unit, key_id: str) -> Key | None:
    row = unit.one("SELECT * FROM keys WHERE id = :id", id=key_id)
    return _key(row) if row else None


def everyone(unit: Unit) -> tuple[Key, ...]:
    """All keys, newest first."""
    return tuple(_key(row) for row in unit.all("SELECT * FROM keys ORDER BY id DESC"))


def revoke(unit: Unit, key_id: str, at: datetime) -> bool:
    """True if it was good until now."""
    return bool(
        unit.run("UPDATE keys SET revoked_at = :at WHERE id = :id AND revoked_at IS NULL", id=key_id, at=micros(at))
    )


def _key(row: Row) -> Key:
    return build(
        Key,
        {
            "id": row["id"],
            "name": row["name"],
            "prefix": row["prefix"],
            "scope": Scope.model_validate_json(row["scope"]),
            "created_at": moment(row["created_at"]),
            "created_by": row["created_by"],
            "expires_at": moment_or_none(row["expires_at"]),
            "revoked_at": moment_or_none(row["revoked_at"]),
        },
    )
