"""A repository in whatever case, on both databases: one where its forge says so, else two."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.domain.errand import ErrandResult, LookForWork, WorkSeen
from agentvine.domain.errors import Conflict
from agentvine.domain.forge import ForgeKind, IssueSeen
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import IntakeRules, RepositorySettings
from agentvine.testing.cast import Hand, a_task, a_worker
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire.administration import NewRepository, RepositoryChanges
from agentvine.wire.errands import ErrandClaim
from agentvine.wire.front_desk import FrontDesk

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
