"""The checker finds what it is there to find: violations that are planted in a history which was in order."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentvine.domain.errors import LeaseLost
from agentvine.domain.execution import Delivery
from agentvine.domain.worker_types import TaskType
from agentvine.kit import failpoints
from agentvine.kit.process import spawn
from agentvine.testing.cast import Hand, a_task, a_worker
from agentvine.testing.databases import sqlite_database
from agentvine.testing.git_repository import GitRepository, git
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire.messages import Claimed
from tests.chaos.history import PullSeen, Scene, check
from tests.chaos.ledger import Ledger

SECRET = "av_never_to_be_seen"


@dataclass(frozen=True)
class Run:
    """A run of three orders: one pushed, one lost and then delivered as a branch, one cancelled."""

    where: Path
    pushed: str
    branched: str
    tasks: tuple[str, ...]

    @property
    def remote(self) -> Path:
        return self.where / "remote.git"

    def moved(self, where: Path) -> "Run":
        shutil.copytree(self.where, where)
        return Run(where, self.pushed, self.branched, self.tasks)

    def scene(self) -> Scene:
        return Scene(
            ledger=self.ledger,
            remotes={"https://git.example/team/project.git": self.remote},
            accepted=self.tasks,
            marks=(str(self.where),),
            workspaces=(self.where / "work",),
            logs=tuple(self.where.glob("*.log")),
            secrets=(SECRET,),
        )

    @property
    def ledger(self) -> Ledger:
        return Ledger(f"sqlite:///{self.where / 'agentvine.db'}")

    def sql(self, statement: str, **parameters: str) -> None:
        """What no server would do."""
        assert self.ledger.change(statement, **parameters) > 0, statement


async def deliver(hand: Hand, claimed: Claimed, remote: Path, branch: str, kind: str) -> None:
    """A commit that names its task, journaled, pushed and completed."""
    message = f"docs: a page\n\nAgentVine-Task: {claimed.task.id}"
    sha = (await git("commit-tree", "main^{tree}", "-p", "main", "-m", message, cwd=remote)).strip()
    delivery = Delivery(kind=kind, branch=branch, new_sha=sha)
    await git("update-ref", f"refs/heads/{branch}", sha, cwd=remote)
    await hand.complete(claimed, delivery)


async def lost(site: InProcessSite, hand: Hand) -> Claimed:
    """An order that the hand took, and lost."""
    claimed = await hand.take_and_start()
    await site.pass_time(site.terms.lease_seconds + 5)
    return claimed


async def play(where: Path) -> Run:
    repository = await GitRepository.create(where / "tree", {"README.md": "# One\n"})
    remote = await repository.bare_copy(where / "remote.git")
    url = sqlite_database(where)
    async with in_process_site(url, where) as site:
        desk = await site.front_desk()
        one, two = await a_worker(site), await a_worker(site, "wrk_two", TaskType.TEST)
        pushed, branched, cancelled = [await desk.submit(a_task(priority=urgency)) for urgency in (2, 1, 0)]
        await deliver(one, await one.take_and_start(), remote, "main", "push")
        late = await lost(site, one)
        again = await two.take_and_start()
        await deliver(two, again, remote, f"agentvine/test/{again.task.id[-8:]}-branch", "branch")
        with pytest.raises(LeaseLost):
            await one.complete(late)
        await desk.cancel(cancelled.id)
    (where / "server.log").write_text('{"event": "serving"}\n')
    return Run(
        where, pushed.work_order_id, branched.work_order_id, tuple(one.id for one in (pushed, branched, cancelled))
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Run:
    where = tmp_path_factory.mktemp("sound") / "run"
    where.mkdir()
    return asyncio.run(play(where))


@pytest.fixture
def run(sound: Run, tmp_path: Path) -> Run:
    return sound.moved(tmp_path / "run")


async def test_nothing_is_found_in_a_history_that_is_in_order(run: Run) -> None:
    assert await check(run.scene()) == []


async def completed_twice(run: Run) -> None:
    run.sql("UPDATE executions SET outcome = 'completed' WHERE outcome = 'lost'")


async def told_twice(run: Run) -> None:
    run.sql(
        """INSERT INTO events (seq, at, kind, task_id, work_order_id, execution_id, worker_id, actor, data)
           SELECT 9999, at, kind, task_id, work_order_id, execution_id, worker_id, actor, data
           FROM events WHERE kind = 'order.completed' AND work_order_id = :id""",
        id=run.pushed,
    )


async def wrong_sha(run: Run) -> None:
    ref = (await git("for-each-ref", "--format=%(refname)", "refs/heads/agentvine", cwd=run.remote)).strip()
    await git("update-ref", ref, "main", cwd=run.remote)


async def push_undone(run: Run) -> None:
    await git("update-ref", "refs/heads/main", "main~1", cwd=run.remote)


async def pushed_twice(run: Run) -> None:
    said = f"docs: again\n\nAgentVine-Task: {run.tasks[0]}"
    sha = await git("commit-tree", "main^{tree}", "-p", "main", "-m", said, cwd=run.remote)
    await git("update-ref", "refs/heads/main", sha.strip(), cwd=run.remote)


async def two_branches(run: Run) -> None:
    await git("update-ref", f"refs/heads/agentvine/test/{run.tasks[1][-8:]}-other", "main", cwd=run.remote)


async def too_many_attempts(run: Run) -> None:
    run.sql("UPDATE work_orders SET max_attempts = 1 WHERE id = :id", id=run.branched)


async def attempts_shrank(run: Run) -> None:
    run.sql("UPDATE work_orders SET attempts = 1 WHERE id = :id", id=run.branched)


async def in_no_state(run: Run) -> None:
    run.sql("UPDATE work_orders SET status = 'limbo' WHERE id = :id", id=run.pushed)


async def order_gone(run: Run) -> None:
    run.sql("UPDATE work_orders SET task_id = 'tsk_other' WHERE id = :id", id=run.pushed)


async def never_ended(run: Run) -> None:
    run.sql("UPDATE work_orders SET status = 'running' WHERE id = :id", id=run.pushed)


async def stale_token(run: Run) -> None:
    """The completion of the second attempt is told of the first one, whose lease was over."""
    run.sql(
        """UPDATE events SET execution_id = (SELECT id FROM executions WHERE outcome = 'lost')
           WHERE kind = 'order.completed' AND work_order_id = :id""",
        id=run.branched,
    )


async def claimed_while_held(run: Run) -> None:
    run.sql("DELETE FROM events WHERE kind = 'order.lost'")


async def stored_too_late(run: Run) -> None:
    run.sql(
        """INSERT INTO artifacts (execution_id, name, sha256, size, stored_at)
           SELECT id, 'bundle', 'x', 1, ended_at + 1 FROM executions WHERE outcome = 'lost'"""
    )


async def passed_over(run: Run) -> None:
    """The one that was cancelled had been more urgent all the time."""
    run.sql("UPDATE work_orders SET priority = 9 WHERE status = 'cancelled'")


async def left_behind(run: Run) -> None:
    (run.where / "work" / "executions" / "exe_1").mkdir(parents=True)


async def secret_told(run: Run) -> None:
    (run.where / "server.log").write_text(f'{{"event": "serving", "key": "{SECRET}"}}\n')


async def secret_kept(run: Run) -> None:
    run.sql("UPDATE executions SET summary = :secret", secret=SECRET)


async def server_broke(run: Run) -> None:
    (run.where / "server.log").write_text('{"event": "unexpected", "path": "/api/v1/tasks"}\n')


PLANTED: list[tuple[Callable[[Run], Awaitable[None]], set[str]]] = [
    (completed_twice, {"I2"}),
    (told_twice, {"I2", "I3"}),
    (wrong_sha, {"I4"}),
    (push_undone, {"I4"}),
    (pushed_twice, {"I4"}),
    (two_branches, {"I4"}),
    (too_many_attempts, {"I5"}),
    (attempts_shrank, {"I5"}),
    (in_no_state, {"I1", "I2"}),
    (order_gone, {"I1", "I4"}),
    (never_ended, {"I1", "I2"}),
    (stale_token, {"I3"}),
    (claimed_while_held, {"I3"}),
    (stored_too_late, {"I3"}),
    (passed_over, {"I6"}),
    (left_behind, {"I7"}),
    (secret_told, {"I8"}),
    (secret_kept, {"I8"}),
    (server_broke, {"I9"}),
]


@pytest.mark.parametrize(("plant", "expected"), PLANTED, ids=lambda one: getattr(one, "__name__", ""))
async def test_what_is_planted_is_found(run: Run, plant: Callable[[Run], Awaitable[None]], expected: set[str]) -> None:
    await plant(run)
    assert {violation.invariant for violation in await check(run.scene())} == expected


async def test_a_second_pull_request_and_one_that_is_not_there_are_found(run: Run) -> None:
    """The branch's order has recorded a pull request."""
    run.sql("UPDATE executions SET delivery = replace(delivery, '\"branch\",', '\"pull_request\",')")
    (done,) = run.ledger.rows(
        "SELECT delivery FROM executions WHERE outcome = 'completed' AND work_order_id = :id", id=run.branched
    )
    branch = json.loads(done["delivery"])["branch"]
    one = PullSeen(1, branch, f"<!-- agentvine:{run.branched} -->", "open")
    url = next(iter(run.scene().remotes))

    async def found(*pulls: PullSeen) -> list[str]:
        return [violation.what for violation in await check(run.scene().but(pulls={url: pulls}))]

    assert await found(one) == []
    assert await found() == [f"{branch} is recorded, and [] are its pull requests"]
    twice = await found(one, PullSeen(2, branch, one.body, "open"))
    assert "it has 2 pull requests" in twice[0]


