"""Whoever waits with a key that ends is sent away: at once by the server that ends it, within seconds by the others."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from agentvine.client.admin import HTTPFrontDesk
from agentvine.domain.errors import Unauthenticated
from agentvine.domain.key import Key, Role, Scope
from agentvine.server import expulsion
from agentvine.testing.cast import Hand, registration
from agentvine.testing.eventually import eventually
from agentvine.testing.http import HttpSite, api, http_site, new_key, server_on
from agentvine.wire import administration as adm
from agentvine.wire import routes

VIEWER = Scope(role=Role.VIEWER)


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[HttpSite]:
    async with http_site(database_url, tmp_path) as site:
        yield site


async def watching(site: HttpSite, secret: str, opened: asyncio.Event, ended: asyncio.Event) -> None:
    """Read events until the server ends the stream."""
    async with api(site.url, secret) as viewer, viewer.http.stream("GET", routes.EVENTS.url()) as stream:
        assert stream.status_code == 200
        opened.set()
        async for _ in stream.aiter_bytes():
            pass
        ended.set()


async def waiters(site: HttpSite, secret: str) -> tuple[asyncio.Event, "asyncio.Task[None]"]:
    """A stream of events with this key, open."""
    opened, ended = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(watching(site, secret, opened, ended))
    await eventually(lambda: opened.is_set() or task.done())
    if task.done():
        task.result()
    return ended, task


async def made(site: HttpSite, **more: object) -> tuple[Key, str]:
    wanted = adm.NewKey.model_validate({"name": "x", "scope": VIEWER, **more})
    created = await site.site.keyring.create(wanted, "server")
    return created.key, created.secret


async def test_a_stream_and_a_long_poll_end_with_their_key(site: HttpSite) -> None:
    desk = await site.front_desk()
    key, secret = await made(site)
    ended, reading = await waiters(site, secret)
    other, others = await waiters(site, (await made(site))[1])
    (plane,) = await site.worker_planes(1)
    await plane.register(registration("wrk_one"))
    claiming = asyncio.ensure_future(plane.claim(Hand(site, plane, "wrk_one").claim_request(wait_seconds=50)))
    await eventually(lambda: len(site.services.waits) >= 3)
    worker = next(one for one in await desk.keys() if one.scope.role is Role.WORKER)
    async with asyncio.timeout(40):
        await desk.revoke_key(worker.id)
        with pytest.raises(Unauthenticated):
            await claiming
        await desk.revoke_key(key.id)
        await reading
    assert ended.is_set()
    assert not other.is_set(), "others read on"
    others.cancel()


async def test_a_secret_that_is_replaced_without_overlap_ends_its_waits(site: HttpSite) -> None:
    key, secret = await made(site)
    ended, reading = await waiters(site, secret)
    desk = await site.front_desk()
    async with asyncio.timeout(40):
        await desk.rotate_key(key.id)
        await reading
    assert ended.is_set()


async def test_a_wait_ends_with_the_overlap_and_one_with_the_new_secret_goes_on(site: HttpSite) -> None:
    key, secret = await made(site)
    old, reading = await waiters(site, secret)
    desk = await site.front_desk()
    rotated = await desk.rotate_key(key.id, adm.Rotation(overlap_seconds=60))
    new, going_on = await waiters(site, rotated.secret)
    await site.services.expulsion.look()
    assert not old.is_set()
    site.clock.advance(61)
    await site.services.expulsion.look()
    async with asyncio.timeout(40):
        await reading
    assert not new.is_set()
    going_on.cancel()


async def test_a_wait_ends_when_its_key_expires(site: HttpSite) -> None:
    _, secret = await made(site, expires_in_seconds=60.0)
    ended, reading = await waiters(site, secret)
    await site.services.expulsion.look()
    assert not ended.is_set()
    site.clock.advance(61)
    await site.services.expulsion.look()
    async with asyncio.timeout(40):
        await reading


async def test_another_server_hears_of_it(site: HttpSite, database_url: str, tmp_path: Path) -> None:
    async with http_site(database_url, tmp_path / "b") as other:
        key, secret = await made(other)
        ended, reading = await waiters(site, secret)
        await other.site.keyring.revoke(key.id, "server")
        assert not ended.is_set()
        await site.services.expulsion.look()
        async with asyncio.timeout(40):
            await reading


async def test_a_server_looks_by_itself(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url:
        async with api(url) as admin:
            desk = HTTPFrontDesk(admin)
            new = adm.NewKey(name="x", scope=VIEWER, expires_in_seconds=3600.0)
            secret = (await desk.create_key(new)).secret
            async with (
                asyncio.timeout(expulsion.LOOK_SECONDS + 60),
                api(url, secret) as viewer,
                viewer.http.stream("GET", routes.EVENTS.url()) as stream,
            ):
                assert stream.status_code == 200
                with closing(sqlite3.connect(tmp_path / "agentvine.db", timeout=30)) as database, database:
                    over = "UPDATE keys SET expires_at = 1 WHERE expires_at IS NOT NULL"
                    assert database.execute(over).rowcount == 1
                async for _ in stream.aiter_bytes():
                    pass
        assert await new_key(url, Role.VIEWER), "the server goes on"
