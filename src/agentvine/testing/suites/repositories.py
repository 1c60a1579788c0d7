"""What operators say of repositories, and what follows from it for orders and secrets."""

import json
from datetime import timedelta

import pytest

from agentvine.domain.errors import Conflict, Forbidden, InvalidInput, LeaseLost, NotFound
from agentvine.domain.execution import Phase
from agentvine.domain.forge import ForgeKind
from agentvine.domain.key import Role, Scope
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import NewCredential, Repository, RepositorySettings
from agentvine.domain.retry import FailureReason
from agentvine.domain.task import Budget
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.cast import REPOSITORY, Hand, a_task, a_worker, used
from agentvine.testing.site import WORKER, Site
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire.front_desk import FrontDesk
from agentvine.wire.lending import HandedCredential

SPELLED = "https://GIT.example:443/team/project/"
"""Another spelling of `REPOSITORY`."""
TOKEN = "forge-token-0123456789"


async def told(desk: FrontDesk, repository: str = REPOSITORY, **said: object) -> Repository:
    """The server is told of a repository."""
    settings = RepositorySettings.model_validate({"repository": repository, **said})
    return (await desk.add_repository(adm.NewRepository(settings=settings))).repository


async def changed(desk: FrontDesk, repository: Repository, **changes: object) -> adm.SavedRepository:
    return await desk.change_repository(repository.id, adm.RepositoryChanges.model_validate(changes))


async def on_the_rest_of_a_day(site: Site, desk: FrontDesk) -> tuple[Hand, m.Claimed]:
    """A worker that has spent 4.5 of a day's 5 dollars, and holds an order that might cost as much again."""
    await desk.submit(a_task("first", budget=Budget(usd=5), priority=1))
    await desk.submit(a_task("late", budget=Budget(usd=5)))
    worker = await a_worker(site)
    await worker.complete(await worker.take_and_start(), cost=4.5)
    late = await worker.take_and_start()
    assert late.budget_left_usd == 0.5
    return worker, late


