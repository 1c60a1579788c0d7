"""The tests of base commits: run once for all orders on this host, and again where a doubt arises."""

import asyncio

from agentvine.domain.worker_types import TaskType
from agentvine.worker.verification.base_results import BaseResults
from agentvine.worker.verification.ground import Ground
from agentvine.worker.verification.repeated import MOST_RUNS, doubtful, together
from agentvine.worker.verification.runs import RunVerdict, TestRun, Trouble
from agentvine.worker.verification.subject import SetupFailed

_SAY = "or say in .agentvine.toml on the base branch how"
_TO_MEND = {
    Trouble.SET_UP: f"the base cannot be set up; mend that on the base branch, {_SAY} it is done ([setup] command = …)",
    Trouble.TIMED_OUT: "the tests of the base take too long; make them faster, let fewer of them be run ([test] "
    "command = … in .agentvine.toml on the base branch), or give them more time ([test] timeout_seconds = … there, and "
    "TEST_TIMEOUT of the worker)",
    Trouble.NOT_STARTED: "the tests of the base cannot be started; install on the worker what they are run with, "
    f"{_SAY} they are run ([test] command = …)",
}
_CONTRADICTION = (
    "nothing can be told from the tests of the base; mend them, "
    f"{_SAY} they are run without what fails beside them ([test] command = …)"
)


class BaseRuns:
    """What the tests of base commits come to. `surroundings` names whatever else that depends on (the tool chain)."""

    def __init__(self, kept: BaseResults, surroundings: str) -> None:
        self._kept = kept
        self._surroundings = surroundings
        self._one_at_a_time = asyncio.Lock()

    async def of(self, ground: Ground) -> TestRun:
        """The tests on the base of the ground's subject. Those that fail are run once more: some may be flaky.

        Raises SetupFailed, which says what to mend, if they cannot be run; documentation can do without.
        """
        async with self._one_at_a_time:
            run = self._find(ground)
            if run is None:
                run = await ground.tests(ground.subject.base, "base")
                if run.verdict is RunVerdict.FAILED and run.cases is not None:
                    run = together(run, await ground.tests(ground.subject.base, "base"))
                self._keep(ground, run)
        if ground.subject.type is not TaskType.DOCS:
            _must_say_something(run)
        return run

    async def doubted(self, ground: Ground, known: TestRun, after: TestRun) -> TestRun:
        """The tests on the base, run again if they are not known well enough to judge `after` by them.

        A test that fails on the result may be one that fails now and then: on the base it may yet do so. Those that
        fail each time on the result get one more chance there, those that fail now and then all that there are.
        """
        chances = MOST_RUNS if doubtful(known, after) & after.unsteady else 2
        while known.times < chances and doubtful(known, after):
            async with self._one_at_a_time:
                more = await ground.tests(ground.subject.base, "base", what="base, again")
                if more.cases is None:
                    return known
                known = together(known, more)
                self._keep(ground, known)
        return known

    def _find(self, ground: Ground) -> TestRun | None:
        return self._kept.find(ground.subject.url, ground.subject.base, ground.commands, self._surroundings)

    def _keep(self, ground: Ground, run: TestRun) -> None:
        self._kept.keep(ground.subject.url, ground.subject.base, ground.commands, self._surroundings, run)


def _must_say_something(run: TestRun) -> None:
    if run.verdict is RunVerdict.BROKEN:
        raise SetupFailed(f"{_TO_MEND[run.trouble or Trouble.NOT_STARTED]}: {run.why}")
    if run.verdict is RunVerdict.UNKNOWN:
        raise SetupFailed(f"{_CONTRADICTION}: {run.why}")
