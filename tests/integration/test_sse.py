"""The stream of events loses nothing and repeats nothing, whatever happens to its connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
from httpx_sse import aconnect_sse

from agentvine.client.admin import HTTPFrontDesk
from agentvine.client.event_stream import EventStream
from agentvine.domain.errors import Forbidden, Unavailable
from agentvine.domain.event import Event, EventKind
from agentvine.domain.key import Role, Scope
from agentvine.domain.task import NewTask, Task
from agentvine.domain.worker_types import TaskType
from agentvine.server.api import events as api_events
from agentvine.server.waits import Waits
from agentvine.testing.eventually import eventually
from agentvine.testing.http import HttpSite, api, http_site, new_key, served, server_on
from agentvine.testing.proxy import Proxy
from agentvine.wire import routes

TASK = NewTask(type=TaskType.DOCS, title="x", repository="https://host/owner/name.git", branch="main")
VIEWER = Scope(role=Role.VIEWER)
EVENTS = routes.EVENTS.url()


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[HttpSite]:
    async with http_site(sqlite_url, tmp_path) as site:
        yield site


async def submitted(desk: HTTPFrontDesk, number: int) -> list[Task]:
    return [await desk.submit(TASK) for _ in range(number)]


def has_seen(events: list[Event], submissions: int) -> bool:
    return sum(event.kind is EventKind.TASK_SUBMITTED for event in events) == submissions


async def first(number: int, stream: AsyncIterator[Event]) -> list[Event]:
    """So many events of a stream."""
    async with asyncio.timeout(60), aclosing(stream) as events:  # type: ignore[type-var]  # they are generators
        found: list[Event] = []
        async for event in events:
            found.append(event)
            if len(found) == number:
                return found
    raise AssertionError("the stream ended")


async def raw(http: httpx.AsyncClient, number: int, last_id: str | None) -> list[tuple[str, str]]:
    """(id, kind) of so many messages, read as any browser would."""
    headers = {"Last-Event-ID": last_id} if last_id is not None else {}
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(60), aconnect_sse(http, "GET", EVENTS, headers=headers) as source:
        async for message in source.aiter_sse():
            if message.data:
                found.append((message.id, message.event))
            if len(found) == number:
                break
    return found


async def test_events_come_in_order_first_the_old_ones_then_the_new(site: HttpSite) -> None:
    desk = await site.front_desk()
    before = await submitted(desk, 3)
    reading = asyncio.create_task(first(7, desk.events(after=0)))
    after = await submitted(desk, 3)
    events = await reading
    assert [event.seq for event in events] == sorted(event.seq for event in events)
    told = [event.task_id for event in events if event.kind is EventKind.TASK_SUBMITTED]
    assert told == [task.id for task in before + after]


async def test_a_reader_goes_on_where_it_stopped(site: HttpSite) -> None:
    desk = await site.front_desk()
    await submitted(desk, 5)
    async with api(site.url, await site.site.secret(VIEWER)) as viewer:
        whole = await raw(viewer.http, 7, "0")  # two keys, five tasks
        assert await raw(viewer.http, 2, "0") == whole[:2]
        assert await raw(viewer.http, 5, whole[1][0]) == whole[2:]
        assert int(whole[-1][0]) == await site.services.latest_event()


async def test_a_reader_of_what_is_to_come_misses_nothing_while_it_is_cut_off(site: HttpSite) -> None:
    desk = await site.front_desk()
    await submitted(desk, 2)
    async with (
        Proxy(int(site.url.rpartition(":")[2])) as proxy,
        api(proxy.url, await site.site.secret(VIEWER), patience=30) as viewer,
    ):
        stream = EventStream(viewer, None, None)
        reading = asyncio.create_task(first(2, stream.events()))
        await eventually(lambda: stream.position is not None)  # from here on nothing may be missed
        await proxy.cut()
        await eventually(lambda: not len(site.services.waits))
        missed = await desk.submit(TASK)
        proxy.mend()
        await eventually(lambda: len(site.services.waits) == 1)
        seen = await desk.submit(TASK)
        assert [event.task_id for event in await reading] == [missed.id, seen.id]


async def test_a_reader_of_one_task_sees_only_that_one(site: HttpSite) -> None:
    desk = await site.front_desk()
    _, wanted, _ = await submitted(desk, 3)
    reading = asyncio.create_task(first(2, desk.events(after=0, task_id=wanted.id)))
    await submitted(desk, 1)
    await desk.cancel(wanted.id)
    assert [event.kind for event in await reading] == [EventKind.TASK_SUBMITTED, EventKind.ORDER_CANCELLED]


async def test_a_reader_survives_restarts_of_the_server(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url:
        port = int(url.rpartition(":")[2])
    seen: list[Event] = []
    async with api(url, patience=30) as client:
        desk = HTTPFrontDesk(client)

        async def read() -> None:
            async for event in desk.events(after=0):
                seen.append(event)  # noqa: PERF401  the list is looked at meanwhile

        reading = asyncio.create_task(read())
        for submissions in (4, 8, 12):
            async with server_on(tmp_path, port=port):
                await submitted(desk, 4)
                await eventually(partial(has_seen, seen, submissions))
        reading.cancel()
        await asyncio.wait([reading])
    numbers = [event.seq for event in seen]
    assert numbers == sorted(set(numbers))


async def test_a_stream_ends_with_its_reader(site: HttpSite) -> None:
    desk = await site.front_desk()
    reading = asyncio.create_task(first(1, desk.events()))
    await eventually(lambda: len(site.services.waits) == 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await eventually(lambda: not len(site.services.waits))


async def test_what_is_refused_is_not_asked_again(site: HttpSite) -> None:
    client = (await site.worker_plane())._api
    asked: list[str] = []

    async def note(request: httpx.Request) -> None:
        asked.append(request.url.path)

    client.http.event_hooks = {"request": [note]}
    with pytest.raises(Forbidden):
        await first(1, HTTPFrontDesk(client).events())
    assert asked == [routes.EVENTS.full]


async def test_a_server_that_is_gone_for_longer_than_the_patience_is_unavailable(tmp_path: Path) -> None:
    async with server_on(tmp_path) as url:
        viewer = await new_key(url, Role.VIEWER)
    async with api(url, viewer, patience=0.05) as client:
        with pytest.raises(Unavailable):
            await first(1, HTTPFrontDesk(client).events())


async def test_a_quiet_stream_shows_that_it_lives() -> None:
    waits = Waits()

    async def silence() -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield Event(seq=1, at=datetime(2026, 1, 1, tzinfo=UTC), kind=EventKind.TASK_SUBMITTED)

    stream = api_events.EventStream(silence(), 41, waits, keep_alive=0.01)
    async with served(stream, waits) as url, api(url) as client, client.http.stream("GET", EVENTS) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert [await anext(lines) for _ in range(3)] == ["id: 41", "", ": still here"]