class Repositories:
    async def test_a_repository_is_known_by_any_spelling_until_it_is_removed(self, site: Site) -> None:
        desk = await site.front_desk()
        await a_worker(site)  # that may look for work there: else the repository says that nobody does
        first = await told(desk, concurrency=2, intake={"label": "agentvine", "users": ["kim"]})
        with pytest.raises(Conflict):
            await told(desk, SPELLED)
        site.clock.advance(1)
        other = await told(desk, "https://git.example/team/other.git")
        assert [each.id for each in (await desk.repositories(limit=1)).items] == [other.id]
        page = await desk.repositories((await desk.repositories(limit=1)).next_cursor, 1)
        assert (page.items, page.next_cursor) == ((first,), None)
        site.clock.advance(1)
        saved = await changed(desk, first, settings={"intake": {"users": ["kim", "lee"]}, "concurrency": None})
        assert saved.repository.settings.intake.users == ("kim", "lee")
        assert saved.repository.settings.intake.label == "agentvine"
        assert saved.repository.settings.concurrency is None
        assert saved.repository.updated_at > first.updated_at
        assert saved.repository.created_by == first.created_by
        respelled = await changed(desk, first, settings={"repository": SPELLED})
        assert respelled.repository.settings.repository == SPELLED
        assert await desk.repository(first.id) == respelled.repository
        assert (await desk.remove_repository(first.id)).id == first.id
        for repository_id in (first.id, "rep_nonsense", "../keys"):
            with pytest.raises(NotFound):
                await desk.repository(repository_id)
        assert (await told(desk, SPELLED)).id != first.id

    async def test_what_cannot_be_is_refused_and_changes_nothing(self, site: Site) -> None:
        desk = await site.front_desk()
        there = await told(desk)
        for changes, pointer in (
            ({"settings": {"concurrency": 0}}, "/settings/concurrency"),
            ({"settings": {"nonsense": 1}}, "/settings/nonsense"),
            ({"settings": {"intake": {"users": ["-x"]}}}, "/settings/intake/users/0"),
            ({"settings": {"repository": "https://git.example/elsewhere"}}, "/settings/repository"),
            ({"settings": {"repository": None}}, "/settings/repository"),
            ({"credential": {"command": "not-there"}}, "/credential/command"),
        ):
            with pytest.raises(InvalidInput) as refused:
                await changed(desk, there, **changes)
            assert pointer in str(refused.value.facts), changes
        local = RepositorySettings(repository="file:///srv/project")
        with pytest.raises(InvalidInput, match="http"):
            await desk.add_repository(adm.NewRepository(settings=local, credential=credential()))
        assert (await desk.repositories()).items == (there,)

    async def test_members_look_as_far_as_their_scope_reaches_and_only_admins_change(self, site: Site) -> None:
        desk = await site.front_desk()
        here, there = await told(desk), await told(desk, "https://git.example/team/other.git")
        narrow = {"repositories": (SPELLED,)}
        for role in (Role.ADMIN, Role.MEMBER, Role.VIEWER):
            looking = await site.front_desk(Scope.model_validate({"role": role, **narrow}))
            assert (await looking.repositories()).items == (here,)
            assert await looking.repository(here.id) == here
            with pytest.raises(NotFound):
                await looking.repository(there.id)
        admin = await site.front_desk(Scope.model_validate({"role": Role.ADMIN, **narrow}))
        assert (await changed(admin, here, settings={"concurrency": 1})).repository.settings.concurrency == 1
        with pytest.raises(NotFound):
            await changed(admin, there, settings={"concurrency": 1})
        with pytest.raises(NotFound):
            await admin.remove_repository(there.id)
        with pytest.raises(Forbidden):
            await told(admin, "https://git.example/team/third.git")
        for scope in (
            Scope(role=Role.MEMBER),
            Scope(role=Role.ADMIN, permission_level=PermissionLevel.SUPERVISED),
            Scope(role=Role.ADMIN, worker_types=(TaskType.TEST,)),
        ):
            with pytest.raises(Forbidden):
                await changed(await site.front_desk(scope), here, settings={"permission_level": None})


class RepositorySecrets:
    async def test_a_credential_goes_to_whoever_holds_the_lease_and_is_shown_nowhere(self, site: Site) -> None:
        desk = await site.front_desk()
        new = adm.NewRepository(settings=RepositorySettings(repository=SPELLED), credential=credential(), webhook=True)
        saved = await desk.add_repository(new)
        assert saved.webhook_secret
        assert (saved.repository.credential, saved.repository.webhook) == ("token", True)
        await desk.submit(a_task())
        worker, other = await a_worker(site), await a_worker(site, "wrk_other")
        claimed = await worker.take_and_start()
        held = m.Held(token=claimed.lease.token)
        got = await worker.plane.credential(claimed.order.id, held)
        assert got == HandedCredential(username="robot", secret=TOKEN)
        assert TOKEN not in repr(got) + repr(new) + repr(saved)
        with pytest.raises(Forbidden):
            await other.plane.credential(claimed.order.id, held)
        with pytest.raises(LeaseLost):
            await worker.plane.credential(claimed.order.id, m.Held(token=held.token + 1))
        again = await changed(desk, saved.repository, webhook="make")
        assert again.webhook_secret not in {None, saved.webhook_secret}
        await worker.complete(claimed)
        with pytest.raises(LeaseLost):
            await worker.plane.credential(claimed.order.id, held)
        entries = (await desk.audit(limit=200)).items
        handed = [one.data for one in entries if one.kind.value == "credential.handed_out"]
        assert [(one["work_order_id"], one["worker_id"]) for one in handed] == [(claimed.order.id, worker.id)]
        shown = json.dumps([one.model_dump(mode="json") for one in entries])
        shown += (await desk.repositories()).model_dump_json() + again.repository.model_dump_json()
        for secret in (TOKEN, saved.webhook_secret, str(again.webhook_secret)):
            assert secret not in shown

    async def test_a_credential_is_changed_and_removed(self, site: Site) -> None:
        desk = await site.front_desk()
        there = await told(desk)
        await desk.submit(a_task())
        worker = await a_worker(site)
        claimed = await worker.take_and_start()
        held = m.Held(token=claimed.lease.token)
        assert await worker.plane.credential(claimed.order.id, held) is None
        assert (await changed(desk, there, credential=credential("second"))).repository.credential == "token"
        await changed(desk, there, settings={"concurrency": 3})
        got = await worker.plane.credential(claimed.order.id, held)
        assert got is not None
        assert got.secret == "second"
        assert (await changed(desk, there, credential=None)).repository.credential is None
        assert await worker.plane.credential(claimed.order.id, held) is None
        await desk.remove_repository(there.id)
        assert await worker.plane.credential(claimed.order.id, held) is None


