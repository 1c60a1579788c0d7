"""Running linters, type checkers and measurements of coverage on a commit, with the settings that the base has."""

import asyncio
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.kit.logs import redact
from agentvine.kit.process import Completed
from agentvine.worker.analysis.analysers import says_how
from agentvine.worker.box import NOT_FOUND, TIMED_OUT, attempt
from agentvine.worker.hostile import Refused, read_beneath
from agentvine.worker.sandbox.profile import WORKSPACE
from agentvine.worker.verification.found import REPORT, ToolCommand, Writes
from agentvine.worker.verification.ground import Ground, Trial
from agentvine.worker.verification.report_files import clear_reports, is_pattern, read_reports
from agentvine.worker.verification.runs import record_of, within

_LARGEST = 64 * 1024 * 1024
_SETTINGS = frozenset(
    {
        ".coveragerc",
        ".flake8",
        "setup.cfg",
        "tox.ini",
        "pyproject.toml",
        "clippy.toml",
        ".clippy.toml",
        "pyrightconfig.json",
        "Makefile",
        "GNUmakefile",
        "makefile",
    }
)
_SETTINGS_START = (".golangci.", "jest.config.", "vitest.config.", "vite.config.")
_ABSENT = re.compile(
    r"No module named |command not found|could not determine executable|not found: |is not recognized|no such command"
    r"|No rule to make target|Cannot find module|is not installed",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ToolRun:
    """What a tool left. `reports` are the contents of its files; `absent` says why it came to nothing, if it did."""

    tool: ToolCommand
    done: Completed
    reports: tuple[bytes, ...] = ()
    absent: str = ""
    root: str = ""
    """The name that the checkout had on the host."""

    @property
    def roots(self) -> tuple[str, ...]:
        """The names that the checkout may have had for the tool."""
        return (self.root, WORKSPACE)

    @property
    def last_line(self) -> str:
        """What it said last, for people."""
        return _last_line(self.done)


async def run_tools(ground: Ground, tools: Sequence[ToolCommand], commit: str, where: str) -> list[ToolRun] | str:
    """Run `tools` one after another in one clean checkout of `commit`; a reason if it cannot be set up.

    Each run stands in the evidence. Raises GitFailed, LimitExceeded.
    """
    async with ground.trial(commit, where) as trial:
        if trial.broken is not None:
            return trial.broken.why
        return [await _run(ground, tool, trial) for tool in tools]


def steers_tools(path: str) -> bool:
    """Whether the file at `path` may say how tools judge: for them it is taken from the base."""
    name = PurePosixPath(path).name
    return name in _SETTINGS or name.startswith(_SETTINGS_START) or says_how(path)


async def with_settings_of_base(ground: Ground, changed: Sequence[str]) -> str:
    """The result, but with the tools' settings as the base has them. Raises GitFailed."""
    steering = [path for path in changed if steers_tools(path)]
    subject = ground.subject
    return await ground.mixed(subject.head, subject.base, steering) if steering else subject.head


async def _run(ground: Ground, tool: ToolCommand, trial: Trial) -> ToolRun:
    wanted = any(REPORT in argument for argument in tool.argv)
    report = f".agentvine-{secrets.token_hex(8)}.report"
    place = report if wanted else tool.report_in_checkout
    argv = within(tool.directory, tool.argv, report)
    seconds = min(tool.timeout_seconds, ground.longest)
    try:
        if not wanted and place is not None:
            await asyncio.to_thread(clear_reports, trial.place, place)
        done = await attempt(trial.runner(network=tool.network), argv, cwd=trial.place, timeout=seconds)
        reports = await asyncio.to_thread(_read, trial, tool, place) if place is not None else ()
    except Refused as error:
        done = Completed(tuple(tool.argv), NOT_FOUND, "", str(error), 0.0, truncated=False)
        reports = ()
    ground.notes.commands.append(record_of(done, trial.where, tool.argv))
    return ToolRun(tool, done, reports, _why_absent(done, reports), str(trial.place))


def _read(trial: Trial, tool: ToolCommand, place: str) -> tuple[bytes, ...]:
    if is_pattern(place):
        return tuple(read_reports(trial.place, place, _LARGEST))
    if tool.writes is Writes.LCOV:
        place = f"{place}/lcov.info"  # it is given a folder
    try:
        return (read_beneath(trial.place, place, _LARGEST),)
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _why_absent(done: Completed, reports: tuple[bytes, ...]) -> str:
    if done.exit_code == TIMED_OUT:
        return "it did not end in time"
    if done.exit_code == NOT_FOUND or (
        done.exit_code != 0 and not reports and _ABSENT.search(f"{done.stdout}\n{done.stderr}"[-4000:])
    ):
        return _last_line(done)
    return ""


def _last_line(done: Completed) -> str:
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return redact(lines[-1][:300]) if lines else f"it ended with {done.exit_code} and printed nothing"
