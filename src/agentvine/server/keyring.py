"""API keys: made, known again, revoked.

A secret is `av_<10 characters>_<43 characters>`. The first part is public and finds the key; the whole is random, so
its SHA-256 is all that has to be kept of it.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass
from datetime import timedelta

from agentvine.domain.errors import Conflict
from agentvine.domain.event import EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key, Role, Scope
from agentvine.kit.clock import Clock
from agentvine.server.permits import bad_key, known, not_found
from agentvine.store import events, keys
from agentvine.store.database import Database
from agentvine.store.unit import Unit
from agentvine.wire import messages as m

_SECRET = re.compile(r"(av_[0-9a-z]{10})_[0-9A-Za-z_-]{43}")
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

    async def identify(self, secret: str) -> Key:
        """The key that `secret` opens. Raises `Unauthenticated`, which never says what was wrong with it."""
        match = _SECRET.fullmatch(secret)
        if match is None:
            raise bad_key()
        digest = hashlib.sha256(secret.encode()).hexdigest()
        trusted = self._trusted.get(digest)
        if trusted is None or trusted.until < self._clock.elapsed():
            trusted = await self._look_up(match[1], digest)
        if not trusted.key.usable(self._clock.now()):
            raise bad_key()
        return trusted.key

    async def _look_up(self, prefix: str, digest: str) -> _Trusted:
        found = await self._database.read(lambda unit: keys.by_prefix(unit, prefix))
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise bad_key()
        if len(self._trusted) >= _REMEMBERED:
            self._trusted.clear()
        trusted = _Trusted(found.key, self._clock.elapsed() + _TRUST_SECONDS)
        self._trusted[digest] = trusted
        return trusted

    async def create(self, new: m.NewKey, created_by: str) -> m.CreatedKey:
        """Make a key; `created_by` is a key's id or `server`."""
        created = self._made(new, created_by)
        await self._database.write(lambda unit: self._keep(unit, created))
        return created

    async def has_admin(self) -> bool:
        """True if there is a key that may make others."""
        return bool(await self._database.write(lambda unit: keys.usable_admins(unit, self._clock.now())))

    async def bootstrap(self, secret: str | None = None) -> str | None:
        """Make the first key, which may do everything, unless there is one that can already. Returns its secret.

        `secret`: use this one. Raises ValueError if it is not of the right form, or was a key's that no longer can.
        """
        created = self._made(m.NewKey(name="first admin key", scope=Scope(role=Role.ADMIN)), "server", secret)

        def work(unit: Unit) -> bool:
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

    async def revoke(self, key_id: str, revoked_by: str) -> Key:
        """End a key; revoking it again changes nothing.

        Raises `NotFound`, `Conflict` for the last admin key that is good: nobody could make another.
        """
        known("key", key_id)

        def work(unit: Unit) -> Key:
            if keys.usable_admins(unit, self._clock.now()) == (key_id,):
                raise Conflict("this is the last usable admin key; make another one first", status="last_admin_key")
            if keys.revoke(unit, key_id, self._clock.now()):
                fact = events.Fact(EventKind.KEY_REVOKED, self._clock.now(), revoked_by, data={"key_id": key_id})
                events.write(unit, fact)
            key = keys.get(unit, key_id)
            if key is None:
                raise not_found("key", key_id)
            return key

        key = await self._database.write(work)
        self._trusted = {digest: trusted for digest, trusted in self._trusted.items() if trusted.key.id != key_id}
        return key

    def _made(self, new: m.NewKey, created_by: str, secret: str | None = None) -> m.CreatedKey:
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
        return m.CreatedKey(key=key, secret=secret)

    def _keep(self, unit: Unit, created: m.CreatedKey) -> None:
        key = created.key
        keys.insert(unit, key, hashlib.sha256(created.secret.encode()).hexdigest())
        actor = key.created_by if key.created_by == "server" else f"key:{key.created_by}"
        data = {"key_id": key.id, "name": key.name, "role": key.scope.role.value}
        events.write(unit, events.Fact(EventKind.KEY_CREATED, self._clock.now(), actor, data=data))


def new_secret() -> str:
    """The secret of a key that is yet to be made."""
    prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(10))
    return f"av_{prefix}_{secrets.token_urlsafe(32)}"