class RepositoryRules:
    async def test_the_lowest_level_wins_for_what_comes_and_for_what_waits(self, site: Site) -> None:
        desk = await site.front_desk()
        waiting = await desk.submit(a_task(permission_level=PermissionLevel.AUTONOMOUS))
        there = await told(desk, SPELLED, permission_level="supervised")
        site.clock.advance(1)  # else nobody knows which of the two comes first
        came = await desk.submit(a_task(permission_level=PermissionLevel.AUTONOMOUS))
        assert came.permission_level is PermissionLevel.SUPERVISED
        assert (await desk.task(waiting.id)).task.permission_level is PermissionLevel.SUPERVISED
        worker = await a_worker(site, scope=WORKER.model_copy(update={"permission_level": PermissionLevel.SUPERVISED}))
        claimed = await worker.take()
        assert claimed.order.id == waiting.work_order_id
        assert claimed.order.permission_level is claimed.task.permission_level is PermissionLevel.SUPERVISED
        await changed(desk, there, settings={"permission_level": None})
        assert (await desk.submit(a_task())).permission_level is PermissionLevel.AUTONOMOUS
        low = a_task(permission_level=PermissionLevel.HUMAN_REQUIRED)
        assert (await desk.submit(low)).permission_level is PermissionLevel.HUMAN_REQUIRED

    async def test_a_task_that_names_no_branch_starts_where_the_repository_says(self, site: Site) -> None:
        desk = await site.front_desk()
        nameless = a_task().model_copy(update={"branch": ""})
        with pytest.raises(InvalidInput) as refused:
            await desk.submit(nameless)
        assert "/branch" in str(refused.value.facts)
        batch = m.TaskBatch(tasks=(m.NamedTask(name="a", task=nameless),))
        with pytest.raises(InvalidInput) as refused:
            await desk.submit_all(batch)
        assert "/tasks/0/task/branch" in str(refused.value.facts)
        await told(desk, SPELLED, default_branch="trunk")
        assert (await desk.submit(nameless)).asked.branch == "trunk"
        assert (await desk.submit_all(batch))[0].asked.branch == "trunk"
        assert (await desk.submit(a_task(branch="other", priority=-1))).asked.branch == "other"
        assert (await (await a_worker(site)).take()).order.branch == "trunk"

    async def test_workers_are_told_the_rules(self, site: Site) -> None:
        desk = await site.front_desk()
        await desk.submit(a_task())
        await desk.submit(a_task())
        worker = await a_worker(site)
        assert (await worker.take()).rules is None
        said = {
            "setup": ["make env"],
            "test": ["make test"],
            "protected": ["infra/**"],
            "hosts": ["packages.example:443"],
        }
        await told(desk, SPELLED, forge="gitea", **said)
        rules = (await worker.take()).rules
        assert rules is not None
        assert {name: list(value) for name, value in rules.model_dump(exclude={"forge"}).items()} == said
        assert rules.forge is ForgeKind.GITEA

    async def test_its_own_concurrency_counts_all_spellings(self, site: Site) -> None:
        desk = await site.front_desk()
        for repository in (REPOSITORY, SPELLED, REPOSITORY):
            await desk.submit(a_task(repository=repository))
            site.clock.advance(0.001)
        there = await told(desk, concurrency=1)
        other = await desk.submit(a_task("elsewhere", repository="https://git.example/team/other.git"))
        worker = await a_worker(site)
        first = await worker.take()
        assert first.task.asked.repository == REPOSITORY
        assert (await worker.take()).task.id == other.id
        assert await worker.claim() is None
        await worker.complete(first)
        second = await worker.take()
        assert second.task.asked.repository == SPELLED
        assert await worker.claim() is None
        await changed(desk, there, settings={"concurrency": site.terms.repository_concurrency + 1})
        await worker.take()

    async def test_what_is_removed_leaves_its_orders_and_comes_back_anew(self, site: Site) -> None:
        desk = await site.front_desk()
        there = await told(desk, SPELLED, concurrency=1, budget_per_day_usd=10.0)
        for _ in range(3):
            await desk.submit(a_task())
        worker = await a_worker(site)
        first = await worker.take_and_start()
        assert await worker.claim() is None
        await desk.remove_repository(there.id)
        second = await worker.take_and_start()
        assert second.rules is None
        await worker.complete(first, cost=1.0)
        back = await told(desk, SPELLED, concurrency=1)
        assert back.spent_today_usd == 0
        assert await worker.claim() is None
        await worker.complete(second, cost=0.5)
        assert (await desk.repository(back.id)).spent_today_usd == 0.5
        assert (await worker.take()).rules is not None

    async def test_what_a_day_may_cost_is_held_to_and_the_next_day_is_another(self, site: Site) -> None:
        desk = await site.front_desk()
        there = await told(desk, SPELLED, budget_per_day_usd=3.0)
        for number in range(4):
            await desk.submit(a_task(str(number), budget=Budget(usd=5), priority=-number))
        worker = await a_worker(site)
        first = await worker.take_and_start()
        assert first.budget_left_usd == 3.0
        report = m.PhaseReport(token=first.lease.token, phase=Phase.WORKING, usage=used(1.0))
        await worker.plane.phase(first.lease.execution_id, report)
        assert await worker.claim() is None, "the first may still spend all of it"
        assert (await desk.repository(there.id)).spent_today_usd == 1.0
        await worker.complete(first, cost=1.25)
        assert (await desk.repository(there.id)).spent_today_usd == 1.25
        second = await worker.take_and_start()
        assert second.budget_left_usd == 1.75
        after = await worker.fail(second, FailureReason.BUDGET_EXCEEDED, cost=2.0)
        assert after.status is OrderStatus.PENDING
        assert after.failure is not None
        assert after.failure.reason is FailureReason.REPOSITORY_BUDGET
        assert after.charged == 0
        assert await worker.claim() is None
        assert (await desk.queue()).totals[OrderStatus.FAILED] == 0
        await changed(desk, there, settings={"budget_per_day_usd": 4.0})
        third = await worker.take_and_start()
        assert third.task.asked.title == "2"
        assert third.budget_left_usd == 0.75
        await worker.complete(third, cost=0.75)
        assert await worker.claim() is None
        site.clock.advance(86_400)
        await site.pass_time(site.terms.reaper_interval)
        assert (await desk.repository(there.id)).spent_today_usd == 0
        worker = await a_worker(site, "wrk_tomorrow")
        own = await worker.take_and_start()
        assert own.budget_left_usd == 3.0  # two of five were spent
        assert await worker.claim() is None
        await worker.complete(own, cost=0.5)
        assert (await worker.take()).budget_left_usd == 3.5

    async def test_orders_run_side_by_side_while_the_day_covers_all_that_they_may_cost(self, site: Site) -> None:
        desk = await site.front_desk()
        there = await told(desk, SPELLED, budget_per_day_usd=10.0)
        for number in range(4):
            await desk.submit(a_task(str(number), budget=Budget(usd=4), priority=-number))
        worker = await a_worker(site)
        first, second = await worker.take_and_start(), await worker.take_and_start()
        assert (first.budget_left_usd, second.budget_left_usd) == (4.0, 4.0)
        assert await worker.claim() is None, "two dollars are left, and others may not need theirs"
        await worker.complete(first, cost=1.0)
        third = await worker.take_and_start()
        assert third.budget_left_usd == 4.0
        assert await worker.claim() is None
        after = await worker.fail(third, FailureReason.BUDGET_EXCEEDED, cost=4.0)
        assert after.status is OrderStatus.FAILED, "that was its own budget"
        await worker.complete(second, cost=4.0)
        last = await worker.take_and_start()
        assert last.budget_left_usd == 1.0, "alone it is given what is left"
        after = await worker.fail(last, FailureReason.BUDGET_EXCEEDED, cost=1.0)
        assert after.failure is not None
        assert after.failure.reason is FailureReason.REPOSITORY_BUDGET
        assert (await desk.repository(there.id)).spent_today_usd == 10.0
        site.clock.advance(86_400)
        await changed(desk, there, settings={"budget_per_day_usd": 0.3})
        for number in range(3):
            await desk.submit(a_task(f"small {number}", budget=Budget(usd=0.1), priority=9))
        worker = await a_worker(site, "wrk_tomorrow")
        for _ in range(3):
            assert (await worker.take_and_start()).task.asked.title.startswith("small"), "0.3 covers three times 0.1"

    async def test_an_order_s_own_budget_is_still_its_end(self, site: Site) -> None:
        desk = await site.front_desk()
        await told(desk, budget_per_day_usd=100.0)
        await desk.submit(a_task(budget=Budget(usd=1)))
        worker = await a_worker(site)
        claimed = await worker.take_and_start()
        assert claimed.budget_left_usd == 1.0
        after = await worker.fail(claimed, FailureReason.BUDGET_EXCEEDED, cost=0.99)
        assert after.status is OrderStatus.FAILED

    async def test_what_ran_on_the_rest_of_a_day_goes_on_whatever_changed_meanwhile(self, site: Site) -> None:
        desk = await site.front_desk()
        there = await told(desk, budget_per_day_usd=5.0)
        worker, late = await on_the_rest_of_a_day(site, desk)
        site.clock.advance(1)
        await changed(desk, there, settings={"budget_per_day_usd": 6.0})
        after = await worker.fail(late, FailureReason.BUDGET_EXCEEDED, cost=0.5)
        assert (after.status, after.charged) == (OrderStatus.PENDING, 0)
        assert after.failure is not None
        assert after.failure.reason is FailureReason.REPOSITORY_BUDGET
        site.clock.advance(20)
        late = await worker.take_and_start()
        assert late.budget_left_usd == 1.0
        site.clock.advance(1)
        await changed(desk, there, settings={"budget_per_day_usd": 1.0})
        after = await worker.fail(late, FailureReason.BUDGET_EXCEEDED, cost=4.5)
        assert after.status is OrderStatus.FAILED, "by now its own budget is spent"

    async def test_what_ran_on_the_rest_of_a_day_goes_on_when_that_has_ended(self, site: Site) -> None:
        now = site.clock.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        site.clock.advance((midnight - now).total_seconds() - 1)
        desk = await site.front_desk()
        await told(desk, budget_per_day_usd=5.0)
        worker, late = await on_the_rest_of_a_day(site, desk)
        site.clock.advance(2)
        after = await worker.fail(late, FailureReason.BUDGET_EXCEEDED, cost=0.5)
        assert (after.status, after.charged) == (OrderStatus.PENDING, 0)
        site.clock.advance(20)
        late = await worker.take_and_start()
        assert late.budget_left_usd == 4.5
        assert (await worker.fail(late, FailureReason.BUDGET_EXCEEDED, cost=4.5)).status is OrderStatus.FAILED


def credential(token: str = TOKEN) -> NewCredential:
    return NewCredential.model_validate({"username": "robot", "token": token})
