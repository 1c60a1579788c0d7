"""Copies of everything: whole, checked before they are put back, and harmless to whoever still works."""

import asyncio
import io
import json
import shutil
import sqlite3
import sys
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from agentvine.domain.errand import LookForWork
from agentvine.domain.execution import Delivery
from agentvine.domain.forge import IssueSeen
from agentvine.domain.precedent import Remember
from agentvine.domain.repository_settings import IntakeRules, NewCredential, RepositorySettings
from agentvine.domain.work_order import OrderStatus
from agentvine.kit.clock import SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.process import run
from agentvine.server.backup import Copied, back_up, export, restore, take_in
from agentvine.server.schema import go_back, look
from agentvine.server.settings import ServerSettings
from agentvine.store import plain, readers
from agentvine.store.archive import ArchiveError
from agentvine.testing.cast import HEAD, REPOSITORY, Hand, a_task, a_worker
from agentvine.testing.clock import ManualClock
from agentvine.testing.databases import PostgresqlServer, sqlite_database
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.wire.administration import NewRepository
from agentvine.worker.sandbox.host import find_bubblewrap
from tests.integration.town import running_town

TOKEN = "forge-token-0123456789"
SECRET_FILES = {"signing.key": b"a private key", "keys.json": b"{}", "first-key": b"av_1\n"}


@dataclass
class Lived:
    """A server's place with something in every table, and what is running there."""

    settings: ServerSettings
    site: InProcessSite
    worker: Hand
    running: m.Claimed
    done: m.Claimed


@asynccontextmanager
async def lived(url: str, data: Path) -> AsyncIterator[Lived]:
    for name, content in SECRET_FILES.items():
        (data / name).write_bytes(content)
    policy = data.parent / "rules.toml"
    policy.write_text("")
    settings = ServerSettings.load({}, data_dir=data, database_url=url, policy=policy)
    async with in_process_site(url, data, clock=ManualClock(SystemClock().now())) as site:
        desk, worker = await site.front_desk(), await a_worker(site)
        intake = IntakeRules(label="agent")
        said = RepositorySettings(repository=REPOSITORY, default_branch="main", intake=intake)
        kept = NewCredential.model_validate({"token": TOKEN})
        added = await desk.add_repository(NewRepository(settings=said, credential=kept, webhook=True))
        await an_issue_came_in(site, added.repository.id)
        first = await desk.submit(a_task("first"), idempotency_key="once")
        await desk.comment(first.id, m.NewComment(text="mind the\u2028gap \N{SNOWMAN}"))
        parked = await worker.take_and_start()
        asked = await worker.park(parked, worker.question(parked))
        await desk.respond(asked.id, m.Reply(verdict="answer", message="this one", remember=Remember()))
        done = await worker.take_and_start()
        await worker.say(done, 0, "hello", "\N{SNOWMAN}")
        await worker.store_result(done)
        await worker.complete(done, Delivery(kind="pull_request", branch="agentvine/test/1", new_sha=HEAD), cost=0.125)
        await desk.submit(a_task("second", needs=(first.id,)))
        running = await worker.take_and_start()
        hold = readers.Hold("webhook", "server", site.clock.now() + timedelta(seconds=60))
        await site.database.write(lambda unit: readers.take(unit, hold, site.clock.now()))
        await site.reaper.sweep()
        await site.desk.trail.seal(everything=True)
        yield Lived(settings, site, worker, running, done)


async def an_issue_came_in(site: InProcessSite, repository_id: str) -> None:
    issue = IssueSeen(number=1, url="", title="a task", body="", author="ann", at=site.clock.now(), labels=("agent",))
    look = LookForWork(repository=REPOSITORY, label="agent", since=site.clock.now())
    await site.database.write(lambda unit: site.control.intake.seen(unit, repository_id, look, (issue,)))


def place(url: str, data: Path) -> ServerSettings:
    return ServerSettings.load({}, data_dir=data, database_url=url)


def everything(url: str) -> Mapping[str, list[bytes]]:
    with plain.snapshot(url) as there:
        return {table: list(there.rows(table)) for table in there.tables}


