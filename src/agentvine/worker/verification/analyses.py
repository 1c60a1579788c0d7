"""What analysers say of a change that is under review: run over base and result, in checkouts that no agent saw."""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.domain.evidence import Check, CheckOutcome, CommandRecord, Finding
from agentvine.kit.logs import redact
from agentvine.worker.access import Access
from agentvine.worker.analysis.analysers import ALL, MOST_FILES, MYPY, ROOT_SETTINGS, Analyser, configured, says_how
from agentvine.worker.analysis.merging import as_finding, in_place, new_ones, worth_telling
from agentvine.worker.analysis.places import Places, shown_lines
from agentvine.worker.analysis.reported import Reported
from agentvine.worker.analysis.running import Run, Wanted, run_analysers, versions
from agentvine.worker.bare_repository import BareRepository, Diff
from agentvine.worker.box import Boxes, attempt
from agentvine.worker.checkout import checkout_clean
from agentvine.worker.forge.difference import files_of
from agentvine.worker.verification.found import Commands
from agentvine.worker.verification.overlay import with_files_of
from agentvine.worker.verification.runs import within
from agentvine.worker.workspace import BoxRunner

NAME = "analysers really ran"
_LARGEST_DIFF = 32 * 1024 * 1024
_LARGEST_FILE = 4 * 1024 * 1024
_LARGEST_SETTINGS = 1024 * 1024
_LONGEST_TAIL = 4_000
_KEPT = 8
_SHOWN = 10
_ANNOTATED = re.compile(rb"\)\s*->")
_MANIFESTS = re.compile(
    r"(^|/)(requirements[^/]*\.txt|pyproject\.toml|[^/]*\.lock|package(-lock)?\.json|go\.(mod|sum)|Cargo\.toml|setup\.py)$"
)


@dataclass(frozen=True, slots=True)
class UnderReview:
    """A commit that is under review, and since when; `since` None: all that it holds."""

    commits: BareRepository
    url: str
    since: str | None
    head: str
    commands: Commands
    folder: Path
    private: Path
    access: Access


