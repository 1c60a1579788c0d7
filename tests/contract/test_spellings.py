"""A repository in whatever case, on both databases: one where its forge says so, else two."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from agentvine.domain.errand import ErrandResult, LookForWork, WorkSeen
from agentvine.domain.errors import Conflict, InvalidInput
from agentvine.domain.forge import ForgeKind, IssueSeen
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import IntakeRules, RepositorySettings, address_of
from agentvine.domain.task import Budget
from agentvine.domain.work_order import OrderStatus, WorkOrder
from agentvine.store import intake, repositories
from agentvine.store.engine import open_database
from agentvine.store.history import downgrade
from agentvine.store.migrate import migrate
from agentvine.store.rows import micros
from agentvine.store.unit import Unit
from agentvine.testing.cast import Hand, a_task, a_worker
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire.administration import NewRepository, RepositoryChanges
from agentvine.wire.errands import ErrandClaim
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.messages import Claimed

SHOP = "https://github.com/Acme/Shop.git"
LOW = "https://github.com/acme/shop"
OWN = "https://git.example/Acme/Shop.git"
OWN_LOW = "https://git.example/acme/shop.git"
LEVEL = PermissionLevel.HUMAN_REQUIRED


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(database_url, tmp_path) as site:
        yield site


def bounded(repository: str, **more: object) -> NewRepository:
    said = {"repository": repository, "default_branch": "main", "permission_level": LEVEL, "concurrency": 1, **more}
    return NewRepository(settings=RepositorySettings.model_validate(said))


async def level(desk: FrontDesk, repository: str) -> PermissionLevel:
    task = await desk.submit(a_task(repository=repository, permission_level=PermissionLevel.AUTONOMOUS))
    assert task.asked.repository == repository, "git is given what was written"
    return task.permission_level


async def test_on_a_forge_that_knows_no_case_two_spellings_are_one(site: InProcessSite) -> None:
    desk, hand = await site.front_desk(), await a_worker(site)
    before = await desk.submit(a_task(repository="https://github.com/ACME/SHOP", permission_level="autonomous"))
    added = await desk.add_repository(bounded(SHOP))
    assert (await desk.task(before.id)).order.permission_level is LEVEL, "what waited already, too"
    for again in (LOW, "https://github.com/ACME/shop.git"):
        with pytest.raises(Conflict, match="known already"):
            await desk.add_repository(bounded(again))
    assert await level(desk, LOW) is LEVEL
    await hand.take_and_start()
    assert await hand.claim() is None, "one at a time, however it is spelled"
    changed = RepositoryChanges(settings={"concurrency": 9})
    await desk.change_repository(added.repository.id, changed)
    assert await hand.claim() is not None


async def test_elsewhere_the_case_counts_until_somebody_says_which_forge_it_is(site: InProcessSite) -> None:
    desk = await site.front_desk()
    added = await desk.add_repository(bounded(OWN))
    assert await level(desk, OWN_LOW) is PermissionLevel.AUTONOMOUS
    other = await desk.add_repository(bounded(OWN_LOW))
    await desk.remove_repository(other.repository.id)
    await desk.change_repository(added.repository.id, RepositoryChanges(settings={"forge": "gitea"}))
    with pytest.raises(Conflict, match="known already"):
        await desk.add_repository(bounded(OWN_LOW))
    assert await level(desk, OWN_LOW) is LEVEL
    await desk.change_repository(added.repository.id, RepositoryChanges(settings={"forge": None}))
    assert await level(desk, OWN_LOW) is PermissionLevel.AUTONOMOUS
    with pytest.raises(Conflict, match="known already"):
        await desk.add_repository(bounded(OWN_LOW, forge=ForgeKind.GITEA))


async def seen(hand: Hand, site: InProcessSite, issue: IssueSeen) -> None:
    site.clock.advance(400)
    while (given := await hand.plane.claim_errand(ErrandClaim(worker_id=hand.id))) is not None:
        work = WorkSeen(issues=(issue,)) if isinstance(given.errand, LookForWork) else None
        await hand.plane.end_errand(given.id, ErrandResult(worker_id=hand.id, work=work))


async def test_what_came_in_before_does_not_come_in_again_in_another_case(site: InProcessSite) -> None:
    desk, hand = await site.front_desk(), await a_worker(site)
    rules = IntakeRules(label="agent")
    issue = IssueSeen(number=7, url="u", title="Totals", body="", author="eve", at=site.clock.now(), labels=("agent",))
    added = await desk.add_repository(bounded(SHOP, intake=rules))
    await seen(hand, site, issue)
    await desk.remove_repository(added.repository.id)
    await desk.add_repository(bounded(LOW, intake=rules))
    await seen(hand, site, issue)
    assert [task.asked.repository for task in (await desk.tasks()).items] == [SHOP]


async def test_no_repository_takes_the_orders_of_another_one(site: InProcessSite) -> None:
    desk, hand = await site.front_desk(), await a_worker(site)
    added = (await desk.add_repository(bounded(OWN, concurrency=9))).repository
    other = (await desk.add_repository(bounded(OWN_LOW, permission_level=None))).repository
    for _ in range(2):
        await desk.submit(a_task(repository=OWN_LOW, budget=Budget(usd=2)))
    for repository_id in (added.id, other.id):
        with pytest.raises(Conflict, match="are one, and both are known: remove one of them first"):
            await desk.change_repository(repository_id, RepositoryChanges(settings={"forge": "gitea"}))
    claimed = await hand.take_and_start()
    assert await hand.claim() is None, "one at a time is what its own repository says"
    await hand.complete(claimed, cost=1.5)
    assert [(await desk.repository(each.id)).spent_today_usd for each in (added, other)] == [0.0, 1.5]
    await desk.remove_repository(other.id)
    await desk.change_repository(added.id, RepositoryChanges(settings={"forge": "gitea"}))
    with pytest.raises(InvalidInput, match="the other is the same, and known by this"):
        await desk.change_repository(added.id, RepositoryChanges(settings={"repository": OWN_LOW}))
    assert {order.permission_level for order in await pending(desk)} == {LEVEL}


async def pending(desk: FrontDesk) -> list[WorkOrder]:
    found = [(await desk.task(task.id)).order for task in (await desk.tasks()).items]
    return [order for order in found if order.status is OrderStatus.PENDING]


ODD, OWN_ODD = "https://github.com/ACME/SHOP", "https://git.example/ACME/SHOP"


OLDER = (
    bounded(SHOP, permission_level="supervised", intake={"users": ["Kim"]}, follow_up={"users": ["Rev"]}),
    bounded(LOW),
    bounded(OWN, permission_level="supervised", forge="gitea", concurrency=9),
    bounded(OWN_LOW, forge="gitea"),
)


async def an_earlier_version(database_url: str, then: datetime) -> None:
    """It knows these: to it the case of letters makes two."""

    def keep(unit: Unit) -> None:
        for number, settings in enumerate(new.settings for new in OLDER):
            unit.run(
                """INSERT INTO repositories (id, address, settings, created_at, created_by, updated_at)
                   VALUES (:id, :address, :settings, :at, 'key_x', :at + 60000000)""",
                id=f"rep_{number}",
                address=settings.address,
                settings=settings.model_dump_json(),
                at=micros(then),
            )
            repositories.spelled(unit, f"rep_{number}", settings.repository)

    await asyncio.to_thread(downgrade, database_url, "0008", really=True)
    database = open_database(database_url)
    await database.write(keep)
    await database.close()


async def levels(desk: FrontDesk) -> dict[str, PermissionLevel]:
    return {order.repository: order.permission_level for order in await pending(desk)}


async def comes_in(site: InProcessSite, repository: str) -> bool:
    """Whether an issue there becomes something, or has already."""
    address, now = address_of(repository), site.clock.now()
    return await site.database.write(lambda unit: intake.take(unit, address, "issue:7", "", now))


async def test_what_an_earlier_version_kept_apart(database_url: str, tmp_path: Path) -> None:
    async with in_process_site(database_url, tmp_path) as site:
        desk, then = await site.front_desk(), site.clock.now()
        for url in (SHOP, LOW, ODD, ODD, OWN, OWN_LOW, OWN_ODD):
            await desk.submit(a_task(repository=url, permission_level=PermissionLevel.AUTONOMOUS))
    await an_earlier_version(database_url, then)
    await asyncio.to_thread(migrate, database_url)

    async with in_process_site(database_url, tmp_path) as site:
        desk, hand = await site.front_desk(), await a_worker(site)
        known = await site.database.read(lambda unit: repositories.by_id(unit, "rep_0"))
        assert known is not None
        assert known.named_since == dict.fromkeys(("kim", "rev"), then.replace(microsecond=0))
        supervised, autonomous = PermissionLevel.SUPERVISED, PermissionLevel.AUTONOMOUS
        exact = dict.fromkeys((SHOP, LOW, OWN, OWN_LOW), autonomous)  # these were spelled so: nothing is new for them
        assert await levels(desk) == {**exact, ODD: supervised, OWN_ODD: supervised}

        assert await comes_in(site, OWN_LOW)
        await desk.change_repository("rep_2", RepositoryChanges(settings={"concurrency": 2}))
        assert not await comes_in(site, OWN_LOW), "it did, and that is still the other one's"

        await desk.remove_repository("rep_0")
        left = await levels(desk)
        assert (left[SHOP], left[ODD], left[OWN_ODD]) == (LEVEL, LEVEL, supervised)
        await desk.change_repository("rep_2", RepositoryChanges(settings={"forge": None}))
        assert (await levels(desk))[OWN_ODD] is LEVEL, "it belongs to the one that is left"
        claimed = [one.task.asked.repository async for one in taken(hand)]
        groups = ((SHOP, LOW, ODD), (OWN,), (OWN_LOW, OWN_ODD))
        assert [sum(url in group for url in claimed) for group in groups] == [1, 1, 1], "each lets one run at a time"


async def taken(hand: Hand) -> AsyncIterator[Claimed]:
    while (claimed := await hand.claim()) is not None:
        yield claimed
