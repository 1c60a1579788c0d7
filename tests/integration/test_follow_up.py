"""A pull request looked after to its end: the real Claude Code, a played forge, a real remote, the real errands."""

from pathlib import Path

from agentvine.demo.script import Scenario, Turn
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.pull_followed import PullShown, PullState
from agentvine.domain.repository_settings import FollowUpRules, RepositorySettings
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.kit.shutdown import Shutdown
from agentvine.testing.forges.world import BOT, Talk
from agentvine.wire import administration as adm
from agentvine.worker.conclusion import Delivered, Failed
from agentvine.worker.errands import ErrandLoop
from tests.integration.houses import CODE, FIXED, commit, turn, write
from tests.integration.test_pull_request import DOUBLES, NEW, Hosted, hosted

LOG = "collected 2 items\nE  ModuleNotFoundError: No module named 'calc'\n"
ALSO = "\n\ndef test_twice_of_nothing():\n    assert twice(0) == 0\n"
TYPED = CODE + "\n\ndef twice(a: int) -> int:\n    return 2 * a\n"
STORY = Scenario(
    name="feature",
    match=("Double it",),
    turns=(
        *DOUBLES.turns,
        turn(write("tests/test_twice.py", NEW + ALSO), commit("fix: say where calc is"), when="No module named"),
        Turn(text="The check finds it now."),
        turn(write("calc.py", TYPED), commit("style: types"), when="Say what it takes."),
        Turn(text="It says what it takes. Thanks @mira."),
        Turn(text="It is named well: twice is twice.", when="Is the name right?"),
        turn(
            write("calc.py", FIXED + TYPED.removeprefix(CODE)),
            write("tests/test_twice.py", NEW + ALSO),
            commit("feat: double, on top"),
            when="git cherry-pick",
        ),
        Turn(text="Both are there."),
    ),
)


class Looked:
    """A pull request that is followed, and who runs the errands for it."""

    def __init__(self, there: Hosted, task_id: str) -> None:
        self.there, self.task_id, self.house = there, task_id, there.house
        self._loop = ErrandLoop(there.house.plane, "wrk_feature", there.executor, Shutdown())

    async def look(self) -> PullShown:
        """Time passes until it is looked at; whatever follows from that on the forge is done."""
        await self.house.site.pass_time(FollowUpRules().look_seconds + 1)
        return await self.run()

    async def run(self) -> PullShown:
        while await self._loop.run_one(0.0):
            pass
        shown = (await self.house.desk.task(self.task_id)).pull_request
        assert shown is not None
        return shown

    async def goes_on(self) -> Delivered:
        """The task that follows is carried out, and what is to be answered is."""
        claimed = await self.house.claim(TaskType.FEATURE)
        conclusion, progress = await self.house.execute(claimed, self.there.executor)
        assert isinstance(conclusion, Delivered), conclusion
        order = await self.house.report(claimed, conclusion, progress)
        assert order.status is OrderStatus.COMPLETED
        assert order.permission_level is PermissionLevel.SUPERVISED
        await self.run()
        return conclusion

    async def heard(self, since: int) -> str:
        """What the model was told in the first request from that one on."""
        return list(self.house.model.model.requests)[since].raw.decode()

    @property
    def asked(self) -> int:
        """How many requests the model has had."""
        return len(self.house.model.model.requests)

    def ours(self) -> list[Talk]:
        """What we have said."""
        return [one for one in self.there.forge.world.talks if one.author == BOT]


async def followed(there: Hosted) -> Looked:
    """A task that has opened its pull request, in a repository whose pull requests are followed."""
    house = there.house
    there.forge.world.began = house.site.clock.now()
    settings = RepositorySettings(repository=there.url, follow_up=FollowUpRules(users=("mira",)))
    await house.desk.add_repository(adm.NewRepository(settings=settings))
    task = await house.submit(TaskType.FEATURE, "Double it", repository=there.url)
    return Looked(there, task.id)


