"""What a task brought forth: its diff and its evidence."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from rich.text import Text

from agentvine.cli.names import is_whole, task_id
from agentvine.cli.render import Column, Screen, block, line, status
from agentvine.cli.text import clean_line, duration, money, several
from agentvine.domain.errors import NotFound
from agentvine.domain.evidence import Evidence, TestSummary
from agentvine.wire.front_desk import FrontDesk

_Result = TypeVar("_Result")
DIFF_STYLES = (
    ("+++ ", "bold"),
    ("--- ", "bold"),
    ("diff ", "bold"),
    ("@@", "cyan"),
    ("+", "green"),
    ("-", "red"),
)


async def latest(desk: FrontDesk, typed: str, what: str, get: Callable[[str], Awaitable[_Result]]) -> _Result:
    """The newest `what` of the task or execution that `typed` means. Raises `NotFound` if there is none."""
    if is_whole(typed.strip(), "exe_"):
        return await get(typed.strip())
    task = await task_id(desk, typed)
    detail = await desk.task(task)
    for execution in sorted(detail.executions, key=lambda each: each.attempt, reverse=True):
        try:
            return await get(execution.id)
        except NotFound:
            continue
    status = detail.task.status
    yet = "" if status.value in ("completed", "failed", "cancelled") else " yet"
    raise NotFound(f"task {task} is {status.value} and has no {what}{yet}", kind=what, id=task)


def print_diff(screen: Screen, diff: str) -> None:
    """A diff in colour and without anything that a terminal would obey; as it is where no terminal reads it."""
    if not screen.out.is_terminal:
        screen.out.file.write(diff)
        return
    for row in diff.removesuffix("\n").split("\n"):
        screen.show(
            block(row.expandtabs(8), next((style for start, style in DIFF_STYLES if row.startswith(start)), ""))
        )


def print_evidence(screen: Screen, evidence: Evidence) -> None:
    """An evidence on one page."""
    verdict = ("passed", "bold green") if evidence.passed else ("not passed", "bold red")
    screen.say(("evidence ", "bold"), verdict, f"  {evidence.execution_id}")
    for name, value in _facts(evidence):
        screen.say((f"{name:<14}", "dim"), value)
    columns = [Column("CHECK"), Column("OUTCOME"), Column("WHY", flexible=True), Column("TOOK", "right")]
    rows = [(each.name, status(each.outcome.value), each.why, duration(each.seconds)) for each in evidence.checks]
    if rows:
        screen.table(columns, rows)
    _commands(screen, evidence)
    _egress(screen, evidence)
    for finding in evidence.findings:
        screen.say((f"{finding.severity} ", "bold"), f"{finding.file}:{finding.line}  {finding.title}")
        screen.show(block(finding.why, indent=2))
        if finding.fix:
            screen.show(block(f"fix: {finding.fix}", indent=2))
    for call in evidence.refused_calls:
        what = f"{call.tool} {call.subject}".rstrip()
        screen.say(("refused       ", "yellow"), f"{what}  by {call.rule}, {several(call.count, 'time')}")
    for agreed in evidence.approved_calls:
        changed = ", with another input" if agreed.changed else ""
        screen.say(("approved      ", "yellow"), f"{agreed.asked}  ({agreed.rule}) by {agreed.made_by}{changed}")
    for gap in evidence.not_checked:
        screen.say(("not checked   ", "yellow"), gap)


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    usage = evidence.usage
    changed = several(evidence.files_changed, "file")
    return [
        ("commits", f"{evidence.base_sha[:12]} \u2192 {(evidence.head_sha or 'none')[:12]}"),
        ("changed", f"{changed}, +{evidence.lines_added} -{evidence.lines_removed}"),
        ("tests before", summed_up(evidence.tests_before)),
        ("tests after", summed_up(evidence.tests_after)),
        ("repairs", str(evidence.repairs)),
        ("sandbox", evidence.sandbox),
        ("cost", f"{money(usage.cost_usd)} in {several(usage.turns, 'turn')}"),
    ]


def _commands(screen: Screen, evidence: Evidence) -> None:
    if not evidence.commands:
        return
    columns = [Column("RAN ON"), Column("COMMAND", flexible=True), Column("EXIT", "right"), Column("TOOK", "right")]
    rows = [
        (each.where, " ".join(each.argv), _exit(each.exit_code), duration(each.seconds)) for each in evidence.commands
    ]
    screen.table(columns, rows)


def _egress(screen: Screen, evidence: Evidence) -> None:
    """What was reached outside of the sandbox, and what was refused."""
    if not evidence.egress:
        return
    columns = [Column("EGRESS"), Column("TO", flexible=True), Column("TIMES", "right"), Column("WHY", flexible=True)]
    rows = [
        (line(("allowed", "") if each.allowed else ("refused", "red")), each.target, str(each.count), each.reason)
        for each in evidence.egress
    ]
    screen.table(columns, rows)


def _exit(code: int) -> Text:
    return line((str(code), "" if code == 0 else "red"))


def summed_up(summary: TestSummary | None) -> str:
    """A test run in words; one that was not made is never called passed."""
    if summary is None:
        return "not run"
    if not summary.counted:
        return "failed, not counted" if summary.failed else "run, not counted"
    words = [f"{summary.passed} of {summary.total} passed"]
    if summary.failed:
        words.append(f"{summary.failed} failed")
    if summary.skipped:
        words.append(f"{summary.skipped} skipped")
    named = ", ".join(clean_line(name) for name in summary.failing[:3])
    return ", ".join(words) + (f" ({named}{', …' if len(summary.failing) > 3 else ''})" if named else "")
