"""The desk of errands, on both databases: nothing wished is lost, nobody waits for what he may not do."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from agentvine.domain.audit import AuditKind
from agentvine.domain.errand import Errand, ErrandResult, LookAtIssue, Say
from agentvine.domain.errors import AgentVineError, Conflict, Forbidden, LeaseLost, NotFound
from agentvine.domain.forge import Said
from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import NewCredential, RepositorySettings
from agentvine.domain.worker_types import TaskType
from agentvine.server.errands import FOR_GOOD_SECONDS, LEASE_SECONDS, Trouble
from agentvine.store import errands
from agentvine.store.unit import Unit
from agentvine.testing.cast import REPOSITORY, Hand, a_worker
from agentvine.testing.http import HttpSite, http_site
from agentvine.testing.site import InProcessSite
from agentvine.wire.administration import NewRepository, RepositoryChanges
from agentvine.wire.errands import ErrandClaim, ErrandHeld, GivenErrand

ELSEWHERE = "https://git.example/team/other.git"
OTHER_SPELLING = "ssh://git@git.example/team/project"


@dataclass
class Heard:
    """A handler that remembers, and wishes again what it is told to."""

    site: InProcessSite
    arrivals: list[tuple[str, ErrandResult]] = field(default_factory=list)
    troubles: list[tuple[str, Trouble]] = field(default_factory=list)
    again: tuple[Errand, float] | None = None
    refuses: AgentVineError | None = None

    def arrived(self, unit: Unit, name: str, errand: Errand, result: ErrandResult) -> None:
        if self.refuses is not None:
            self.site.control.errands.forget(unit, "test:other")
            raise self.refuses
        self.arrivals.append((name, result))
        if self.again is not None:
            errand, seconds = self.again
            self.site.control.errands.wish(unit, f"test:{name}", errand, later(self.site, seconds))

    def failed(self, unit: Unit, name: str, errand: Errand, trouble: Trouble) -> None:
        self.troubles.append((name, trouble))


def later(site: InProcessSite, seconds: float) -> datetime:
    return site.clock.now() + timedelta(seconds=seconds)


@pytest.fixture
async def served(database_url: str, tmp_path: Path) -> AsyncIterator[HttpSite]:
    async with http_site(database_url, tmp_path) as site:
        yield site


@pytest.fixture
def site(served: HttpSite) -> InProcessSite:
    return served.site


@pytest.fixture
def heard(site: InProcessSite) -> Heard:
    handler = Heard(site)
    site.control.errands.handled_by("test", handler)
    return handler


def look(number: int = 1, repository: str = REPOSITORY) -> LookAtIssue:
    return LookAtIssue(repository=repository, number=number)


def say(text: str) -> Say:
    return Say(repository=REPOSITORY, number=1, mark="m", text=text)


async def wish(site: InProcessSite, key: str, errand: Errand, seconds: float = 0.0) -> None:
    await site.database.write(lambda unit: site.control.errands.wish(unit, key, errand, later(site, seconds)))


async def ring(site: InProcessSite, repository: str = REPOSITORY, *, afresh: bool = False) -> int:
    return await site.database.write(lambda unit: site.control.errands.ring(unit, repository, afresh=afresh))


async def claim(hand: Hand, wait_seconds: float = 0.0) -> GivenErrand | None:
    return await hand.plane.claim_errand(ErrandClaim(worker_id=hand.id, wait_seconds=wait_seconds))


async def take(hand: Hand) -> GivenErrand:
    given = await claim(hand)
    assert given is not None, "there is no errand"
    return given


async def end(hand: Hand, given: GivenErrand, **result: object) -> None:
    await hand.plane.end_errand(given.id, ErrandResult.model_validate({"worker_id": hand.id, **result}))


async def test_what_is_wished_is_run_once_and_handed_to_its_handler(served: HttpSite, heard: Heard) -> None:
    site, one, two = served.site, await a_worker(served), await a_worker(served, "wrk_two")
    assert await claim(one) is None
    await wish(site, "test:a", look())
    given = await take(one)
    assert given.errand == look()
    assert await claim(two) is None, "it is the first one's"
    assert await take(one) == given, "a lost answer costs nothing"
    with pytest.raises(LeaseLost):
        await end(two, given)
    await end(one, given, said=Said(id="7"))
    assert [(name, result.said) for name, result in heard.arrivals] == [("a", Said(id="7"))]
    with pytest.raises(LeaseLost):
        await end(one, given, said=Said(id="7"))
    with pytest.raises(NotFound):
        await end(one, given.model_copy(update={"id": "nonsense"}))
    assert len(heard.arrivals) == 1
    assert await claim(two) is None


async def test_it_comes_when_it_is_due_and_an_earlier_wish_is_never_put_off(served: HttpSite, heard: Heard) -> None:
    site, one = served.site, await a_worker(served)
    await wish(site, "test:a", look(), 100)
    await wish(site, "test:a", look(), 500)
    site.clock.advance(99)
    assert await claim(one) is None
    site.clock.advance(1)
    await end(one, await take(one))
    await wish(site, "test:b", look(2), 1000)
    assert await ring(site, OTHER_SPELLING) == 0, "another scheme is another address"
    assert await ring(site, REPOSITORY.removesuffix(".git")) == 1
    assert (await take(one)).errand == look(2)


async def test_what_is_wished_or_rung_in_the_middle_is_run_after_it(served: HttpSite, heard: Heard) -> None:
    site, one = served.site, await a_worker(served)
    await wish(site, "test:a", say("old"))
    given = await take(one)
    await wish(site, "test:a", say("new"))
    await end(one, given)
    given = await take(one)
    assert given.errand == say("new")
    heard.again = (say("newest"), 300)
    assert await ring(site) == 1
    assert await ring(site) == 0, "a second ring says nothing new"
    await end(one, given)
    given = await take(one)
    assert given.errand == say("newest"), "its handler wished it for later, and the ring still counts"
    await end(one, given)
    assert await claim(one) is None
    site.clock.advance(300)
    await take(one)


async def test_a_worker_that_is_gone_delays_it_at_most(served: HttpSite, heard: Heard) -> None:
    site, one, two = served.site, await a_worker(served), await a_worker(served, "wrk_two")
    await wish(site, "test:a", look())
    given = await take(one)
    site.clock.advance(LEASE_SECONDS - 1)
    assert await claim(two) is None
    site.clock.advance(1)
    assert await take(two) == given
    with pytest.raises(LeaseLost):
        await end(one, given)
    await two.plane.deregister(two.id)
    assert await take(one) == given, "who leaves in order leaves nothing behind"


async def test_trouble_is_told_and_tried_again_slower_and_slower(served: HttpSite, heard: Heard) -> None:
    site, one = served.site, await a_worker(served)
    await wish(site, "test:a", look())
    for tries in (1, 2, 3):
        await end(one, await take(one), error="it is down")
        assert heard.troubles[-1] == ("a", Trouble("it is down", for_good=False, tries=tries))
        assert await ring(site) == 0
        assert await claim(one) is None, "a ring does not hurry what keeps its distance"
        site.clock.advance(5 * 2 ** (tries - 1))
    await end(one, await take(one), error="slow down", retry_after_seconds=5000)
    site.clock.advance(4999)
    assert await claim(one) is None
    site.clock.advance(1)
    await end(one, await take(one), error="forbidden", for_good=True)
    assert heard.troubles[-1][1].for_good
    site.clock.advance(FOR_GOOD_SECONDS / 2)
    assert await claim(one) is None
    assert await site.database.read(lambda unit: errands.troubles(unit, REPOSITORY)) == ("forbidden",)
    assert await ring(site, afresh=True) == 1, "somebody has mended it"
    await end(one, await take(one))
    assert await site.database.read(lambda unit: errands.troubles(unit, REPOSITORY)) == ()


async def test_who_cannot_says_so_and_others_are_asked_before_it_counts(served: HttpSite, heard: Heard) -> None:
    site = served.site
    here = Scope(role=Role.WORKER, repositories=(ELSEWHERE,))
    one, two = await a_worker(served), await a_worker(served, "wrk_two")
    narrow = await a_worker(served, "wrk_narrow", scope=here)
    await wish(site, "test:a", look())
    assert await claim(narrow) is None, "its key is for another repository"
    with pytest.raises(Forbidden):
        await narrow.plane.claim_errand(ErrandClaim(worker_id=one.id))
    given = await take(one)
    await end(one, given, unable=True, error="no token")
    assert heard.troubles == []
    assert await claim(one) is None
    await end(two, await take(two), unable=True, error="no token either")
    assert heard.troubles == [("a", Trouble("no token either", for_good=True, tries=1))]
    assert await claim(one) is None
    site.clock.advance(2 * FOR_GOOD_SECONDS)
    await end(one, await take(one))
    assert [name for name, _ in heard.arrivals] == ["a"]


async def test_a_credential_is_lent_to_who_has_the_errand_and_each_time_it_is_told(served: HttpSite) -> None:
    one, two, desk = await a_worker(served), await a_worker(served, "wrk_two"), await served.front_desk()
    await wish(served.site, "test:a", look())
    given = await take(one)
    mine, theirs = ErrandHeld(worker_id=one.id), ErrandHeld(worker_id=two.id)
    assert await one.plane.errand_credential(given.id, mine) is None, "nothing is kept"
    kept = NewCredential(token=SecretStr("a-token-0123456789"))
    await desk.add_repository(NewRepository(settings=RepositorySettings(repository=REPOSITORY), credential=kept))
    lent = await one.plane.errand_credential(given.id, mine)
    assert lent is not None
    assert lent.secret == "a-token-0123456789"
    with pytest.raises(LeaseLost):
        await two.plane.errand_credential(given.id, theirs)
    with pytest.raises(Forbidden):
        await two.plane.errand_credential(given.id, mine)
    assert await one.plane.errand_credential(given.id, mine) == lent
    served.site.clock.advance(LEASE_SECONDS)
    with pytest.raises(LeaseLost):
        await one.plane.errand_credential(given.id, mine)
    assert await take(one) == given
    assert await one.plane.errand_credential(given.id, mine) == lent
    await end(one, given)
    with pytest.raises(LeaseLost):
        await one.plane.errand_credential(given.id, mine)
    told = [one for one in (await desk.audit()).items if one.kind is AuditKind.CREDENTIAL_HANDED_OUT]
    assert [(one.data["errand_id"], one.data["worker_id"]) for one in told] == [(given.id, one.id)], "once an hour"
    served.site.clock.advance(3600)
    await wish(served.site, "test:b", look(2))
    given = await take(one)
    await one.plane.errand_credential(given.id, mine)
    told = [one for one in (await desk.audit()).items if one.kind is AuditKind.CREDENTIAL_HANDED_OUT]
    assert len(told) == 2


async def test_errands_are_for_keys_that_may_work_on_all_that_can_come_of_them(served: HttpSite, heard: Heard) -> None:
    site, desk = served.site, await served.front_desk()
    supervised = Scope(role=Role.WORKER, permission_level=PermissionLevel.SUPERVISED)
    docs = await a_worker(served, "wrk_docs", scope=Scope(role=Role.WORKER, worker_types=(TaskType.TEST,)))
    low, one = await a_worker(served, "wrk_low", scope=supervised), await a_worker(served)
    here = Scope(role=Role.WORKER, repositories=(REPOSITORY.removesuffix(".git"),))
    spelled = await a_worker(served, "wrk_spelled", scope=here)
    await wish(site, "test:a", look())
    assert await claim(docs) is None
    assert await claim(low) is None, "what is said of no level may have any"
    await end(one, await take(one), unable=True, error="no token")
    assert heard.troubles == [], "one is left"
    await end(spelled, await take(spelled), unable=True, error="no token")
    assert len(heard.troubles) == 1, "nobody waits for those who may not"
    said = RepositorySettings(repository=REPOSITORY, permission_level=PermissionLevel.SUPERVISED)
    await desk.add_repository(NewRepository(settings=said, credential=NewCredential(token=SecretStr("token-01234567"))))
    assert await claim(docs) is None
    given = await take(low)
    assert await low.plane.errand_credential(given.id, ErrandHeld(worker_id=low.id)) is not None
    (found,) = (await desk.repositories()).items
    await desk.change_repository(found.id, RepositoryChanges(settings={"permission_level": "autonomous"}))
    with pytest.raises(Forbidden):
        await low.plane.errand_credential(given.id, ErrandHeld(worker_id=low.id))
    with pytest.raises(Forbidden):
        await end(low, given)
    assert await claim(low) is None, "and what it had is free"
    assert await take(one) == given


async def test_what_cannot_be_handled_is_put_off_and_nothing_else_waits(served: HttpSite, heard: Heard) -> None:
    site, one = served.site, await a_worker(served)
    await wish(site, "test:a", look())
    await wish(site, "test:other", look(2), 1)
    heard.refuses = Conflict("there are 1000 comments", status="full")
    await end(one, await take(one))
    ((name, trouble),) = heard.troubles
    assert (name, trouble.for_good) == ("a", False)
    assert "1000 comments" in trouble.why
    heard.refuses = None
    site.clock.advance(1)
    given = await take(one)
    assert given.errand == look(2), "and what the handler had begun with was undone"
    await end(one, given)
    site.clock.advance(60)
    await end(one, await take(one))
    assert [name for name, _ in heard.arrivals] == ["other", "a"]


async def test_a_long_poll_is_woken_by_a_wish_and_by_what_becomes_due(served: HttpSite, heard: Heard) -> None:
    site, one = served.site, await a_worker(served)
    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        waiting = group.create_task(claim(one, 60))
        await wish(site, "test:a", look())
    given = waiting.result()
    assert given is not None
    await end(one, given)
    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        waiting = group.create_task(claim(one, 60))
        await wish(site, "test:a", look(), 0.2)
        site.clock.advance(0.2)
    assert waiting.result() is not None


async def test_a_claim_of_a_worker_that_is_to_leave_gets_nothing(served: HttpSite, heard: Heard) -> None:
    one, desk = await a_worker(served), await served.front_desk()
    await wish(served.site, "test:a", look())
    await desk.drain_worker(one.id)
    assert await claim(one) is None


async def test_where_nobody_may_run_them_the_repository_says_what_is_missing(served: HttpSite, heard: Heard) -> None:
    site, desk = served.site, await served.front_desk()
    said = RepositorySettings(repository=REPOSITORY, permission_level=PermissionLevel.SUPERVISED)
    there = (await desk.add_repository(NewRepository(settings=said))).repository

    async def trouble() -> str:
        (listed,) = (await desk.repositories()).items
        assert await desk.repository(there.id) == listed
        return listed.trouble or ""

    assert await trouble() == "", "nothing is wanted of it"
    await wish(site, "test:a", look())
    assert "no worker is there" in await trouble()
    limited = (
        Scope(role=Role.WORKER, worker_types=(TaskType.TEST,)),
        Scope(role=Role.WORKER, permission_level=PermissionLevel.HUMAN_REQUIRED),
        Scope(role=Role.WORKER, repositories=(ELSEWHERE,)),
    )
    for number, scope in enumerate(limited):
        hand = await a_worker(served, f"wrk_{number}", scope=scope)
        assert await claim(hand) is None
        assert "for all types, for this repository and for the level supervised" in await trouble()
    enough = Scope(role=Role.WORKER, permission_level=PermissionLevel.SUPERVISED)
    able = await a_worker(served, "wrk_able", scope=enough)
    assert await trouble() == ""
    await desk.drain_worker(able.id)
    assert "keys create" in await trouble()
