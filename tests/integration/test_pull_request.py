"""A supervised task on a forge, the whole way: cloned and pushed with a token, proven, and proposed once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agentvine.demo.script import Scenario, Turn
from agentvine.domain.forge import ForgeKind
from agentvine.domain.retry import FailureReason
from agentvine.domain.work_order import OrderStatus
from agentvine.domain.worker_types import TaskType
from agentvine.testing.forges.gitea import GiteaServer
from agentvine.testing.forges.hosted import Branches
from agentvine.testing.forges.played import IMPATIENT, OneToken
from agentvine.testing.forges.server import Fault
from agentvine.testing.forges.world import NAME, OWNER, SECRET, World
from agentvine.testing.git_server import GitServer
from agentvine.worker.conclusion import Delivered, Failed
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.forge.choice import Forges
from agentvine.worker.forge.sites import ForgeSite
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirrors
from tests.integration.houses import CODE, House, house, turn, write

NEW = "from calc import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
DOUBLES = Scenario(
    name="feature",
    match=("Double it",),
    turns=(
        turn(write("calc.py", CODE + "\n\ndef twice(a):\n    return 2 * a\n"), write("tests/test_twice.py", NEW)),
        Turn(text="Doubled. Thanks @mira, this closes #7."),
    ),
)


@dataclass
class Hosted:
    """A house whose repository is on a forge."""

    house: House
    forge: GiteaServer
    git: GitServer
    executor: TaskExecutor
    url: str


@asynccontextmanager
async def hosted(root: Path, scenario: Scenario = DOUBLES) -> AsyncIterator[Hosted]:
    async with house(root / "house", scenario) as h:
        served = root / "served"
        (served / OWNER).mkdir(parents=True)
        (served / OWNER / f"{NAME}.git").symlink_to(h.remote)
        world = World()
        world.branches = Branches(h.remote)
        async with GitServer(served, password=SECRET) as git, GiteaServer(world) as forge:
            gitter = Git(root / "home", credentials=OneToken())
            site = ForgeSite(kind=ForgeKind.GITEA, url=git.url("").rstrip("/"), api=f"{forge.url}/api/v1")
            shop = replace(
                h.shop,
                git=gitter,
                mirrors=Mirrors(gitter, root / "mirrors"),
                forges=Forges([site], OneToken(), h.shop.clock, IMPATIENT),
            )
            yield Hosted(h, forge, git, TaskExecutor(shop), git.url(f"{OWNER}/{NAME}.git"))


async def test_one_pull_request_with_the_evidence_in_it(tmp_path: Path) -> None:
    async with hosted(tmp_path) as there:
        task = await there.house.submit(TaskType.FEATURE, "Double it", repository=there.url)
        claimed = await there.house.claim(TaskType.FEATURE)
        conclusion, progress = await there.house.execute(claimed, there.executor)
        assert isinstance(conclusion, Delivered), conclusion
        order = await there.house.report(claimed, conclusion, progress)
        assert order.status is OrderStatus.COMPLETED
        (pull,) = there.forge.world.pulls
        assert pull.branch == conclusion.delivery.branch
        assert there.forge.world.branches[pull.branch] == conclusion.delivery.new_sha
        assert conclusion.delivery.kind == "pull_request"
        assert conclusion.delivery.url is not None
        assert "the new tests fail without the change" in pull.body and task.id in pull.body
        assert "@mira" not in pull.body and "closes #7" not in pull.body
        assert SECRET not in str(there.git.requests)
        assert SECRET not in str((await there.house.desk.transcript(claimed.lease.execution_id)).entries)


async def test_a_forge_that_is_down_costs_no_attempt_and_no_second_run_of_claude(tmp_path: Path) -> None:
    async with hosted(tmp_path) as there:
        h = there.house
        await h.submit(TaskType.FEATURE, "Double it", repository=there.url)
        there.forge.faults = dict.fromkeys(range(200), Fault.CUT_AFTER)
        claimed = await h.claim(TaskType.FEATURE)
        conclusion, progress = await h.execute(claimed, there.executor)
        assert isinstance(conclusion, Failed) and conclusion.failure.reason is FailureReason.FORGE_UNAVAILABLE
        order = await h.report(claimed, conclusion, progress)
        assert (order.status, order.charged) == (OrderStatus.PENDING, 0)
        asked = len(h.model.model.requests)

        there.forge.faults = {}
        await h.site.pass_time(60)
        claimed = await h.claim(TaskType.FEATURE)
        conclusion, progress = await h.execute(claimed, there.executor)
        assert isinstance(conclusion, Delivered), conclusion
        assert len(there.forge.world.pulls) == 1
        assert len(h.model.model.requests) == asked
