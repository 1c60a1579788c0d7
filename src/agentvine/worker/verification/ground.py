"""Where the commits of one result are tried out: each time in a clean checkout of its own, with the base's commands.

Nothing that runs here was touched by the agent, but all of it is the repository's code: it runs in a box, and what it
leaves behind is read as a stranger's. Commits that were only made to be tried out (`mixed`) are welcome, too.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentvine.domain.evidence import CommandRecord
from agentvine.worker.box import Boxes, OpenBox
from agentvine.worker.checkout import checkout_clean
from agentvine.worker.verification.environments import Environments, environment_key
from agentvine.worker.verification.found import Commands, TestCommand
from agentvine.worker.verification.overlay import with_files_of
from agentvine.worker.verification.runs import RunVerdict, TestRun, Trouble, run_setup, run_tests
from agentvine.worker.verification.subject import Subject


@dataclass(slots=True)
class Notes:
    """What was run and what a reader should know, in the order of events."""

    commands: list[CommandRecord] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, run: TestRun, what: str) -> TestRun:
        """Note a run of tests; `what` says for people on what."""
        self.commands.append(run.record)
        if run.remark:
            self.remarks.append(f"{what}: {run.remark}")
        return run


@dataclass(frozen=True, slots=True)
class Trial:
    """A checkout that is set up, and the box around it, which reaches no more than the base's tests may.

    `broken`: the set-up did not work, nothing should be run.
    """

    place: Path
    where: str
    box: OpenBox
    broken: TestRun | None = None

    def runner(self, *, network: bool) -> OpenBox:
        """The box for a command. Without `network` it reaches nothing, whatever the execution may reach."""
        return replace(self.box, online=network)


@dataclass(frozen=True, slots=True)
class Ground:
    """The ground for one subject. No test run on it takes longer than `longest` seconds."""

    subject: Subject
    commands: Commands
    boxes: Boxes
    longest: float
    notes: Notes = field(default_factory=Notes)
    environments: Environments | None = None
    """Where environments are kept. None: each checkout is set up anew."""
    surroundings: str = ""
    """What else an environment depends on: the tool chain."""

    async def tests(
        self, commit: str, where: str, *, command: TestCommand | None = None, what: str | None = None
    ) -> TestRun:
        """Run the tests on `commit`, one of `subject.commits`.

        `where` is what the evidence calls it, `base` or `result`. `command`: another than the base's own. `what`: note
        the run, and call it so. Raises GitFailed, LimitExceeded, and ValueError if there is no command.
        """
        chosen = command or self.commands.test
        if chosen is None:
            raise ValueError("there is no command that runs tests")
        async with self.trial(commit, where) as trial:
            run = trial.broken
            if run is None:
                box = trial.runner(network=chosen.network)
                run = await run_tests(chosen, trial.place, where, box, self.longest)
        return run if what is None else self.notes.add(run, what)

    @asynccontextmanager
    async def trial(self, commit: str, where: str) -> AsyncIterator[Trial]:
        """A clean checkout of `commit`, set up, for more than running tests. Raises GitFailed, LimitExceeded."""
        subject = self.subject
        place = subject.folder / f"{where}-{commit[:12]}"
        checkout = await checkout_clean(subject.commits, commit, place)
        try:
            key = await self._environment(commit)
            there = await self._placed(key, place)
            wished = self.commands.hosts
            async with self.boxes.box(checkout, subject.private, subject.access, wished=wished) as box:
                broken = None if there else await self._set_up(place, where, box)
                if not there and broken is None and commit == subject.base and box.inner.seen_at != place:
                    await self._keep(key, place)
                test = self.commands.test
                online = test is not None and test.network
                yield Trial(place, where, replace(box, online=online), broken)
        finally:
            with suppress(OSError):  # the execution's whole folder goes in the end
                await checkout.remove()

    async def _environment(self, commit: str) -> str | None:
        """What the environment of `commit` is known by; None if nothing says what it depends on."""
        setup, subject = self.commands.setup, self.subject
        if self.environments is None or setup is None or not setup.files or not setup.makes:
            return None
        files = {file.path: file.sha for file in await subject.commits.list_tree(commit)}
        return environment_key(setup, files, subject.url, self.surroundings)

    async def _placed(self, key: str | None, place: Path) -> bool:
        setup = self.commands.setup
        if setup is None or self.environments is None or key is None:
            return setup is None
        return await self.environments.place(key, place, setup)

    async def _keep(self, key: str | None, place: Path) -> None:
        if self.commands.setup is not None and self.environments is not None and key is not None:
            await self.environments.keep(key, place, self.commands.setup)

    async def _set_up(self, place: Path, where: str, box: OpenBox) -> TestRun | None:
        """Run the set-up command; None if all is well."""
        setup = self.commands.setup
        if setup is None:
            return None
        record = await run_setup(setup, place, where, box)
        if record.exit_code == 0:
            return None
        why = f"the set-up `{' '.join(setup.argv)}` ended with {record.exit_code}: {record.output_tail[-2000:]}"
        return TestRun(verdict=RunVerdict.BROKEN, why=why, record=record, trouble=Trouble.SET_UP)

    async def mixed(self, onto: str, source: str, paths: Collection[str]) -> str:
        """A commit like `onto`, but with the files at `paths` as `source` has them. Raises GitFailed."""
        return await with_files_of(self.subject.commits, onto, source, paths)
