"""Running analysers in a box, over the files of one checkout."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.kit.process import Completed
from agentvine.worker.analysis.analysers import MOST_FILES, Analyser, configured
from agentvine.worker.analysis.reported import Reported, UnreadableOutput, read_reported
from agentvine.worker.box import NOT_FOUND, TIMED_OUT, attempt
from agentvine.worker.sandbox.profile import WORKSPACE
from agentvine.worker.workspace import BoxRunner

_ASKING_SECONDS = 120.0
_NUMBER = re.compile(r"\d+(?:\.\d+)+")
_MARK = "\x1e"


@dataclass(frozen=True, slots=True)
class Run:
    """One analyser's run. `found` None: it came to nothing, `why` says why."""

    analyser: Analyser
    version: str
    files: int
    done: tuple[Completed, ...]
    found: tuple[Reported, ...] | None
    why: str = ""

    @property
    def exit_code(self) -> int:
        return self.done[-1].exit_code


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be run: analysers, the base's settings, and for each analyser no longer than `seconds`."""

    analysers: tuple[Analyser, ...]
    versions: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 600.0


async def versions(analysers: Collection[Analyser], checkout: Path, box: BoxRunner) -> dict[str, str]:
    """The versions of those that are there, by name. Raises LimitExceeded."""
    asked = "; ".join(
        f"printf '\\036%s\\n' {shlex.quote(one.name)}; {shlex.join(one.version)} 2>/dev/null" for one in analysers
    )
    done = await attempt(box, ("sh", "-c", asked), cwd=checkout, timeout=_ASKING_SECONDS)
    told = {}
    for part in done.stdout.split(_MARK)[1:]:
        name, _, said = part.partition("\n")
        if (number := _NUMBER.search(said)) is not None:
            told[name] = number[0]
    return told


async def run_analysers(wanted: Wanted, paths: Collection[str], checkout: Path, box: BoxRunner) -> list[Run]:
    """Run each analyser that is there over those of `paths` that it reads. Raises LimitExceeded."""
    runs = []
    for analyser in wanted.analysers:
        files = analyser.files(paths)
        if files and analyser.name in wanted.versions:
            runs.append(await _run(analyser, files, wanted, checkout, box))
    return runs


async def _run(analyser: Analyser, files: Sequence[str], wanted: Wanted, checkout: Path, box: BoxRunner) -> Run:
    """With the base's settings; if that does not work (a plugin that is not here), without them."""
    said, made = "", []
    for argv in analyser.commands(files, configured=configured(analyser, wanted.settings)):
        done = await attempt(box, argv, cwd=checkout, timeout=wanted.seconds)
        made.append(done)
        version, count = wanted.versions[analyser.name], min(len(files), MOST_FILES)
        if done.exit_code not in analyser.done:
            said = said or _ended(done)
            continue
        try:
            found = read_reported(analyser.reader, done.stdout, done.stderr, (str(checkout), WORKSPACE))
        except UnreadableOutput as error:
            said = said or str(error)
            continue
        return Run(analyser, version, count, tuple(made), found)
    return Run(analyser, wanted.versions[analyser.name], 0, tuple(made), None, said)


def _ended(done: Completed) -> str:
    if done.exit_code == TIMED_OUT:
        return "it did not end in time"
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    what = "it could not be started" if done.exit_code == NOT_FOUND else f"it ended with {done.exit_code}"
    return f"{what}: {lines[-1][:300]}" if lines else what
