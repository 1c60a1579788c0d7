"""API keys: made, known again, given another secret, revoked.

A secret is `av_<10 characters>_<43 characters>`. The first part is public and finds the key; the whole is random, so
its SHA-256 is all that has to be kept of it.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import Conflict, Forbidden
from agentvine.domain.event import EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key, Role, Scope
from agentvine.kit.clock import Clock
from agentvine.server.permits import bad_key, known, not_found
from agentvine.store import audit, events, keys
from agentvine.store.database import Database
from agentvine.store.unit import Unit
from agentvine.wire import administration as adm

_SECRET = re.compile(r"(av_[0-9a-z]{10})_[0-9A-Za-z_-]{43}")
_PREFIX_LENGTH = len("av_0123456789")
_PREFIX_LETTERS = string.ascii_lowercase + string.digits
_TRUST_SECONDS = 5.0
"""How long a key that was found good is not looked up again; one revoked by another server process lives that long."""
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Trusted:
    key: Key
    until: float


class KeyRing:
    """The keys of this server."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._trusted: dict[str, _Trusted] = {}
        self._endings = 0
        """How many keys have ended here: what was read before the last one is not to be remembered."""
        self._when_ended: list[Callable[[str], None]] = []

    def when_ended(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with the id of each key that is revoked here, or given another secret at once."""
        self._when_ended.append(tell)

    async def identify(self, secret: str) -> Key:
        """The key that `secret` opens. Raises `Unauthenticated`, which never says what was wrong with it."""
        match = _SECRET.fullmatch(secret)
        if match is None:
            raise bad_key()
        digest = _digest(secret)
        trusted = self._trusted.get(digest)
        if trusted is None or trusted.until < self._clock.elapsed():
            trusted = await self._look_up(match[1], digest)
        if not trusted.key.usable(self._clock.now()):
            raise bad_key()
        return trusted.key

    async def _look_up(self, prefix: str, digest: str) -> _Trusted:
        endings = self._endings
        found = await self._database.read(lambda unit: keys.by_prefix(unit, prefix))
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise bad_key()
        if len(self._trusted) >= _REMEMBERED:
            self._trusted.clear()
        trusted = _Trusted(found.key, self._clock.elapsed() + _TRUST_SECONDS)
        if endings == self._endings:
            self._trusted[digest] = trusted
        return trusted

    async def ended(self, prefixes: Iterable[str]) -> frozenset[str]:
        """Those of the prefixes whose secrets open nothing now, whichever server process has seen to it."""

        def look(unit: Unit) -> frozenset[str]:
            locks = {prefix: keys.by_prefix(unit, prefix) for prefix in prefixes}
            now = self._clock.now()
            return frozenset(prefix for prefix, lock in locks.items() if lock is None or not lock.key.usable(now))

        return await self._database.read(look)

    async def create(self, new: adm.NewKey, created_by: str, *, by: Key | None = None) -> adm.CreatedKey:
        """Make a key; `created_by` is a key's id or `server`.

        Raises `Forbidden` if it would allow more, or last longer, than the key `by` that asks for it.
        """
        created = self._made(new, created_by)
        _check_within(created.key, by)
        await self._database.write(lambda unit: self._keep(unit, created))
        return created

    async def has_admin(self) -> bool:
        """True if there is a key that may make others."""
        return await self._database.read(lambda unit: keys.has_usable_admin(unit, self._clock.now()))

    async def bootstrap(self, secret: str | None = None) -> str | None:
        """Make the first key, which may do everything, unless there is one that can already. Returns its secret.

        `secret`: use this one. Raises ValueError if it is not of the right form, or was a key's that no longer can.
        """
        created = self._made(adm.NewKey(name="first admin key", scope=Scope(role=Role.ADMIN)), "server", secret)

        def work(unit: Unit) -> bool:
            keys.alone(unit)
            if keys.usable_admins(unit, self._clock.now()):
                return False
            if keys.by_prefix(unit, created.key.prefix) is not None:
                raise ValueError("it is the secret of a key that has ended or is no admin's; give a new one")
            self._keep(unit, created)
            return True

        return created.secret if await self._database.write(work) else None

    async def list(self) -> tuple[Key, ...]:
        """All keys, newest first, those that open nothing any more too."""
        return await self._database.read(keys.everyone)

    async def rotate(
        self, key_id: str, overlap: timedelta, rotated_by: str, *, by: Key | None = None
    ) -> adm.CreatedKey:
        """Give a key another secret. The present one opens for the overlap; one that it replaced opens no more.

        Raises `NotFound`, `Conflict` for a key that has ended, `Forbidden` if it allows more than the key `by`.
        """
        known("key", key_id)
        secret, now = new_secret(), self._clock.now()

        def work(unit: Unit) -> Key:
            key = keys.locked(unit, key_id)
            if key is None:
                raise not_found("key", key_id)
            _check_within(key, by)
            if not key.usable(now):
                raise Conflict("this key has ended; make another one", status="ended")
            keys.rotate(unit, key_id, secret[:_PREFIX_LENGTH], _digest(secret), now + overlap)
            self._tell(unit, EventKind.KEY_ROTATED, rotated_by, {"key_id": key_id, "overlap": overlap.total_seconds()})
            return keys.locked(unit, key_id) or key

        key = await self._database.write(work)
        self._forget(key_id, tell=not overlap)
        return adm.CreatedKey(key=key, secret=secret)

    async def revoke(self, key_id: str, revoked_by: str, *, by: Key | None = None) -> Key:
        """End a key; revoking it again changes nothing.

        Raises `NotFound`, `Conflict` for the last admin key that is good: nobody could make another; `Forbidden` if
        it allows more than the key `by`.
        """
        known("key", key_id)

        def work(unit: Unit) -> Key:
            there = keys.get(unit, key_id)
            if there is None:
                raise not_found("key", key_id)
            _check_within(there, by, lasting=False)
            if keys.usable_admins(unit, self._clock.now()) == (key_id,):
                raise Conflict("this is the last usable admin key; make another one first", status="last_admin_key")
            if keys.revoke(unit, key_id, self._clock.now()):
                self._tell(unit, EventKind.KEY_REVOKED, revoked_by, {"key_id": key_id})
            return keys.get(unit, key_id) or there

        key = await self._database.write(work)
        self._forget(key_id, tell=True)
        return key

    def _forget(self, key_id: str, *, tell: bool) -> None:
        self._endings += 1
        self._trusted = {digest: trusted for digest, trusted in self._trusted.items() if trusted.key.id != key_id}
        if tell:
            for each in self._when_ended:
                each(key_id)

    def _made(self, new: adm.NewKey, created_by: str, secret: str | None = None) -> adm.CreatedKey:
        now = self._clock.now()
        secret = secret or new_secret()
        match = _SECRET.fullmatch(secret)
        if match is None:
            raise ValueError("a key is av_, ten lower-case letters or digits, _, and 43 letters, digits, '-' or '_'")
        lasts = new.expires_in_seconds
        key = Key(
            id=new_id("key", now),
            name=new.name,
            prefix=match[1],
            scope=new.scope,
            created_at=now,
            created_by=created_by,
            expires_at=None if lasts is None else now + timedelta(seconds=lasts),
        )
        return adm.CreatedKey(key=key, secret=secret)

    def _keep(self, unit: Unit, created: adm.CreatedKey) -> None:
        key = created.key
        keys.insert(unit, key, _digest(created.secret))
        actor = key.created_by if key.created_by == "server" else f"key:{key.created_by}"
        data: dict[str, JsonValue] = {"key_id": key.id, "name": key.name, "role": key.scope.role.value}
        scope = key.scope.model_dump(mode="json", exclude={"role"})
        self._tell(unit, EventKind.KEY_CREATED, actor, data, scope)

    def _tell(
        self,
        unit: Unit,
        kind: EventKind,
        actor: str,
        data: dict[str, JsonValue],
        scope: dict[str, JsonValue] | None = None,
    ) -> None:
        """What happened to a key is an event, and an entry of its own in the audit log."""
        now = self._clock.now()
        events.write(unit, events.Fact(kind, now, actor, data=data))
        audit.append(unit, audit.Draft(AuditKind(kind.value), now, actor, {**data, **(scope or {})}))


def new_secret() -> str:
    """The secret of a key that is yet to be made."""
    prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(10))
    return f"av_{prefix}_{secrets.token_urlsafe(32)}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _check_within(key: Key, by: Key | None, *, lasting: bool = True) -> None:
    """Raises `Forbidden` if `key` allows more than the key `by` that wants it, or lasts longer."""
    if by is None:
        return
    if not key.scope.within(by.scope):
        raise Forbidden("this key would allow more than the key that asks for it", needs={"scope": "at least as wide"})
    if lasting and by.expires_at is not None and (key.expires_at is None or key.expires_at > by.expires_at):
        until = by.expires_at.isoformat()
        raise Forbidden(f"this key would last longer than the key that asks for it ({until})", needs={"expires": until})
