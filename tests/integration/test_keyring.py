"""Keys: shown once, known by their digest, worth nothing from the moment in which they end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import pytest

from agentvine.domain.errors import Conflict, Forbidden, NotFound, Unauthenticated
from agentvine.domain.key import Role, Scope
from agentvine.server.keyring import KeyRing
from agentvine.store.engine import Database, open_database
from agentvine.store.unit import Work
from agentvine.testing.clock import ManualClock
from agentvine.wire import administration as adm

T = TypeVar("T")
NEW = adm.NewKey(name="laptop", scope=Scope(role=Role.MEMBER))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keyring(database: Database, clock: ManualClock) -> KeyRing:
    return KeyRing(database, clock)


async def test_a_secret_opens_its_key(keyring: KeyRing) -> None:
    created = await keyring.create(NEW, "server")
    assert await keyring.identify(created.secret) == created.key
    assert created.secret.startswith(created.key.prefix + "_")
    assert len(created.secret) == 3 + 10 + 1 + 43


async def test_nothing_else_opens_it(keyring: KeyRing) -> None:
    secret = (await keyring.create(NEW, "server")).secret
    last = "A" if secret[-1] != "A" else "B"
    said = set()
    for wrong in (
        "",
        "x",
        secret[:-1],
        secret[:-1] + last,
        secret + "A",
        secret.upper(),
        "av_" + "0" * 54,
        secret + "\0",
    ):
        with pytest.raises(Unauthenticated) as refused:
            await keyring.identify(wrong)
        said.add(refused.value.message)
    assert len(said) == 1


async def test_a_revoked_key_opens_nothing_at_once(keyring: KeyRing) -> None:
    created = await keyring.create(NEW, "server")
    await keyring.identify(created.secret)
    await keyring.revoke(created.key.id, "server")
    with pytest.raises(Unauthenticated):
        await keyring.identify(created.secret)
    with pytest.raises(NotFound):
        await keyring.revoke("key_" + "0" * 26, "server")


async def test_another_server_learns_of_it_soon(keyring: KeyRing, database: Database, clock: ManualClock) -> None:
    other = KeyRing(database, clock)
    created = await keyring.create(NEW, "server")
    await other.identify(created.secret)
    await keyring.revoke(created.key.id, "server")
    clock.advance(6)
    with pytest.raises(Unauthenticated):
        await other.identify(created.secret)


async def test_an_expired_key_opens_nothing(keyring: KeyRing, clock: ManualClock) -> None:
    created = await keyring.create(NEW.model_copy(update={"expires_in_seconds": 60.0}), "server")
    await keyring.identify(created.secret)
    clock.advance(61)
    with pytest.raises(Unauthenticated):
        await keyring.identify(created.secret)


async def test_the_secret_is_not_kept(keyring: KeyRing, database_url: str, tmp_path: Path, database: Database) -> None:
    created = await keyring.create(NEW, "server")
    rows = await database.read(lambda unit: unit.all("SELECT * FROM keys") + unit.all("SELECT * FROM events"))
    assert created.secret.removeprefix(created.key.prefix) not in str(rows)


async def test_the_first_key_is_made_once(keyring: KeyRing) -> None:
    secret = await keyring.bootstrap()
    assert secret is not None
    assert (await keyring.identify(secret)).scope.role is Role.ADMIN
    assert await keyring.bootstrap() is None
    assert len(await keyring.list()) == 1


async def test_the_first_key_may_be_given(keyring: KeyRing) -> None:
    with pytest.raises(ValueError, match="av_"):
        await keyring.bootstrap("password")
    secret = f"av_{'0' * 10}_{'x' * 43}"
    assert await keyring.bootstrap(secret) == secret
    assert (await keyring.identify(secret)).scope.role is Role.ADMIN


async def test_the_last_admin_key_stays(keyring: KeyRing, clock: ManualClock) -> None:
    admin = NEW.model_copy(update={"scope": Scope(role=Role.ADMIN)})
    first = (await keyring.create(admin, "server")).key
    await keyring.create(NEW, "server")
    passing = (await keyring.create(admin.model_copy(update={"expires_in_seconds": 60.0}), "server")).key
    clock.advance(61)
    with pytest.raises(Conflict, match="last usable admin key"):
        await keyring.revoke(first.id, "server")
    await keyring.revoke(passing.id, "server")
    second = (await keyring.create(admin, "server")).key
    assert (await keyring.revoke(first.id, "server")).revoked_at is not None
    with pytest.raises(Conflict):
        await keyring.revoke(second.id, "server")


async def test_of_two_last_admin_keys_ended_at_once_one_stays(keyring: KeyRing) -> None:
    admin = NEW.model_copy(update={"scope": Scope(role=Role.ADMIN)})
    both = [(await keyring.create(admin, "server")).key.id for _ in range(2)]
    await asyncio.wait([asyncio.ensure_future(keyring.revoke(key_id, "server")) for key_id in both])
    assert [key.revoked_at is None for key in await keyring.list()].count(True) == 1


async def test_who_has_no_usable_admin_key_gets_one(keyring: KeyRing, clock: ManualClock) -> None:
    await keyring.create(NEW, "server")
    admin = adm.NewKey(name="passing", scope=Scope(role=Role.ADMIN), expires_in_seconds=60.0)
    passing = await keyring.create(admin, "server")
    assert await keyring.bootstrap() is None
    clock.advance(61)
    assert not await keyring.has_admin()
    with pytest.raises(ValueError, match="ended"):
        await keyring.bootstrap(passing.secret)
    assert await keyring.bootstrap() is not None
    assert await keyring.has_admin()


# ── rotation ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_both_secrets_open_until_the_overlap_is_over(keyring: KeyRing, clock: ManualClock) -> None:
    created = await keyring.create(NEW, "server")
    await keyring.identify(created.secret)
    rotated = await keyring.rotate(created.key.id, timedelta(seconds=60), "server")
    assert rotated.secret != created.secret
    former, present = await keyring.identify(created.secret), await keyring.identify(rotated.secret)
    assert former.id == present.id == created.key.id
    assert former.scope == present.scope == created.key.scope
    assert (former.expires_at, present.expires_at) == (clock.now() + timedelta(seconds=60), None)
    clock.advance(60)
    with pytest.raises(Unauthenticated):
        await keyring.identify(created.secret)
    assert (await keyring.identify(rotated.secret)).id == created.key.id


async def test_without_an_overlap_the_old_secret_ends_at_once(keyring: KeyRing) -> None:
    created = await keyring.create(NEW, "server")
    await keyring.identify(created.secret)
    ended: list[str] = []
    keyring.when_ended(ended.append)
    rotated = await keyring.rotate(created.key.id, timedelta(), "server")
    assert ended == [created.key.id]
    with pytest.raises(Unauthenticated):
        await keyring.identify(created.secret)
    await keyring.identify(rotated.secret)


async def test_rotated_twice_the_first_secret_ends(keyring: KeyRing) -> None:
    secrets = [(created := await keyring.create(NEW, "server")).secret]
    secrets += [(await keyring.rotate(created.key.id, timedelta(hours=1), "server")).secret for _ in range(2)]
    with pytest.raises(Unauthenticated):
        await keyring.identify(secrets[0])
    for secret in secrets[1:]:
        await keyring.identify(secret)


async def test_an_overlap_does_not_outlive_the_key(keyring: KeyRing, clock: ManualClock) -> None:
    created = await keyring.create(NEW.model_copy(update={"expires_in_seconds": 60.0}), "server")
    rotated = await keyring.rotate(created.key.id, timedelta(hours=1), "server")
    clock.advance(60)
    for secret in (created.secret, rotated.secret):
        with pytest.raises(Unauthenticated):
            await keyring.identify(secret)
    with pytest.raises(Conflict):
        await keyring.rotate(created.key.id, timedelta(hours=1), "server")


async def test_revoking_ends_both_secrets(keyring: KeyRing) -> None:
    created = await keyring.create(NEW, "server")
    rotated = await keyring.rotate(created.key.id, timedelta(hours=1), "server")
    await keyring.identify(created.secret)
    await keyring.revoke(created.key.id, "server")
    for secret in (created.secret, rotated.secret):
        with pytest.raises(Unauthenticated):
            await keyring.identify(secret)


async def test_an_admin_key_that_ends_makes_none_that_lasts_longer(keyring: KeyRing, clock: ManualClock) -> None:
    passing = adm.NewKey(name="passing", scope=Scope(role=Role.ADMIN), expires_in_seconds=60.0)
    admin = (await keyring.create(passing, "server")).key
    lasting = (await keyring.create(NEW, "server")).key
    for new in (NEW, NEW.model_copy(update={"expires_in_seconds": 61.0})):
        with pytest.raises(Forbidden, match="last longer"):
            await keyring.create(new, admin.id, by=admin)
    with pytest.raises(Forbidden, match="last longer"):
        await keyring.rotate(lasting.id, timedelta(), "server", by=admin)
    await keyring.create(NEW.model_copy(update={"expires_in_seconds": 60.0}), admin.id, by=admin)
    await keyring.revoke(lasting.id, "server", by=admin)


class SlowToAnswer:
    """A database whose answers to a read come when the test says so."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.has_read, self.answers = asyncio.Event(), asyncio.Event()

    async def read(self, work: Work[T]) -> T:
        found = await self._database.read(work)
        self.has_read.set()
        await self.answers.wait()
        return found

    async def write(self, work: Work[T]) -> T:
        return await self._database.write(work)


async def test_a_key_that_is_looked_up_while_it_is_revoked_is_not_trusted_on(
    database: Database, clock: ManualClock
) -> None:
    slow = SlowToAnswer(database)
    keyring = KeyRing(cast("Database", slow), clock)
    created = await keyring.create(NEW, "server")
    looking = asyncio.create_task(keyring.identify(created.secret))
    await slow.has_read.wait()
    await keyring.revoke(created.key.id, "server")
    slow.answers.set()
    await asyncio.wait([looking])
    with pytest.raises(Unauthenticated):
        await keyring.identify(created.secret)