def untouched(before: Mapping[str, list[bytes]], after: Mapping[str, list[bytes]], *but: str) -> None:
    """Each table has all the rows that it had; only those of `but` may have other ones."""
    assert before.keys() == after.keys()
    assert [name for name in before if name not in but and before[name] != after[name]] == []


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
async def test_an_export_moves_everything_to_either_database(
    database_url: str, postgresql: PostgresqlServer, tmp_path: Path, to: str
) -> None:
    data, there, target = tmp_path / "old", tmp_path / "new", tmp_path / "copies" / "all.tar.gz"
    if database_url.startswith("sqlite"):
        database_url = sqlite_database(data)
    data.mkdir(exist_ok=True)
    url = f"sqlite:///{there / 'agentvine.db'}" if to == "sqlite" else postgresql.empty_database()
    async with lived(database_url, data) as before:
        written = await asyncio.to_thread(export, before.settings, target)
        rows = await asyncio.to_thread(everything, database_url)
    assert [name for name, count in written.rows.items() if not count and name != "model_limits"] == []
    assert (target.stat().st_mode & 0o777, written.missing_artifacts) == (0o600, ())
    moved = await asyncio.to_thread(take_in, place(url, there), target)
    assert (moved.given_back, moved.artifacts, moved.rows) == (1, written.artifacts, written.rows)
    with tarfile.open(target) as tar:
        assert not any(TOKEN.encode() in tar.extractfile(one).read() for one in tar.getmembers())  # type: ignore[union-attr]
    untouched(rows, everything(url), "work_orders", "executions", "workers", "events")
    assert {name: (there / name).read_bytes() for name in SECRET_FILES} == SECRET_FILES
    assert (there / "policy.toml").exists()
    await goes_on(before, url, there)


async def goes_on(before: Lived, url: str, data: Path) -> None:
    """Where it was put, the work goes on: nothing is charged, nobody of before is believed, the log holds."""
    async with in_process_site(url, data, clock=ManualClock(SystemClock().now())) as site:
        desk, worker = await site.front_desk(), await a_worker(site, "wrk_two")
        order = await desk.work_order(before.running.order.id)
        assert (order.status, order.charged, order.lease) == (OrderStatus.PENDING, 0, None)
        again = await worker.take_and_start()
        assert again.order.id == order.id
        assert again.lease.token > before.running.lease.token + 1000
        late = m.LeaseRef(work_order_id=order.id, token=before.running.lease.token)
        reply = await worker.plane.renew(m.Renewal(worker_id=worker.id, leases=(late,)))
        assert [lease.status for lease in reply.leases] == ["lost"]
        checked = await desk.verify_audit()
        assert (checked.broken_at, checked.entries > 0) == (None, True)
        assert await desk.diff(before.done.lease.execution_id) == "+ naïve\n"


async def test_a_backup_is_made_while_the_server_runs_and_put_back(tmp_path: Path) -> None:
    """On the command line, as people do it; the server's process writes meanwhile."""
    async with running_town(tmp_path) as town:
        await town.submitted()
        claimed = await town.working()
        await town.result(claimed)
        data = town.where / "data"
        told = await town.json("backup", "monday.tar", "--data", str(data))
        await town.submitted(title="too late for the backup")
        copied = Copied.model_validate(told)
        assert (copied.rows["tasks"], copied.files) == (1, ("first-key", "signing.key"))
        assert "exists already" in await town.refused("backup", "monday.tar", "--data", str(data))
        assert "is not empty" in await town.refused("restore", "monday.tar", "--data", str(data))
        checked = await town.ok("restore", "monday.tar", "--check")
        assert "can be taken" in checked
        assert "1 orders that ran" in await town.ok("restore", "monday.tar", "--data", "again")
        assert "agentvine restore" in await town.refused("import", "monday.tar", "--data", "third")
        assert not (town.where / "third").exists()
        key = (data / "first-key").read_text()
    assert (tmp_path / "again" / "first-key").read_text() == key
    assert (tmp_path / "again" / "signing.key").stat().st_mode & 0o777 == 0o600
    await goes_on_in(tmp_path / "again", claimed)


async def goes_on_in(data: Path, claimed: m.Claimed) -> None:
    async with in_process_site(f"sqlite:///{data / 'agentvine.db'}", data) as site:
        desk = await site.front_desk()
        order = await desk.work_order(claimed.order.id)
        assert (order.status, order.charged) == (OrderStatus.PENDING, 0)
        assert await desk.diff(claimed.lease.execution_id)
        assert (await desk.verify_audit()).broken_at is None


