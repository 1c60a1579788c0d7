"""Keys: shown once, known by their digest, worth nothing from the moment in which they end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.domain.errors import Conflict, NotFound, Unauthenticated
from agentvine.domain.key import Role, Scope
from agentvine.server.keyring import KeyRing
from agentvine.store.engine import Database, open_database
from agentvine.testing.clock import ManualClock
from agentvine.wire import messages as m

NEW = m.NewKey(name="laptop", scope=Scope(role=Role.MEMBER))


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
    admin = m.NewKey(name="passing", scope=Scope(role=Role.ADMIN), expires_in_seconds=60.0)
    passing = await keyring.create(admin, "server")
    assert await keyring.bootstrap() is None
    clock.advance(61)
    assert not await keyring.has_admin()
    with pytest.raises(ValueError, match="ended"):
        await keyring.bootstrap(passing.secret)
    assert await keyring.bootstrap() is not None
    assert await keyring.has_admin()