@dataclass(frozen=True, slots=True)
class Change:
    """The files of `head` that are under review, the lines that the diff shows, and what they were called before."""

    paths: tuple[str, ...]
    shown: dict[str, frozenset[int]] | None
    renamed: dict[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Analysis:
    """What came of it. `findings` are new and placed; `check` says what ran and what did not."""

    change: Change
    check: Check
    findings: tuple[Finding, ...] = ()
    commands: tuple[CommandRecord, ...] = ()
    remarks: tuple[str, ...] = ()
    nothing_ran: bool = False
    """True: analysers that a worker brings were needed, and none could be run."""


class Analyses:
    """Analyses of this host, one at a time. The last few are kept: a repaired review asks for the same again."""

    def __init__(self, boxes: Boxes, longest: float, analysers: tuple[Analyser, ...] = ALL) -> None:
        self._boxes = boxes
        self._analysers = analysers
        self._longest = longest
        self._known: OrderedDict[tuple[str, str | None, str], Analysis] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()

    async def of(self, under: UnderReview) -> Analysis:
        """The analysis of `under`. Raises GitFailed, LimitExceeded, OSError."""
        key = under.url, under.since, under.head
        async with self._one_at_a_time:
            if key not in self._known:
                self._known[key] = await self._analyse(under)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return self._known[key]

    async def _analyse(self, under: UnderReview) -> Analysis:
        change = await change_of(under)
        wanted = tuple(one for one in self._analysers if one.files(change.paths))
        remarks = _left_out(change)
        if MYPY in wanted and not await _typed(under, change):
            wanted = tuple(one for one in wanted if one is not MYPY)
            remarks.append("types: the repository does not use mypy, and what is under review has no annotations")
        if not wanted:
            why = "none of the files under review is in a language that has an analyser here"
            check = Check(name=NAME, outcome=CheckOutcome.NOT_APPLICABLE, why=why)
            return Analysis(change, check, remarks=tuple(remarks))
        after = await self._side(under, change, wanted, "result")
        before = await self._side(under, change, wanted, "base", after.versions) if under.since else _Side()
        return await _judged(under, change, wanted, before, after, remarks)

    async def _side(
        self,
        under: UnderReview,
        change: Change,
        wanted: tuple[Analyser, ...],
        where: str,
        known: dict[str, str] | None = None,
    ) -> "_Side":
        """All analysers over one side, with the settings of the base."""
        at = under.since or under.head
        settings = await _settings(under.commits, at)
        paths: tuple[str, ...] = change.paths
        commit = at
        if where == "result":
            commit = await _with_settings_of_base(under)
        else:
            there = {file.path for file in await under.commits.list_tree(at)}
            paths = tuple(sorted({change.renamed.get(path, path) for path in paths} & there))
        place = under.folder / f"reviewed-{where}-{commit[:12]}"
        checkout = await checkout_clean(under.commits, commit, place)
        try:
            wished = under.commands.hosts
            async with self._boxes.box(checkout, under.private, under.access, wished=wished) as box:
                trouble = await _set_up(under.commands, wanted, place, box, self._longest)
                found = known if known is not None else await versions(wanted, place, box.offline)
                job = Wanted(wanted, found, settings, self._longest)
                return _Side(found, await run_analysers(job, paths, place, box.offline), trouble)
        finally:
            with suppress(OSError):  # the execution's whole folder goes in the end
                await checkout.remove()


@dataclass(frozen=True, slots=True)
class _Side:
    versions: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    trouble: str = ""


async def change_of(under: UnderReview) -> Change:
    """What is under review. Raises GitFailed."""
    there = [file.path for file in await under.commits.list_tree(under.head) if file.mode in {"100644", "100755"}]
    if under.since is None:
        return Change(tuple(there), None)
    diff: Diff = await under.commits.diff(under.since, under.head, _LARGEST_DIFF)
    shown = await asyncio.to_thread(lambda: shown_lines(files_of(diff.text)))
    touched = {file.path for file in diff.files}
    renamed = {file.path: file.old for file in diff.files if file.old is not None}
    return Change(tuple(path for path in there if path in touched), shown, renamed, diff.truncated)


async def lengths(commits: BareRepository, commit: str, files: Iterable[str]) -> dict[str, int | None]:
    """How many lines each file has; None where there is no such file. Raises GitFailed."""
    found: dict[str, int | None] = {}
    for path in files:
        if path not in found:
            content = await commits.read_file(commit, path, 5 * _LARGEST_FILE)
            found[path] = None if content is None else content.count(b"\n") + (not content.endswith(b"\n"))
    return found


async def _judged(
    under: UnderReview, change: Change, wanted: tuple[Analyser, ...], before: _Side, after: _Side, remarks: list[str]
) -> Analysis:
    """What is new and can be placed, and whether that is worth anything."""
    earlier = {run.analyser.name: run for run in before.runs}
    told, findings = [], []
    for run in after.runs:
        other = earlier.get(run.analyser.name)
        if run.found is None or (other is not None and other.found is None):
            why = run.why or f"on the base, {other.why if other else ''}"
            remarks.append(f"what {run.analyser.name} {run.version} would say: {why}")
            continue
        new, elsewhere = await _new(under, change, other.found or () if other else (), run.found)
        findings += new
        told.append(_facts(run, len(new), len(elsewhere)))
        remarks += _not_placed(run, elsewhere)
    ran = {run.analyser.name for run in after.runs}
    for one in wanted:
        if one.name not in ran:
            remarks.append(_missing(one, after.trouble))
    records = [_record(run, where) for where, side in (("base", before), ("result", after)) for run in side.runs]
    commands = tuple(record for of_run in records for record in of_run)
    nothing = not told and any(one.comes_with == "worker" for one in wanted)
    return Analysis(change, _check(told, wanted), tuple(findings), commands, tuple(remarks), nothing)


async def _new(
    under: UnderReview, change: Change, before: Iterable[Reported], after: Iterable[Reported]
) -> tuple[list[Finding], list[Reported]]:
    before, after = worth_telling(before), [one for one in worth_telling(after) if one.file in set(change.paths)]
    old = await _lines(under.commits, under.since or under.head, {one.file for one in before})
    new = await _lines(under.commits, under.head, {one.file for one in after})
    moved = {old_path: path for path, old_path in change.renamed.items()}
    places = Places({path: len(lines) for path, lines in new.items()}, change.shown)
    good, elsewhere = in_place(new_ones(before, after, old, new, moved), places)
    return [_clean(as_finding(one, new)) for one in good], elsewhere


def _clean(finding: Finding) -> Finding:
    return finding.model_copy(update={"title": redact(finding.title), "why": redact(finding.why)})


async def _lines(commits: BareRepository, commit: str, paths: set[str]) -> dict[str, list[str]]:
    found = {}
    for path in sorted(paths):
        content = await commits.read_file(commit, path, _LARGEST_FILE)
        if content is not None:
            found[path] = content.decode("utf-8", "replace").split("\n")
    return found


async def _typed(under: UnderReview, change: Change) -> bool:
    """Whether mypy has something to say: the base uses it, or a function under review says what it returns."""
    if configured(MYPY, await _settings(under.commits, under.since or under.head)):
        return True
    for path in MYPY.files(change.paths)[:MOST_FILES]:
        content = await under.commits.read_file(under.head, path, _LARGEST_FILE)
        if content is not None and _ANNOTATED.search(content):
            return True
    return False


async def _settings(commits: BareRepository, commit: str) -> dict[str, str]:
    texts = {}
    for path in ROOT_SETTINGS:
        content = await commits.read_file(commit, path, _LARGEST_SETTINGS)
        if content is not None:
            texts[path] = content.decode("utf-8", "replace")
    return texts


async def _with_settings_of_base(under: UnderReview) -> str:
    """The commit under review, but with the analysers' settings as the base has them."""
    if under.since is None:
        return under.head
    before, after = [
        {file.path: file.sha for file in await under.commits.list_tree(commit) if says_how(file.path)}
        for commit in (under.since, under.head)
    ]
    differing = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    return await with_files_of(under.commits, under.head, under.since, differing) if differing else under.head


async def _set_up(commands: Commands, wanted: tuple[Analyser, ...], place: Path, box: BoxRunner, longest: float) -> str:
    """Run the repository's set-up, if it brings analysers that are wanted. Says what went wrong."""
    setup = commands.setup
    if setup is None or all(one.comes_with != "repository" for one in wanted):
        return ""
    argv = within(setup.directory, setup.argv)
    done = await attempt(box, argv, cwd=place, timeout=min(setup.timeout_seconds, longest))
    return "" if done.exit_code == 0 else f"the set-up ended with {done.exit_code}"


def _check(told: list[str], wanted: tuple[Analyser, ...]) -> Check:
    if told:
        return Check(name=NAME, outcome=CheckOutcome.PASSED, why="; ".join(told))
    names = ", ".join(one.name for one in wanted)
    if any(one.comes_with == "worker" for one in wanted):
        return Check(name=NAME, outcome=CheckOutcome.UNKNOWN, why=f"none of {names} could be run on this worker")
    return Check(name=NAME, outcome=CheckOutcome.NOT_APPLICABLE, why=f"none of {names} is there")


def _facts(run: Run, new: int, elsewhere: int) -> str:
    found = len(run.found or ())
    of_new = f", {new} new" + (f" and {elsewhere} new on lines that the diff does not show" if elsewhere else "")
    what = f"{run.analyser.name} {run.version} over {run.files} files (exit code {run.exit_code})"
    return f"{what}: {found} reported{of_new}"


def _not_placed(run: Run, elsewhere: list[Reported]) -> list[str]:
    """What is new outside of the diff, in words: it may well be the change's doing."""
    told = []
    for one in elsewhere[:_SHOWN]:
        said = redact(" ".join(one.message.split()))[:200]
        told.append(f"new, but not on a line of the diff: {one.file}:{one.line} {one.source}: {said}")
    if len(elsewhere) > _SHOWN:
        told.append(f"{len(elsewhere) - _SHOWN} more of {run.analyser.name} that are not on a line of the diff")
    return told


def _missing(one: Analyser, trouble: str) -> str:
    where = {
        "worker": "it is not among the programs of this worker",
        "host": "it is not installed on this worker's host",
        "repository": trouble or "the repository's set-up does not bring it",
    }
    return f"what {one.name} would say: {where[one.comes_with]}"


def _left_out(change: Change) -> list[str]:
    remarks = ["what lies beyond the first 32 MB of the diff"] if change.cut else []
    if any(_MANIFESTS.search(path) for path in change.paths):
        remarks.append("whether dependencies have known vulnerabilities: there is no advisory data on this host")
    return remarks


def _record(run: Run, where: str) -> list[CommandRecord]:
    records = []
    for done in run.done:
        output = f"{done.stdout}\n{done.stderr}"
        tail = re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", redact(output.strip()[-_LONGEST_TAIL:]))
        records.append(
            CommandRecord(
                argv=done.argv,
                where=where,
                exit_code=done.exit_code,
                seconds=done.seconds,
                output_sha256=hashlib.sha256(output.encode("utf-8", "replace")).hexdigest(),
                output_tail=tail,
            )
        )
    return records
