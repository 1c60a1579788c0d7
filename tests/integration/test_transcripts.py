"""A conversation on its way to a real server, and back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.domain.errors import InvalidInput, Unavailable
from agentvine.domain.ids import new_id
from agentvine.domain.task import NewTask
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.store.migrate import migrate
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.control_plane import ControlPlane
from agentvine.worker.agent.base import Entry
from agentvine.worker.agent.sessions import GAP, SessionTranscript, recording

SECRET = "a-model-key-of-some-length"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[InProcessSite]:
    url = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(migrate, url)
    async with in_process_site(url, tmp_path) as site:
        yield site


@pytest.fixture
async def plane(site: InProcessSite) -> ControlPlane:
    return await site.worker_plane()


@pytest.fixture
async def claimed(site: InProcessSite, plane: ControlPlane) -> m.Claimed:
    return await claim(site, plane)


async def claim(site: InProcessSite, plane: ControlPlane) -> m.Claimed:
    desk = await site.front_desk()
    fields = {"type": "docs", "title": "Write", "repository": "https://example.org/a.git", "branch": "main"}
    await desk.submit(NewTask.model_validate(fields))
    await plane.register(m.Registration(id="wrk_1", name="one", worker_type=TaskType.DOCS, version="1"))
    execution = new_id("exe", SystemClock().now())
    claimed = await plane.claim(m.ClaimRequest(worker_id="wrk_1", execution_id=execution))
    assert claimed is not None
    return claimed


class Troubled:
    """The real control plane behind a line that fails for a while."""

    def __init__(self, plane: ControlPlane, *errors: Exception) -> None:
        self._plane = plane
        self._errors = list(errors)
        self.working = asyncio.Event()
        self.working.set()

    async def add_transcript(self, execution_id: str, batch: m.TranscriptBatch) -> None:
        await self.working.wait()
        if self._errors:
            raise self._errors.pop(0)
        await self._plane.add_transcript(execution_id, batch)

    def __getattr__(self, name: str) -> object:
        return getattr(self._plane, name)


def numbered(count: int, first: int = 0) -> list[Entry]:
    return [{"type": "user", "number": number} for number in range(first, first + count)]


async def on_server(plane: ControlPlane, claimed: m.Claimed) -> list[Entry]:
    entries: list[Entry] = []
    while page := (await plane.transcript(claimed.lease.execution_id, len(entries))).entries:
        entries += page
    return entries


async def test_entries_reach_the_server_in_order_while_they_happen(plane: ControlPlane, claimed: m.Claimed) -> None:
    async with recording(plane, claimed.lease.execution_id, claimed.lease.token) as transcript:
        await transcript.append(numbered(2500))
        assert await transcript.flush()
        assert await on_server(plane, claimed) == numbered(2500)
        await transcript.append(numbered(3, 2500))
    assert await on_server(plane, claimed) == numbered(2503)
    assert list(await transcript.load()) == numbered(2503)


async def test_what_must_not_be_told_is_not_sent(plane: ControlPlane, claimed: m.Claimed) -> None:
    entry: Entry = {
        "type": "user",
        "deep": [{"text": f"key {SECRET} and sk-ant-other-key-12345 \ud800", SECRET: 1}],
    }
    async with recording(plane, claimed.lease.execution_id, claimed.lease.token, [SECRET, ""]) as transcript:
        await transcript.append([entry])
    (kept,) = await on_server(plane, claimed)
    assert SECRET not in str(kept)
    assert "sk-ant-other" not in str(kept)
    assert "key [redacted] and [redacted] ?" in str(kept)


async def test_a_server_that_is_away_holds_nobody_up_and_loses_nothing(plane: ControlPlane, claimed: m.Claimed) -> None:
    troubled = Troubled(plane, *[Unavailable("restarting")] * 3)
    troubled.working.clear()
    lease = claimed.lease
    async with recording(troubled, lease.execution_id, lease.token) as transcript:  # type: ignore[arg-type]
        await transcript.append(numbered(10))
        assert not await transcript.flush(0.05)
        troubled.working.set()
    assert await on_server(plane, claimed) == numbered(10)


async def test_an_entry_that_is_too_large_is_shortened(plane: ControlPlane, claimed: m.Claimed) -> None:
    async with recording(plane, claimed.lease.execution_id, claimed.lease.token) as transcript:
        await transcript.append([{"type": "user", "text": "x" * 5_000_000}])
    (kept,) = await on_server(plane, claimed)
    assert str(kept["text"]).endswith("[4900000 characters left out]")


async def test_where_too_much_waits_a_gap_is_told(plane: ControlPlane, claimed: m.Claimed) -> None:
    troubled = Troubled(plane)
    lease = claimed.lease
    wide = "\x01" * 15_000  # six bytes each as JSON: much to hold back, and little to look through for secrets
    large: list[Entry] = [{"type": "user", "parts": [wide] * 20}] * 40
    async with recording(troubled, lease.execution_id, lease.token) as transcript:  # type: ignore[arg-type]
        await transcript.append(numbered(5))
        assert await transcript.flush()
        troubled.working.clear()
        await transcript.append(large)
        await transcript.append(numbered(1, 100))
        troubled.working.set()
    stored = await on_server(plane, claimed)
    assert stored[:5] == numbered(5)
    assert stored[-1] == numbered(1, 100)[0]
    assert GAP in {entry["type"] for entry in stored}
    assert len(await transcript.load()) == 46  # here nothing is missing
    later = SessionTranscript(plane, lease.execution_id, lease.token)
    assert not await later.adopt(lease.execution_id)


async def test_what_the_server_refuses_is_given_up(plane: ControlPlane, claimed: m.Claimed) -> None:
    troubled = Troubled(plane, InvalidInput("no"))
    lease = claimed.lease
    async with recording(troubled, lease.execution_id, lease.token) as transcript:  # type: ignore[arg-type]
        await transcript.append(numbered(1))
        assert not await transcript.flush(5)
    assert await on_server(plane, claimed) == []
    assert list(await transcript.load()) == numbered(1)


async def test_a_lost_order_ends_it(site: InProcessSite, plane: ControlPlane, claimed: m.Claimed) -> None:
    async with recording(plane, claimed.lease.execution_id, claimed.lease.token) as transcript:
        await site.pass_time(300)
        await transcript.append(numbered(1))
        assert not await transcript.flush(5)


async def test_an_earlier_conversation_is_taken_over_whole(
    site: InProcessSite, plane: ControlPlane, claimed: m.Claimed
) -> None:
    async with recording(plane, claimed.lease.execution_id, claimed.lease.token) as transcript:
        await transcript.append(numbered(2100))
    await plane.release(claimed.order.id, m.Surrender(token=claimed.lease.token))
    await site.pass_time(60)
    execution = new_id("exe", SystemClock().now())
    second = await plane.claim(m.ClaimRequest(worker_id="wrk_1", execution_id=execution))
    assert second is not None
    async with recording(plane, execution, second.lease.token) as transcript:
        assert await transcript.adopt(claimed.lease.execution_id)
        assert list(await transcript.load()) == numbered(2100)
        await transcript.append(numbered(1, 2100))
    assert await on_server(plane, second) == numbered(2101)
    assert not await SessionTranscript(plane, execution, 1).adopt("exe_" + "0" * 26)


async def test_an_error_within_comes_out_as_it_is(plane: ControlPlane, claimed: m.Claimed) -> None:
    with pytest.raises(ZeroDivisionError):
        async with recording(plane, claimed.lease.execution_id, claimed.lease.token):
            raise ZeroDivisionError