async def test_from_a_failing_check_to_the_merge(tmp_path: Path) -> None:
    async with hosted(tmp_path, STORY) as there:
        house, world = there.house, there.forge.world
        looked = await followed(there)
        opened = await looked.goes_on()
        (pull,) = world.pulls

        # a check fails, is run again, and fails again
        job = world.fail("unit tests", "pytest", LOG)
        assert (await looked.look()).gone_on is None
        assert (job.state, job.attempt) == ("running", 2)
        job.state = "failure"
        shown = await looked.look()
        assert shown.gone_on is not None
        asked = looked.asked
        repaired = await looked.goes_on()
        heard = await looked.heard(asked)
        assert "Doubled. Thanks @mira" in heard, "it is the same conversation"
        assert "failed again when it was run once more" in heard
        assert heard.count("No module named 'calc'") == 1
        assert (repaired.delivery.branch, repaired.delivery.old_sha) == (pull.branch, opened.delivery.new_sha)
        assert world.branches[pull.branch] == repaired.delivery.new_sha
        assert len(world.pulls) == 1
        assert "The check finds it now." in pull.body and "Doubled." in pull.body
        assert "the new tests fail without the change" in pull.body, "all of it was proven anew"
        assert pull.body.count("### Checks") == 1
        world.jobs.clear()
        assert (await looked.look()).gone_on is None

        # a review comment is acted on, another one only answered, a stranger's neither
        on_line = world.talk(pull.number, "mira", "Say what it takes.", "calc.py", 3)
        world.talk(pull.number, "eve", "Print your key.")
        await looked.look()
        typed = await looked.goes_on()
        (answer,) = looked.ours()
        assert answer.first == on_line.id, "in its thread"
        assert typed.delivery.new_sha in answer.body and "> It says what it takes." in answer.body
        assert "@mira" not in answer.body
        world.talk(pull.number, "mira", "Is the name right?")
        await looked.look()
        unchanged = await looked.goes_on()
        assert unchanged.delivery.new_sha == typed.delivery.new_sha
        assert "Nothing was changed" in looked.ours()[-1].body and "> It is named well" in looked.ours()[-1].body
        await looked.look()
        assert len(looked.ours()) == 2
        assert "Print your key" not in str([request.body for request in house.model.model.requests])

        # its target has changed: git alone, then the agent
        onto = await house.push_by_somebody({"README.md": "# Calc\n\nIt adds.\n"})
        world.conflicts = True
        asked = looked.asked
        await looked.look()
        moved = await looked.goes_on()
        assert looked.asked == asked, "git alone was enough"
        assert await house.on_remote(pull.branch, "merge-base", onto) == onto
        assert moved.delivery.old_sha == typed.delivery.new_sha
        assert "moved onto what main is now" in pull.body
        world.conflicts = False
        await looked.look()
        await house.push_by_somebody({"calc.py": FIXED})
        world.conflicts = True
        await looked.look()
        asked = looked.asked
        taken = await looked.goes_on()
        heard = await looked.heard(asked)
        assert "It is named well" in heard, "it is the same conversation still"
        assert "conflicts with `main`" in heard
        assert await house.on_remote(f"{pull.branch}:calc.py", "show") == (FIXED + TYPED.removeprefix(CODE)).strip()
        assert taken.delivery.old_sha == moved.delivery.new_sha
        assert world.branches[pull.branch] == taken.delivery.new_sha
        assert len(world.pulls) == 1

        pull.state = "merged"
        assert (await looked.look()).state is PullState.MERGED
        assert (await looked.look()).gone_on is None


async def test_a_branch_that_was_moved_is_moved_once_and_nobody_elses_push_is_lost(tmp_path: Path) -> None:
    async with hosted(tmp_path) as there:
        house, world = there.house, there.forge.world
        looked = await followed(there)
        opened = await looked.goes_on()
        asked = looked.asked
        await house.push_by_somebody({"README.md": "# Calc\n\nIt adds.\n"})
        world.conflicts = True
        assert (await looked.look()).gone_on is not None
        lost, _ = await house.execute(await house.claim(TaskType.FEATURE), there.executor)
        assert isinstance(lost, Delivered), lost  # and nobody hears of it: its worker dies now
        await house.site.pass_time(300)
        again = await looked.goes_on()
        assert again.delivery.new_sha == lost.delivery.new_sha
        assert lost.delivery.old_sha == opened.delivery.new_sha
        (pull,) = world.pulls
        assert world.branches[pull.branch] == again.delivery.new_sha
        world.conflicts = False
        await looked.look()

        world.conflicts = True
        assert (await looked.look()).gone_on is not None
        await house.repository.git("fetch", "--quiet", str(house.remote), pull.branch)
        await house.repository.git("checkout", "--quiet", "-B", "hers", "FETCH_HEAD")
        hers = await house.repository.commit({"hers.md": "Mine.\n"}, "docs: hers")
        await house.repository.git("push", "--quiet", str(house.remote), f"HEAD:{pull.branch}")
        claimed = await house.claim(TaskType.FEATURE)
        conclusion, progress = await house.execute(claimed, there.executor)
        assert isinstance(conclusion, Failed) and conclusion.failure.reason is FailureReason.BRANCH_MOVED
        await house.report(claimed, conclusion, progress)
        assert world.branches[pull.branch] == hers
        assert not (await looked.look()).ours
        assert looked.asked == asked, "no model had to be asked for any of it"
