"""Errands all the way: the server's wish, a worker's loop, a forge that is played, and what comes back, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from agentvine.domain.errand import ErrandResult, WorkSeen
from agentvine.domain.errors import AgentVineError, Unavailable
from agentvine.domain.execution import Delivery
from agentvine.domain.forge import ForgeKind, IssueSeen
from agentvine.domain.repository_settings import IntakeRules, NewCredential, RepositorySettings
from agentvine.domain.worker_types import TaskType
from agentvine.kit import failpoints
from agentvine.kit.clock import SystemClock
from agentvine.kit.shutdown import Shutdown
from agentvine.server.intake_teller import IntakeTeller
from agentvine.store import errands
from agentvine.testing.cast import HEAD, Hand, a_worker
from agentvine.testing.clock import ManualClock
from agentvine.testing.databases import sqlite_database
from agentvine.testing.forges.gitea import GiteaServer
from agentvine.testing.forges.gitlab import GitLabServer
from agentvine.testing.forges.played import HURRIED, IMPATIENT
from agentvine.testing.forges.server import Fault, ForgeServer
from agentvine.testing.forges.world import BEGAN, BOT, NAME, OWNER, SECRET, Talk
from agentvine.testing.http import HttpSite, http_site
from agentvine.wire.administration import NewRepository
from agentvine.wire.errands import ErrandHeld, ErrandPlane
from agentvine.wire.lending import HandedCredential
from agentvine.wire.messages import LARGEST_BODY
from agentvine.worker.errands import ErrandLoop, fitting
from agentvine.worker.forge.base import Lookout
from agentvine.worker.forge.choice import Forges, Manner
from agentvine.worker.forge.sites import ForgeSite
from agentvine.worker.lease_credentials import LeaseCredentials

KINDS = {ForgeKind.GITEA: GiteaServer, ForgeKind.GITLAB: GitLabServer}


class Eyes:
    """What an executor has for errands. It holds no token of its own."""

    def __init__(self, hand: Hand, sites: list[ForgeSite], manner: Manner = HURRIED) -> None:
        self._served = LeaseCredentials(hand.plane, SystemClock())
        self._forges = Forges(sites, self._served, SystemClock(), manner)

    async def lookout(self, url: str, lent: HandedCredential | None) -> Lookout | None:
        with self._served.lent(url, lent):
            return await self._forges.lookout(url)


@dataclass
class Town:
    site: HttpSite
    forge: ForgeServer
    hand: Hand
    loop: ErrandLoop
    teller: IntakeTeller
    repository_id: str
    shutdown: Shutdown = field(default_factory=Shutdown)

    async def run_all(self) -> None:
        """All that is due, and what follows from it, whatever goes wrong on the way."""
        await self.teller.tell()
        while True:
            try:
                if not await self.loop.run_one(0.0):
                    return
            except AgentVineError:
                continue

    async def later(self, seconds: float = 400) -> None:
        self.site.clock.advance(seconds)
        await self.run_all()

    def ours(self) -> list[Talk]:
        return [talk for talk in self.forge.world.talks if talk.author == BOT]


@asynccontextmanager
async def town(tmp_path: Path, kind: ForgeKind = ForgeKind.GITEA, manner: Manner = HURRIED) -> AsyncIterator[Town]:
    async with (
        http_site(sqlite_database(tmp_path), tmp_path, clock=ManualClock(BEGAN)) as site,
        KINDS[kind]() as forge,
    ):
        hand, desk = await a_worker(site), await site.front_desk()
        sites = [ForgeSite(kind=kind, url=forge.url, labels=())]
        shutdown = Shutdown()
        loop = ErrandLoop(hand.plane, hand.id, Eyes(hand, sites, manner), shutdown)
        rules = IntakeRules(label="agent", users=("mira",), type=TaskType.TEST)
        said = RepositorySettings(repository=f"{forge.url}/{OWNER}/{NAME}.git", default_branch="main", intake=rules)
        kept = NewCredential(token=SecretStr(SECRET))
        added = await desk.add_repository(NewRepository(settings=said, credential=kept))
        teller = IntakeTeller(site.site.control.intake, site.site.database, site.clock)
        yield Town(site, forge, hand, loop, teller, added.repository.id, shutdown)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_issue_is_worked_on_asked_about_answered_and_told_in_one_comment(
    tmp_path: Path, kind: ForgeKind
) -> None:
    async with town(tmp_path, kind) as here:
        world, desk = here.forge.world, await here.site.front_desk()
        issue = world.write("Totals are wrong", "They are off by one.", labels=("agent",))
        await here.run_all()
        (task,) = (await desk.tasks()).items
        assert (task.asked.title, task.asked.description) == (issue.title, issue.body)
        (comment,) = here.ours()
        assert "queued" in comment.body
        claimed = await here.hand.take_and_start()
        question = here.hand.question(claimed, options=("the old one", "the new one"))
        asked = await here.hand.park(claimed, question)
        world.talk(issue.number, "mira", "too early")
        await here.run_all()
        assert "the new one" in comment.body
        world.talk(issue.number, "noor", "1")
        world.talk(issue.number, BOT, "1")
        world.talk(issue.number, "mira", "2")
        world.talk(issue.number, "mira", "/agentvine docs Say what it does")
        await here.later()
        response = (await desk.request(asked.id)).response
        assert response is not None
        assert (response.message, response.made_by) == ("the new one", "forge:mira")
        other = next(one for one in (await desk.tasks()).items if one.id != task.id)
        assert (other.asked.type, other.asked.title) == (TaskType.DOCS, "Say what it does")
        again = await here.hand.take_and_start()
        url = f"{here.forge.url}/{OWNER}/{NAME}/pulls/9"
        await here.hand.complete(again, Delivery(kind="branch", branch="agentvine/test/1", new_sha=HEAD, url=url))
        for _ in range(2):
            await here.later()
        mine = [talk for talk in here.ours() if talk.body != "1"]
        assert min(talk.id for talk in mine) == comment.id
        assert len(mine) == 2, "one for each task"
        assert url in comment.body
        assert len((await desk.tasks()).items) == 2
        assert here.forge.violations == []
        assert all(SECRET not in line for line in here.forge.seen)


async def test_lost_answers_and_failures_between_effects_change_nothing(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        world, desk = here.forge.world, await here.site.front_desk()
        points = [
            "errandclaim.before_commit:error",
            "errandclaim.after_commit:reply_lost",
            "errandresult.before_commit:error",
            "errandresult.after_commit:reply_lost",
        ]
        for number, point in enumerate(points, 1):
            world.write(f"issue {number}", labels=("agent",))
            for nth in (1, 2, 3):
                failpoints.arm(f"{point}:n={nth}")
                here.forge.faults[len(here.forge.seen) + nth] = (Fault.CUT_AFTER, Fault.BAD_GATEWAY)[nth % 2]
                await here.later()
            failpoints.arm("")
            await here.later()
        assert sorted(task.asked.title for task in (await desk.tasks()).items) == [f"issue {n}" for n in range(1, 5)]
        assert sorted(talk.number for talk in here.ours()) == [1, 2, 3, 4]
        await here.later()
        assert len(world.talks) == 4


async def test_a_worker_without_a_way_there_says_so(tmp_path: Path) -> None:
    async with town(tmp_path, manner=IMPATIENT) as here:
        blind = await a_worker(here.site, "wrk_blind")
        loop = ErrandLoop(blind.plane, blind.id, Eyes(blind, []), Shutdown())
        assert await loop.run_one(0.0)
        assert not await loop.run_one(0.0), "it is for another one now"
        url = f"{here.forge.url}/{OWNER}/{NAME}.git"
        database = here.site.site.database
        assert await database.read(lambda unit: errands.troubles(unit, url)) == ()
        here.forge.world.write("A task", labels=("agent",))
        here.forge.faults |= dict.fromkeys(range(500), Fault.BAD_GATEWAY)
        await here.run_all()
        (trouble,) = await database.read(lambda unit: errands.troubles(unit, url))
        assert SECRET not in trouble
        here.forge.faults.clear()
        await here.later()
        desk = await here.site.front_desk()
        assert [task.asked.title for task in (await desk.tasks()).items] == ["A task"]
        assert await database.read(lambda unit: errands.troubles(unit, url)) == ()


class Locked:
    """A server that cannot open what it keeps for a repository."""

    def __init__(self, plane: ErrandPlane) -> None:
        self.claim_errand = plane.claim_errand
        self.end_errand = plane.end_errand

    async def errand_credential(self, errand_id: str, held: ErrandHeld) -> HandedCredential | None:
        raise Unavailable("what is kept cannot be opened", retry_after=60.0)


class Blind:
    """A worker that has no token of its own."""

    async def lookout(self, url: str, lent: HandedCredential | None) -> Lookout | None:
        return None


async def test_what_is_kept_for_one_repository_and_cannot_be_had_holds_up_no_other(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        loop = ErrandLoop(Locked(here.hand.plane), here.hand.id, Blind(), Shutdown())
        assert await loop.run_one(0.0)
        url = f"{here.forge.url}/{OWNER}/{NAME}.git"
        (trouble,) = await here.site.site.database.read(lambda unit: errands.troubles(unit, url))
        assert "cannot be opened" in trouble
        assert not await loop.run_one(0.0), "it has laid it back, and asks for the next"


class Puzzled:
    """A lookout that is shown what no rule of the wire allows."""

    async def lookout(self, url: str, lent: HandedCredential | None) -> Lookout | None:
        IssueSeen.model_validate({"number": 0})
        raise AssertionError


async def test_what_cannot_be_understood_holds_up_nothing_else(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        assert await ErrandLoop(here.hand.plane, here.hand.id, Puzzled(), Shutdown()).run_one(0.0)
        url = f"{here.forge.url}/{OWNER}/{NAME}.git"
        (trouble,) = await here.site.site.database.read(lambda unit: errands.troubles(unit, url))
        assert "does not understand" in trouble
        assert not await here.loop.run_one(0.0), "it has laid it back"


async def test_who_is_told_to_leave_waits_for_no_errand(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        await here.run_all()
        async with asyncio.timeout(50):
            waiting = asyncio.create_task(here.loop.run_one(60.0))
            running = asyncio.create_task(here.loop.run())
            here.loop._shutdown.drain()
            assert await waiting is False
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()


def test_what_is_too_large_is_cut_and_sent_all_the_same() -> None:
    issue = IssueSeen(number=1, url="", title="t", body="x" * 65_000, author="mira", at=BEGAN)
    work = WorkSeen(issues=tuple(issue.model_copy(update={"number": number}) for number in range(1, 200)))
    sent = fitting(ErrandResult(worker_id="wrk_one", work=work)).model_dump_json()
    assert len(sent) < LARGEST_BODY
    seen = ErrandResult.model_validate_json(sent).work
    assert seen is not None
    assert [one.number for one in seen.issues] == list(range(1, 200))
    assert seen.issues[0].body == "x" * 16_384
