"""Evidence in words, for people: in approval requests, pull requests and reports."""

from agentvine.domain.evidence import ApprovedCall, CheckOutcome, Evidence, RefusedCall, TestSummary
from agentvine.domain.review_report import in_markdown
from agentvine.kit.logs import redact

_SIGN = {
    CheckOutcome.PASSED: "passed",
    CheckOutcome.FAILED: "FAILED",
    CheckOutcome.UNKNOWN: "UNKNOWN",
    CheckOutcome.NOT_APPLICABLE: "does not apply",
}
_MOST_CHARACTERS = 60_000
_MOST_REFUSED = 20


def evidence_in_words(evidence: Evidence) -> str:
    """Markdown: what changed, what was checked and how it went, what was not checked."""
    head = (evidence.head_sha or evidence.base_sha)[:12]
    lines = [
        f"{evidence.files_changed} files changed, {evidence.lines_added} lines added, "
        f"{evidence.lines_removed} removed ({evidence.base_sha[:12]} → {head}).",
        "",
        "Checked by the worker, in a checkout that the agent never touched:",
        "",
    ]
    lines += [
        f"- {check.name}: {_SIGN[check.outcome]}" + (f" ({check.why})" if check.why else "")
        for check in evidence.checks
    ]
    if evidence.tests_before is not None or evidence.tests_after is not None:
        lines += ["", f"Tests before: {_counts(evidence.tests_before)}. After: {_counts(evidence.tests_after)}."]
    if evidence.refused_calls:
        lines += ["", "Refused to the agent: " + "; ".join(map(_refused, evidence.refused_calls[:_MOST_REFUSED])) + "."]
    if evidence.approved_calls:
        lines += ["", "Approved: " + "; ".join(map(_approved, evidence.approved_calls[:_MOST_REFUSED])) + "."]
    if evidence.not_checked:
        lines += ["", "Not checked: " + "; ".join(evidence.not_checked) + "."]
    lines += ["", f"Repairs: {evidence.repairs}. Cost: ${evidence.usage.cost_usd:.2f}. Sandbox: {evidence.sandbox}."]
    return redact("\n".join(lines))[:_MOST_CHARACTERS]


def review_report(title: str, summary: str, evidence: Evidence) -> str:
    """Markdown: a review's findings, the gravest first."""
    return redact(in_markdown(title, summary, evidence))


def _refused(call: RefusedCall) -> str:
    times = f", {call.count} times" if call.count > 1 else ""
    subject = f" `{call.subject.replace('`', chr(39))}`" if call.subject else ""
    return f"{call.tool}{subject} ({call.rule}{times})"


def _approved(call: ApprovedCall) -> str:
    changed = ", with another input" if call.changed else ""
    return f"{' '.join(call.asked.split())[:300].replace('`', chr(39))} ({call.rule}, by {call.made_by}{changed})"


def _counts(summary: TestSummary | None) -> str:
    if summary is None:
        return "none were run"
    if not summary.counted:
        return "run, but not counted"
    return f"{summary.passed} passed, {summary.failed} failed, {summary.skipped} skipped"