def _cut(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 2 // 3])


def _changed(archive: Path) -> None:
    content = archive.read_bytes()
    at = content.index(b"the commits")
    archive.write_bytes(content[:at] + b"THE" + content[at + 3 :])


def _rewritten(archive: Path, **other: object) -> None:
    """As if another program had written it: the manifest says something else."""
    written = archive.rename(archive.with_name("as-written"))
    with tarfile.open(written) as source, tarfile.open(archive, "w") as target:
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            file = source.extractfile(member)
            content = file.read() if file is not None else b""
            if member.name == "manifest.json":
                content = json.dumps(json.loads(content) | other).encode()
                member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    written.unlink()


def _newer(archive: Path) -> None:
    _rewritten(archive, revision="9999", agentvine="9.9")


def _of_a_newer_layout(archive: Path) -> None:
    _rewritten(archive, version=2, format="something else")


def _lacking(archive: Path) -> None:
    _rewritten(archive, files={})


def _outside(archive: Path) -> None:
    with tarfile.open(archive, "a") as tar:
        tar.add(__file__, "../outside")


def _no_archive(archive: Path) -> None:
    archive.write_text("hello")


DAMAGE: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (_cut, "is damaged"),
    "changed": (_changed, "is not what was written"),
    "newer schema": (_newer, "install AgentVine 9.9"),
    "newer layout": (_of_a_newer_layout, "install the version that made it"),
    "more than its manifest names": (_lacking, "does not belong to it"),
    "a file elsewhere": (_outside, "'../outside' does not belong to it"),
    "something else": (_no_archive, "it is none"),
}


@pytest.fixture
async def two(tmp_path: Path) -> tuple[Path, Path]:
    """A backup and an export of one server."""
    data = tmp_path / "old"
    async with lived(sqlite_database(data), data) as before:
        await asyncio.to_thread(back_up, before.settings, tmp_path / "backup.tar")
        await asyncio.to_thread(export, before.settings, tmp_path / "export.tar")
    return tmp_path / "backup.tar", tmp_path / "export.tar"


async def test_what_is_damaged_or_newer_is_refused_and_nothing_changes(two: tuple[Path, Path], tmp_path: Path) -> None:
    data = tmp_path / "new"
    settings = place(f"sqlite:///{data / 'agentvine.db'}", data)
    present = {*tmp_path.iterdir()}
    for name, (damage, why) in DAMAGE.items():
        for kind, put in zip(two, (restore, take_in), strict=True):
            spoilt = tmp_path / "spoilt.tar"
            shutil.copyfile(kind, spoilt)
            damage(spoilt)
            with pytest.raises(ArchiveError) as raised:
                await asyncio.to_thread(put, settings, spoilt)
            assert why in str(raised.value), name
            spoilt.unlink()
            assert {*tmp_path.iterdir()} == present, name


async def test_what_the_place_lacks_is_told(tmp_path: Path) -> None:
    data = tmp_path / "old"
    async with lived(sqlite_database(data), data) as before:
        digest = sqlite3.connect(data / "agentvine.db").execute("SELECT sha256 FROM artifacts").fetchone()[0]
        before.site.control.artifacts.path(digest).unlink()
        told = await asyncio.to_thread(back_up, before.settings, tmp_path / "folder")
        assert told.missing_artifacts == (digest,)
        nowhere = place(f"sqlite:///{tmp_path / 'none' / 'agentvine.db'}", tmp_path / "none")
        for write in (back_up, export):
            with pytest.raises(ArchiveError, match="--data"):
                await asyncio.to_thread(write, nowhere, tmp_path / "other")
    put = await asyncio.to_thread(restore, nowhere, tmp_path / "folder")
    assert put.missing_artifacts == (digest,)


async def test_a_volume_is_filled_where_it_is_mounted(two: tuple[Path, Path], tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o750)
    bubblewrap = await find_bubblewrap()
    env = {"LD_LIBRARY_PATH": str(bubblewrap.libraries or ""), "HOME": str(tmp_path)}
    mounted = [str(bubblewrap.path), "--dev-bind", "/", "/", "--bind", str(volume), str(volume), "--"]
    command = [sys.executable, "-m", "agentvine", "restore", str(two[0]), "--data", str(volume)]
    done = await run([*mounted, *command], cwd=tmp_path, env=env, timeout=120)
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in volume.iterdir()} == {*SECRET_FILES, "agentvine.db", "artifacts", "policy.toml"}
    assert (volume / "signing.key").stat().st_mode & 0o777 == 0o600


def test_to_look_for_a_schema_makes_no_database(tmp_path: Path) -> None:
    for data in (tmp_path, tmp_path / "none"):
        nowhere = place(f"sqlite:///{data / 'agentvine.db'}", data)
        for ask in (look, partial(go_back, to="0001", really=False)):
            with pytest.raises(ConfigurationError, match="there is no database"):
                ask(nowhere)
    assert list(tmp_path.iterdir()) == []