async def test_a_process_that_was_left_is_found(run: Run) -> None:
    async with await spawn(["sleep", "60"], cwd=run.where, env={"PATH": "/usr/bin:/bin"}) as left:
        found = await check(run.scene())
        assert [(one.invariant, one.where) for one in found] == [("I7", f"process {left.pid}")]
        assert await check(run.scene().but(spared=frozenset({left.pid}))) == []


async def test_a_server_that_believes_a_stale_token_is_found(tmp_path: Path) -> None:
    """The bug that a failpoint plants: a worker that lost its order completes it while another works on it."""
    repository = await GitRepository.create(tmp_path / "tree", {"README.md": "# One\n"})
    remote = await repository.bare_copy(tmp_path / "remote.git")
    url = sqlite_database(tmp_path)
    failpoints.arm("lease.unchecked:plant")
    try:
        async with in_process_site(url, tmp_path) as site:
            task = await (await site.front_desk()).submit(a_task())
            one, two = await a_worker(site), await a_worker(site, "wrk_two")
            late = await lost(site, one)
            await two.take_and_start()
            await deliver(one, late, remote, "main", "push")
    finally:
        failpoints.arm("")
    scene = Scene(Ledger(url), {"https://git.example/team/project.git": remote}, (task.id,))
    found = await check(scene)
    assert {"I3"} <= {one.invariant for one in found}, found
    assert any("order.completed" in one.where for one in found)
