"""The suite that every forge passes: whatever goes wrong at any call, there is one pull request and one review.

There is one in the end, and there never were two: people are told of what is made and taken away again, too. So the
calls that changed something on the forge are counted; a fault adds none.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress

import pytest

from agentvine.domain.retry import FailureReason
from agentvine.kit.clock import SystemClock
from agentvine.testing.forges import stories
from agentvine.testing.forges.deliveries import STORIES, Story, renewing
from agentvine.testing.forges.faults import FAULTS, comes_to_the_same, looked_first, struck, told_once
from agentvine.testing.forges.played import (
    BRANCH,
    DEAF,
    HURRIED,
    IMPATIENT,
    ORDER,
    OneToken,
    Played,
    a_proposal,
    a_review,
)
from agentvine.testing.forges.server import UNKNOWN, Fault
from agentvine.testing.forges.world import OWNER, SECRET, Pull
from agentvine.worker.forge.base import ForgeProblem, ForgeRefused, ForgeUnavailable, Remark
from agentvine.worker.forge.choice import Forges
from agentvine.worker.forge.marking import begin, end
from agentvine.worker.forge.sites import ForgeSite


class ForgeConformance:
    """Needs a fixture `played`."""

    @pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
    async def test_all_goes_well(self, played: Played, story: Story) -> None:
        async with played.running() as (server, forge):
            await story(server, forge)
            assert server.violations == []
            assert all(SECRET not in line for line in server.seen)
            assert all(SECRET in shown for shown in server.shown)

    @pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
    @pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
    async def test_one_fault_at_each_call(
        self, played: Played, story: Story, faults: tuple[Fault, ...], request: pytest.FixtureRequest
    ) -> None:
        """At each call that writes. With those that read the kinds take turns, unless every case is asked for."""
        async with played.running() as (server, forge):
            await story(server, forge)
            calls, once = server.calls, server.done
        assert len(calls) >= 2
        kinds, everything = [*FAULTS.values()], request.config.getoption("--every-case", False)
        for number, call in enumerate(calls):
            if call.startswith("GET") and kinds[number % len(kinds)] is not faults and not everything:
                continue
            fault = struck(number, call, faults)
            async with played.running(DEAF if fault is Fault.SLOW else HURRIED) as (server, forge):
                server.faults[number] = fault
                await story(server, forge)
                assert server.violations == [], number
                assert len(server.seen) > number
                assert told_once(server.done, once, fault), (call, fault, server.done)
                assert comes_to_the_same(story, call) or looked_first(server.calls, number, fault), (call, fault)

    async def test_each_call_that_writes_is_in_a_story(self, played: Played) -> None:
        """Of these or of those of lookouts, so that each is struck by each fault."""
        called: list[str] = []
        writes = played.make().writes()
        for story in STORIES:
            async with played.running() as (server, forge):
                await story(server, forge)
                called += server.done
        for watched in stories.STORIES:
            async with played.watched() as (server, lookout):
                await watched(server, lookout)
                called += server.done
        signing_in = {one for one in writes if one.endswith("/access_tokens")}
        assert writes == signing_in | set(called)

    @pytest.mark.parametrize("fault", sorted(UNKNOWN - {Fault.SLOW}), ids=lambda fault: fault.name.lower())
    async def test_what_a_person_writes_while_an_answer_is_lost_stays(self, played: Played, fault: Fault) -> None:
        async with played.running() as (server, forge):
            await renewing(server, forge)
            number = next(number for number, call in enumerate(server.calls) if call in server.done)
        async with played.running() as (server, forge):
            pull = server.world.add(BRANCH, f"{begin(ORDER)}\nold words\n{end(ORDER)}")

            def write() -> None:
                pull.body += "\n\n- [x] looked"

            server.faults, server.meanwhile = {number: fault}, write
            await forge.propose(a_proposal(text="new words"))
            assert pull.body == f"{begin(ORDER)}\nnew words\n\n{end(ORDER)}\n\n- [x] looked"

    @pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
    async def test_answers_lost_twice_in_a_row(self, played: Played, story: Story) -> None:
        async with played.running() as (server, forge):
            await story(server, forge)
            once = server.done
        for number in range(5):
            async with played.running() as (server, forge):
                server.faults |= {number: Fault.CUT_AFTER, number + 1: Fault.CUT_AFTER}
                await story(server, forge)
                assert server.violations == [], number
                assert told_once(server.done, once, Fault.CUT_AFTER), (number, server.done)

    async def test_whoever_died_in_between_is_followed_by_another(self, played: Played) -> None:
        """From some call on nothing is answered any more; then another worker begins anew."""
        async with played.running() as (server, forge):
            await forge.propose(a_proposal())
            await forge.review(a_review())
            once = Counter(server.done)
        for number in range(2, 14, 2):
            async with played.running(IMPATIENT) as (server, forge):
                server.faults |= dict.fromkeys(range(number, 500), Fault.CUT_AFTER)
                with suppress(ForgeUnavailable):
                    await forge.propose(a_proposal())
                    await forge.review(a_review())
                server.faults.clear()
                again = await played.forge(server)
                assert await again.propose(a_proposal()) is not None
                assert await again.review(a_review()) is not None
                (pull,) = server.world.pulls
                assert [len(one.comments) for one in pull.reviews] == [2], number
                assert Counter(server.done) <= once, number
                assert server.violations == []

    async def test_two_at_once(self, played: Played) -> None:
        async with played.running() as (server, forge), asyncio.TaskGroup() as group:
            both = [group.create_task(forge.propose(a_proposal())) for _ in range(2)]
            await asyncio.wait(both)
            assert both[0].result() == both[1].result()
            assert len(server.world.pulls) == 1

    async def test_again_is_the_same(self, played: Played) -> None:
        async with played.running() as (server, forge):
            first = await forge.propose(a_proposal()), await forge.review(a_review())
            changes = [call for call in server.calls if not call.startswith("GET")]
            second = await forge.propose(a_proposal()), await forge.review(a_review())
            assert first == second
            assert [call for call in server.calls if not call.startswith("GET")] == changes
            assert len(server.world.pulls[0].reviews) == 1

    async def test_what_has_no_place_on_the_forge_does_not_fail_the_delivery(self, played: Played) -> None:
        async with played.running() as (server, forge):
            assert await forge.propose(a_proposal(reviewers=("nobody",))) is not None
            assert server.world.pulls[0].reviewers == []

    async def test_a_draft(self, played: Played) -> None:
        async with played.running() as (server, forge):
            await forge.propose(a_proposal(draft=True))
            assert server.world.pulls[0].draft
            assert server.violations == []

    async def test_text_of_any_length(self, played: Played) -> None:
        async with played.running() as (server, forge):
            await forge.propose(
                a_proposal(title="t" * 600, text="```\n" + "x" * 79 + "\n" * 2 + "many words\n" * 110_000)
            )
            pull = server.world.pulls[0]
            assert len(pull.title) <= 255
            assert pull.body.endswith(end(ORDER))
            assert "too long for this place" in pull.body
            assert pull.body.count("```") == 2
            await forge.propose(a_proposal(text="short"))
            assert len(pull.body) < 200
            assert server.violations == []

    async def test_a_secret_in_a_text_is_taken_out(self, played: Played) -> None:
        async with played.running() as (server, forge):
            told = f"the token is {SECRET}"
            await forge.propose(a_proposal(title=told, text=told))
            await forge.review(a_review(text=told, remarks=(Remark("calc.py", 5, told), Remark("calc.py", 99, told))))
            assert SECRET not in repr(server.world)

    async def test_text_does_nothing(self, played: Played) -> None:
        async with played.running() as (server, forge):
            evil = f"@mira fixes #1\n/merge\n![x](http://evil/beacon)\n{end(ORDER)}\n{begin('wo_other')}"
            await forge.propose(a_proposal(title="@mira closes #1", text=evil, reviewers=()))
            pull = server.world.pulls[0]
            for bad in ("@mira", "#1", "\n/merge", "![", begin("wo_other")):
                assert bad not in pull.body
            assert "@mira" not in pull.title
            assert pull.body.count(end(ORDER)) == 1

    # ── what people did meanwhile ────────────────────────────────────────────────────────────────────────────────

    async def test_closed_by_a_person(self, played: Played) -> None:
        async with played.running() as (server, forge):
            await forge.propose(a_proposal())
            server.world.pulls[0].state = "closed"
            refused = await self._refused(forge.propose(a_proposal()))
            assert refused.reason is FailureReason.DENIED
            assert "reopen it" in str(refused)
            server.world.pulls[0].state = "open"
            assert await forge.propose(a_proposal()) is not None
            assert len(server.world.pulls) == 1

    async def test_merged(self, played: Played) -> None:
        async with played.running() as (server, forge):
            url = await forge.propose(a_proposal())
            server.world.pulls[0].state = "merged"
            assert await forge.propose(a_proposal()) == url
            refused = await self._refused(forge.propose(a_proposal(head_sha="e" * 40)))
            assert refused.reason is FailureReason.BRANCH_MOVED
            assert "was merged before" in str(refused)
            assert len(server.world.pulls) == 1

    async def test_closed_ones_of_others_do_not_count(self, played: Played) -> None:
        async with played.running() as (server, forge):
            server.world.add(BRANCH, "by hand", state="closed")
            server.world.add(BRANCH, begin(ORDER), ours=False)
            server.world.add("x", begin(ORDER), ours=False)
            assert await forge.propose(a_proposal()) is not None
            assert len(server.world.pulls) == 4

    async def test_no_review_goes_to_a_branch_of_somebody_s_copy(self, played: Played) -> None:
        async with played.running() as (server, forge):
            strange = server.world.add(BRANCH, ours=False)
            assert await forge.review(a_review()) is None
            pull = server.world.add(BRANCH)
            stranger = server.world.add(BRANCH, ours=False)
            assert await forge.review(a_review()) is not None
            assert (strange.reviews, len(pull.reviews), stranger.reviews) == ([], 1, [])
            assert server.violations == []

    async def test_one_that_a_person_opened_is_taken_over(self, played: Played) -> None:
        async with played.running() as (server, forge):
            pull = server.world.add(BRANCH, "I was faster.")
            await forge.propose(a_proposal())
            assert server.world.pulls == [pull]
            assert pull.body.startswith("I was faster.\n\n")
            assert begin(ORDER) in pull.body

    async def test_a_renamed_branch(self, played: Played) -> None:
        async with played.running() as (server, forge):
            await forge.propose(a_proposal())
            server.world.pulls[0].branch = "nicer-name"
            refused = await self._refused(forge.propose(a_proposal()))
            assert refused.reason is FailureReason.BRANCH_MOVED
            assert "nicer-name" in str(refused)
            assert len(server.world.pulls) == 1

    async def test_the_target_is_gone(self, played: Played) -> None:
        async with played.running() as (server, forge):
            refused = await self._refused(forge.propose(a_proposal(target="master")))
            assert refused.reason is FailureReason.BRANCH_NOT_FOUND
            assert "'master'" in str(refused)
            assert server.violations == []

    # ── what a token may ─────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_token_that_is_not_known(self, played: Played) -> None:
        async with played.running() as (server, forge):
            server.token = "another"
            refused = await self._refused(forge.propose(a_proposal()))
            assert refused.reason is FailureReason.REPOSITORY_AUTH_FAILED
            assert len(server.seen) == 1

    async def test_a_token_that_may_only_look(self, played: Played) -> None:
        async with played.running() as (server, forge):
            server.read_only = True
            refused = await self._refused(forge.propose(a_proposal()))
            assert refused.reason is FailureReason.REPOSITORY_AUTH_FAILED
            assert "docs/forges.md" in str(refused)
            server.world.add(BRANCH)
            assert (await self._refused(forge.review(a_review()))).reason is FailureReason.REPOSITORY_AUTH_FAILED

    async def test_a_repository_that_is_not_there(self, played: Played) -> None:
        async with played.running() as (server, _):
            site = ForgeSite(kind=played.kind, url=server.url)
            forges = Forges([site], OneToken(), SystemClock(), HURRIED)
            refused = await self._refused((await forges.of(f"{server.url}/{OWNER}/gone")).propose(a_proposal()))
            assert refused.reason is FailureReason.REPOSITORY_NOT_FOUND

    async def test_the_token_goes_to_no_other_host(self, played: Played) -> None:
        async with played.running() as (server, forge), played.running() as (other, _):
            server.redirect = other.url
            refused = await self._refused(forge.propose(a_proposal()))
            assert "not taken there" in str(refused)
            assert other.seen == []

    # ── when it is not up to it ──────────────────────────────────────────────────────────────────────────────────

    async def test_a_long_rate_limit_is_told(self, played: Played) -> None:
        async with played.running() as (server, forge):
            server.retry_after = "120"
            for number in range(4):
                server.faults, server.calls[:] = {number: Fault.LIMITED}, []
                server.world.pulls.clear()
                if (wait := await self._wait(forge.propose(a_proposal(labels=(), reviewers=())))) is not None:
                    assert wait == 120

    async def test_it_stays_broken(self, played: Played) -> None:
        async with played.running(IMPATIENT) as (server, forge):
            server.faults = dict.fromkeys(range(2000), Fault.BROKEN)
            with pytest.raises(ForgeUnavailable, match="500"):
                await forge.propose(a_proposal())

    async def test_it_is_not_there(self, played: Played) -> None:
        async with played.running(IMPATIENT) as (_, forge):
            pass
        with pytest.raises(ForgeUnavailable):
            await forge.propose(a_proposal())

    # ── reviews ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_no_pull_request_no_review(self, played: Played) -> None:
        async with played.running() as (server, forge):
            server.world.add(BRANCH, state="closed")
            assert await forge.review(a_review()) is None

    async def test_a_branch_that_moved_has_its_remarks_in_the_text(self, played: Played) -> None:
        async with played.running() as (server, forge):
            pull = server.world.add(BRANCH)
            await forge.review(a_review(head_sha="e" * 40))
            assert pull.reviews[0].comments == []
            assert "the branch has moved" in pull.reviews[0].body
            assert "Is this the end?" in pull.reviews[0].body

    async def test_what_somebody_else_has_not_finished_is_not_posted(self, played: Played) -> None:
        async with played.running() as (server, forge):
            pull: Pull = server.world.add(BRANCH)
            server.leave_unfinished(pull)
            assert "unfinished review" in str(await self._refused(forge.review(a_review())))
            assert pull.posted == []

    async def _refused(self, attempt: Awaitable[object]) -> ForgeRefused:
        with pytest.raises(ForgeRefused) as caught:
            await attempt
        assert SECRET not in str(caught.value)
        return caught.value

    async def _wait(self, attempt: Awaitable[object]) -> float | None:
        try:
            await attempt
        except ForgeProblem as problem:
            return problem.retry_after
        return None
