"""The suite that every lookout passes: what it reads is right, and what it says is there once, whatever goes wrong."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta

import pytest

from agentvine.domain.errand import LookAtIssue, LookForWork, RunAgain, WorkSeen
from agentvine.domain.forge import PullSeen
from agentvine.domain.retry import FailureReason
from agentvine.testing.forges.faults import FAULTS, comes_to_the_same, looked_first, struck, told_once
from agentvine.testing.forges.played import BRANCH, DEAF, HURRIED, IMPATIENT, Played
from agentvine.testing.forges.server import Fault
from agentvine.testing.forges.stories import MARK, STORIES, URL, Story, a_look, a_wish, saying
from agentvine.testing.forges.world import BEGAN, BOT, NAME, OWNER, SECRET
from agentvine.worker.forge.base import ForgeRefused, ForgeUnavailable, Lookout
from agentvine.worker.forge.harmless import GAP
from agentvine.worker.forge.marking import begin, end, marked


class LookoutConformance:
    """Needs a fixture `played`."""

    @pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
    async def test_whatever_happens_at_a_call(
        self, played: Played, story: Story, request: pytest.FixtureRequest
    ) -> None:
        """Every fault at each call that writes. Calls that read take turns, unless every case is asked for."""
        async with played.watched() as (server, lookout):
            await story(server, lookout)
            assert server.violations == []
            assert all(SECRET not in line for line in server.seen)
            calls, once = server.calls, server.done
        assert len(calls) >= 3
        kinds = [*FAULTS.values()]
        for number, call in enumerate(calls):
            everything = request.config.getoption("--every-case", False) or not call.startswith("GET")
            chosen = kinds if everything else [kinds[number % len(kinds)]]
            for fault in [struck(number, call, kind) for kind in chosen]:
                async with played.watched(DEAF if fault is Fault.SLOW else HURRIED) as (server, lookout):
                    server.faults[number] = fault
                    await story(server, lookout)
                    assert server.violations == [], (fault, number)
                    assert len(server.seen) > number
                    assert told_once(server.done, once, fault), (call, fault, server.done)
                    assert comes_to_the_same(story, call) or looked_first(server.calls, number, fault), (call, fault)

    async def test_answers_lost_twice_in_a_row(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            await saying(server, lookout)
            once = server.done
        for number in range(4):
            async with played.watched() as (server, lookout):
                server.faults |= {number: Fault.CUT_AFTER, number + 1: Fault.BAD_GATEWAY}
                await saying(server, lookout)
                assert server.violations == [], number
                assert told_once(server.done, once, Fault.CUT_AFTER), (number, server.done)

    async def test_whoever_died_in_between_is_followed_by_another(self, played: Played) -> None:
        """From some call on nothing is answered any more, though it is done; then another worker begins anew."""
        for number in range(1, 6):
            async with played.watched(IMPATIENT) as (server, lookout):
                server.world.write("An area")
                server.faults |= dict.fromkeys(range(number, 500), Fault.CUT_AFTER)
                with suppress(ForgeUnavailable):
                    await lookout.say(a_wish("One."))
                server.faults.clear()
                again = await played.lookout(server)
                await again.say(a_wish("Two."))
                (talk,) = server.world.talks
                assert "Two." in talk.body
                assert max(Counter(server.done).values()) == 1, (number, server.done)

    async def test_several_at_once(self, played: Played) -> None:
        async with played.watched() as (server, _):
            server.world.write("An area")
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task((await played.lookout(server)).say(a_wish())) for _ in range(3)]
            (talk,) = server.world.talks
            assert {task.result().id for task in tasks} >= {(await (await played.lookout(server)).say(a_wish())).id}
            assert talk.author == BOT

    async def test_what_others_wrote_is_not_touched(self, played: Played) -> None:
        """Somebody copied our comment with its mark, before and after."""
        async with played.watched() as (server, lookout):
            server.world.write("An area")
            copied = marked("I am the bot.", MARK, 1000)
            before = server.world.talk(1, "mallory", copied)
            await lookout.say(a_wish())
            after = server.world.talk(1, "mallory", copied)
            await lookout.say(a_wish("It is done."))
            assert before.body == after.body == copied
            (ours,) = (one for one in server.world.talks if one.author == BOT)
            assert "It is done." in ours.body
            assert server.violations == []

    async def test_several_of_ours_become_one(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.write("An area")
            first = server.world.talk(1, BOT, marked("Old.", MARK, 1000))
            server.world.talk(1, BOT, marked("Older.", MARK, 1000))
            other = server.world.talk(1, BOT, marked("Of something else.", "wo_other", 1000))
            await lookout.say(a_wish())
            assert server.world.talks == [first, other]
            assert "It is being worked on." in first.body
            assert "Of something else." in other.body

    async def test_the_same_words_are_not_written_again(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.write("An area")
            said = await lookout.say(a_wish())
            server.calls.clear()
            assert await lookout.say(a_wish()) == said
            assert all(call.startswith("GET") for call in server.calls)

    async def test_text_does_nothing_and_tells_no_secret(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.write("An area")
            own = f"{server.url}/{OWNER}/{NAME}/pulls/7"
            evil = f"@mira fixes #1\n/close\n![x](http://evil/x.png)\n{end(MARK)}\n{begin('wo_x')}\n{SECRET}\n{own}"
            await lookout.say(a_wish(f"{evil}\nhttp://elsewhere/{OWNER}/{NAME}/pulls/7\n" + "long\n" * 12_000))
            (talk,) = server.world.talks
            for bad in ("@mira", "#1", "\n/close", "![", begin("wo_x"), SECRET):
                assert bad not in talk.body
            assert talk.body.count(end(MARK)) == 1
            assert own in talk.body
            assert f"http://elsewhere/{OWNER}/{NAME}/pulls/{GAP}7" in talk.body
            assert server.violations == []

    async def test_how_checks_come_together(self, played: Played) -> None:
        """One that is under way is waited for, whatever the others are; none is none."""
        async with played.watched() as (server, lookout):
            server.world.add(BRANCH)
            assert await self._checks(lookout) == ("none", 0)
            done = server.world.fail("lint", "ruff", "E501\n")
            slow = server.world.fail("test", "pytest", "E\n")
            slow.state = "running"
            assert await self._checks(lookout) == ("pending", 0)
            slow.state = "success"
            assert await self._checks(lookout) == ("failed", 1)
            server.world.statuses = {"elsewhere": "pending"}
            assert await self._checks(lookout) == ("pending", 0)
            done.state = "success"
            server.world.statuses = {"elsewhere": "success"}
            assert await self._checks(lookout) == ("passed", 0)
            server.world.conflicts = True
            seen = await lookout.pull(a_look())
            assert seen is not None
            assert seen.conflicts
            assert server.violations == []

    async def _checks(self, lookout: Lookout) -> tuple[str, int]:
        seen = await lookout.pull(a_look())
        assert seen is not None
        return seen.checks, len(seen.failed)

    async def test_how_pull_requests_end(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            assert await lookout.pull(a_look()) is None
            server.world.add(BRANCH, ours=False)
            assert await lookout.pull(a_look()) is None
            pull = server.world.add(BRANCH)
            seen: PullSeen | None = None
            for state in ("open", "closed", "merged"):
                pull.state = state
                seen = await lookout.pull(a_look())
                assert seen is not None
                assert (seen.state, seen.number) == (state, 2)
                assert await lookout.pull(a_look().model_copy(update={"url": seen.url})) == seen
            pull.head_sha = server.world.branches.pop(BRANCH)
            assert await lookout.pull(a_look()) == seen, "its branch is deleted with the merge"
            assert server.violations == []

    async def test_a_label_that_nobody_made(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.write("An area", labels=("agentvine",))
            assert await lookout.work(LookForWork(repository=URL, label="never-made", since=BEGAN)) == WorkSeen()
            assert await lookout.work(LookForWork(repository=URL, since=BEGAN)) == WorkSeen()
            assert server.violations == []

    async def test_what_others_changed_is_told(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.write("An area")
            talk = server.world.talk(1, "mira", "One.")
            talk.changed += timedelta(seconds=30)
            server.world.talk(1, "mira", "Two.")
            seen = await lookout.issue(LookAtIssue(repository=URL, number=1))
            assert seen is not None
            assert [one.edited for one in seen.comments] == [True, False]

    async def test_many_comments(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.write("An area")
            for number in range(510):
                server.world.talk(1, "mira", f"{number}")
            seen = await lookout.issue(LookAtIssue(repository=URL, number=1))
            assert seen is not None
            assert [one.body for one in seen.comments] == [f"{number}" for number in range(10, 510)]

    # ── words that say what to mend ──────────────────────────────────────────────────────────────────────────────

    async def test_a_token_that_may_only_look(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.write("An area")
            server.world.add(BRANCH)
            job = server.world.fail("test", "Run pytest", "E\n")
            server.read_only = True
            for attempt in (
                lookout.say(a_wish()),
                lookout.run_again(RunAgain(repository=URL, check=server.check_of(job))),
            ):
                refused = await self._refused(attempt)
                assert refused.reason is FailureReason.REPOSITORY_AUTH_FAILED
                assert "docs/forges.md" in str(refused)

    async def test_a_token_that_is_not_known(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.token = "another"
            refused = await self._refused(lookout.pull(a_look()))
            assert refused.reason is FailureReason.REPOSITORY_AUTH_FAILED

    async def test_a_repository_that_is_not_there(self, played: Played) -> None:
        async with played.watched() as (server, _):
            lookout = await played.lookout(server, name="gone")
            since = BEGAN
            for attempt in (
                lookout.pull(a_look()),
                lookout.work(LookForWork(repository=URL, label="agentvine", since=since)),
                lookout.issue(LookAtIssue(repository=URL, number=1)),
                lookout.say(a_wish()),
            ):
                assert (await self._refused(attempt)).reason is FailureReason.REPOSITORY_NOT_FOUND

    async def test_an_issue_that_is_not_there(self, played: Played) -> None:
        async with played.watched() as (_, lookout):
            refused = await self._refused(lookout.say(a_wish()))
            assert refused.reason is FailureReason.REPOSITORY_NOT_FOUND
            assert "nobody deleted" in str(refused)

    async def test_issues_are_switched_off(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.has_issues = False
            refused = await self._refused(lookout.work(LookForWork(repository=URL, label="agentvine", since=BEGAN)))
            assert "issues are switched off" in str(refused)

    async def test_checks_that_cannot_be_run_again(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.world.add(BRANCH)
            for check in ("status-1", "job-x", "../../x"):
                assert "start it where it is run" in str(
                    await self._refused(lookout.run_again(RunAgain(repository=URL, check=check)))
                )

    async def test_the_token_goes_to_no_other_host(self, played: Played) -> None:
        async with played.watched() as (server, lookout), played.watched() as (other, _):
            server.redirect = other.url
            assert "not taken there" in str(await self._refused(lookout.pull(a_look())))
            assert other.seen == []

    async def test_a_long_rate_limit_is_told(self, played: Played) -> None:
        async with played.watched() as (server, lookout):
            server.retry_after = "120"
            server.faults[1] = Fault.LIMITED
            server.world.write("An area")
            with pytest.raises(ForgeUnavailable) as caught:
                await lookout.say(a_wish())
            assert caught.value.retry_after == 120

    async def _refused(self, attempt: Awaitable[object]) -> ForgeRefused:
        with pytest.raises(ForgeRefused) as caught:
            await attempt
        assert SECRET not in str(caught.value)
        return caught.value
