"""Whether the tests reach no less of the code than before: measured on base and result, with the base's own command."""

from agentvine.domain.evidence import Check, CheckOutcome, CoverageSummary
from agentvine.domain.worker_types import TaskType
from agentvine.worker.verification.coverage_reports import Measured, UnreadableCoverage, alike, read_coverage
from agentvine.worker.verification.found import ToolCommand
from agentvine.worker.verification.ground import Ground
from agentvine.worker.verification.inquiry import Answer, Facts, Inquiry
from agentvine.worker.verification.look_python import measuring
from agentvine.worker.verification.runs import RunVerdict
from agentvine.worker.verification.tool_runs import run_tools, with_settings_of_base

NAME = "coverage is not lower"
_HAIR = 0.005
"""Percentage points: less than this is rounding."""


async def _ask(facts: Facts) -> Answer:
    commands = facts.ground.commands
    tool = commands.coverage or measuring(commands.test)
    if tool is None:
        return _not_measured("no command that measures it is configured on the base")
    ground, subject = facts.ground, facts.subject
    head = await with_settings_of_base(ground, facts.changed)
    after = await _measured(ground, tool, head, "result")
    before: Measured | str = Measured()
    if facts.before is not None and facts.before.verdict is not RunVerdict.NO_TESTS:
        before = await _measured(ground, tool, subject.base, "base")
    if isinstance(after, str) or isinstance(before, str):
        return _not_measured(after if isinstance(after, str) else str(before), remark=True)
    pair = alike(before, after)
    if _lower(*pair):  # once more: what threads and clocks reach is a matter of chance
        again = await _measured(ground, tool, head, "result")
        if isinstance(again, Measured):
            pair = max(pair, alike(before, again), key=lambda one: one[1].percent - one[0].percent)
    evidence = {"coverage_before": _summary(pair[0]), "coverage_after": _summary(pair[1])}
    return Answer((_check(*pair),), evidence=evidence)


async def _measured(ground: Ground, tool: ToolCommand, commit: str, where: str) -> Measured | str:
    """What the measurement says of `commit`, or why it says nothing."""
    ran = await run_tools(ground, (tool,), commit, where)
    if isinstance(ran, str):
        return ran
    (run,) = ran
    if run.absent:
        return run.absent
    try:
        return read_coverage(tool.writes, run.reports, f"{run.done.stdout}\n{run.done.stderr}", run.roots)
    except UnreadableCoverage as error:
        return f"{error}: {run.last_line}" if run.done.exit_code else str(error)


def _check(before: Measured, after: Measured) -> Check:
    words = f"{before.percent:.1f} % before, {after.percent:.1f} % after"
    if before.told is None:
        words += f" ({before.covered} and {after.covered} of {after.statements} statements outside of the tests)"
    if _lower(before, after):
        lost = [path for path, (_, ran) in sorted(after.files.items()) if ran < before.files[path][1]]
        where = f"; less is reached of {', '.join(lost[:10])}" if lost else ""
        return Check(name=NAME, outcome=CheckOutcome.FAILED, why=f"{words}{where}")
    return Check(name=NAME, outcome=CheckOutcome.PASSED, why=words)


def _lower(before: Measured, after: Measured) -> bool:
    return after.percent < before.percent - _HAIR


def _summary(measured: Measured) -> CoverageSummary:
    return CoverageSummary(percent=measured.percent, statements=measured.statements, covered=measured.covered)


def _not_measured(why: str, *, remark: bool = False) -> Answer:
    check = Check(name=NAME, outcome=CheckOutcome.NOT_APPLICABLE, why=f"it could not be measured: {why}"[:10_000])
    return Answer((check,), (f"that coverage is not lower: {why}",) if remark else ())


COVERAGE = Inquiry("coverage", frozenset({TaskType.TEST}), _ask, costly=True)
