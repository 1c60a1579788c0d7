"""What a pull request says (what changed and why, what was checked and how, what was not), and what a review does."""

import shlex
from collections.abc import Iterable

from agentvine.domain.evidence import Check, CheckOutcome, Evidence, Finding, TestSummary
from agentvine.domain.task import NewTask
from agentvine.worker.forge.base import Remark
from agentvine.worker.forge.harmless import fenced, quoted

_SIGN = {
    CheckOutcome.PASSED: "passed",
    CheckOutcome.FAILED: "**FAILED**",
    CheckOutcome.UNKNOWN: "**UNKNOWN**",
    CheckOutcome.NOT_APPLICABLE: "does not apply",
}
_GRAVITY = ("critical", "high", "medium", "low", "info")
_LONGEST_ASKED = 8_000
_LONGEST_SUMMARY = 16_000
_LONGEST_WHY = 400
_MOST_COMMANDS = 20


def description(asked: NewTask, task_id: str, evidence: Evidence, summary: str) -> str:
    """Markdown for the pull request of a task whose result has this evidence; `summary` is what the agent says of it.

    What people and agents wrote stands in quotations: none of it can pass for the worker's own words. The order is that
    in which a reader would cut it off: evidence first after the summary, the task's own long text last.
    """
    parts = [
        _says(summary),
        _changed(evidence),
        _checks(evidence),
        _rerun(evidence),
        _not_checked(evidence),
        f"Cost: ${evidence.usage.cost_usd:.2f} ({evidence.usage.turns} turns). Repairs: {evidence.repairs}. "
        f"Sandbox: {_plain(evidence.sandbox)}. Task `{task_id}`, execution `{evidence.execution_id}`.",
        _asked(asked),
    ]
    return "\n\n".join(part for part in parts if part)


def remarks(findings: Iterable[Finding]) -> tuple[Remark, ...]:
    """What a review found, as remarks on the lines that it is about; the gravest first."""
    gravest_first = sorted(findings, key=lambda one: (_GRAVITY.index(one.severity), one.file, one.line))
    return tuple(Remark(one.file, one.line, _remark(one)) for one in gravest_first)


def _remark(finding: Finding) -> str:
    fix = f"Fix: {finding.fix.strip()}" if finding.fix.strip() else ""
    found = f"Found by {_plain(', '.join((finding.source, *finding.also)))}." if finding.source != "claude" else ""
    parts = (f"**{finding.severity}: {_plain(finding.title)}**", finding.why.strip(), fix, found)
    return "\n\n".join(part for part in parts if part)


def _says(summary: str) -> str:
    return f"What Claude says about it:\n\n{quoted(_short(summary, _LONGEST_SUMMARY))}" if summary.strip() else ""


def _changed(evidence: Evidence) -> str:
    head = (evidence.head_sha or evidence.base_sha)[:12]
    return (
        f"{evidence.files_changed} files changed, {evidence.lines_added} lines added, {evidence.lines_removed} removed "
        f"(`{evidence.base_sha[:12]}` → `{head}`)."
    )


def _checks(evidence: Evidence) -> str:
    lines = ["### Checks", "", "Made by the worker, in a checkout that the agent never touched:", ""]
    lines += [_check(check) for check in evidence.checks] or ["- none"]
    if evidence.tests_before is not None or evidence.tests_after is not None:
        lines += ["", f"Tests before: {_counts(evidence.tests_before)}. After: {_counts(evidence.tests_after)}."]
    return "\n".join(lines)


def _check(check: Check) -> str:
    why = f": {_plain(check.why)}" if check.why.strip() else ""
    return f"- {_plain(check.name)}: {_SIGN[check.outcome]}{why}"


def _rerun(evidence: Evidence) -> str:
    """The commands that were run on the result, each once."""
    lines = dict.fromkeys(shlex.join(one.argv) for one in evidence.commands if one.where == "result")
    if not lines:
        return ""
    return (
        f"### To run them again\n\nIn a checkout of this branch:\n\n{fenced(chr(10).join([*lines][:_MOST_COMMANDS]))}"
    )


def _not_checked(evidence: Evidence) -> str:
    if not evidence.not_checked:
        return ""
    return "### Not checked\n\n" + "\n".join(f"- {_plain(one)}" for one in evidence.not_checked)


def _asked(asked: NewTask) -> str:
    wishes = "\n".join(f"- {_plain(wish)}" for wish in asked.requirements)
    text = "\n\n".join(part for part in (asked.title, asked.description.strip(), wishes) if part)
    return f"### What was asked\n\n{quoted(_short(text, _LONGEST_ASKED))}"


def _plain(text: str) -> str:
    """One line that begins no block and ends none: what repositories and tools say goes into our own lists."""
    line = _short(" ".join(text.split()), _LONGEST_WHY)
    return line.replace("`", "'").replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()} …"


def _counts(summary: TestSummary | None) -> str:
    if summary is None:
        return "none were run"
    if not summary.counted:
        return "run, but not counted"
    return f"{summary.passed} passed, {summary.failed} failed, {summary.skipped} skipped"
