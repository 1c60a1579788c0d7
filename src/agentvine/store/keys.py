"""API keys. The secret is not here, only its digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agentvine.domain.key import Key, Role, Scope
from agentvine.store.rows import build, micros, micros_or_none, moment, moment_or_none
from agentvine.store.unit import Dialect, Row, Unit


@dataclass(frozen=True, slots=True)
class Lock:
    """A key and the digest that its secret must have."""

    key: Key
    digest: str


_FIRST_KEY_LOCK = 0x6669_7273_7431  # any number, the same in every server process


def alone(unit: Unit) -> None:
    """Until this transaction ends no other that says so looks at the keys: servers that start together are in step."""
    if unit.dialect is Dialect.POSTGRESQL:  # SQLite has one writer anyway
        unit.one("SELECT pg_advisory_xact_lock(:number)", number=_FIRST_KEY_LOCK)


def insert(unit: Unit, key: Key, digest: str) -> None:
    """Keep a new key, of whose secret only `digest` is known."""
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


_USABLE = """
    SELECT id, scope FROM keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now) ORDER BY id"""


def has_usable_admin(unit: Unit, now: datetime) -> bool:
    """Whether there is an admin key that is good now."""
    return bool(_admins(unit.all(_USABLE, now=micros(now))))


def usable_admins(unit: Unit, now: datetime) -> tuple[str, ...]:
    """The ids of the admin keys that are good; none of them ends before this transaction does. For `write` only."""
    return _admins(unit.all(f"{_USABLE} FOR NO KEY UPDATE", now=micros(now)))


def _admins(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row["id"] for row in rows if Scope.model_validate_json(row["scope"]).role is Role.ADMIN)


def by_prefix(unit: Unit, prefix: str) -> Lock | None:
    """What a secret that begins like this opens. A former secret opens a key that ends with the overlap."""
    row = unit.one("SELECT * FROM keys WHERE prefix = :prefix OR former_prefix = :prefix", prefix=prefix)
    if row is None:
        return None
    key = _key(row)
    if row["prefix"] == prefix:
        return Lock(key, row["digest"])
    until = key.former_until if key.expires_at is None else min(key.former_until or key.expires_at, key.expires_at)
    return Lock(key.model_copy(update={"prefix": prefix, "expires_at": until}), row["former_digest"])


def get(unit: Unit, key_id: str) -> Key | None:
    """A key, also one that has ended; None if there is none of that id."""
    row = unit.one("SELECT * FROM keys WHERE id = :id", id=key_id)
    return _key(row) if row else None


def everyone(unit: Unit) -> tuple[Key, ...]:
    """All keys, newest first."""
    return tuple(_key(row) for row in unit.all("SELECT * FROM keys ORDER BY id DESC"))


def locked(unit: Unit, key_id: str) -> Key | None:
    """A key that nobody else changes before this transaction ends."""
    row = unit.one("SELECT * FROM keys WHERE id = :id FOR NO KEY UPDATE", id=key_id)
    return _key(row) if row else None


def rotate(unit: Unit, key_id: str, prefix: str, digest: str, former_until: datetime) -> None:
    """Give a key another secret. The present one becomes the former one; the former one before it is gone."""
    unit.run(
        """UPDATE keys SET former_prefix = prefix, former_digest = digest, former_until = :former_until,
               prefix = :prefix, digest = :digest
           WHERE id = :id""",
        id=key_id,
        prefix=prefix,
        digest=digest,
        former_until=micros(former_until),
    )


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
            "former_prefix": row["former_prefix"],
            "former_until": moment_or_none(row["former_until"]),
        },
    )
