"""What a review says, as Markdown for people."""

from agentvine.domain.evidence import Check, CheckOutcome, Evidence, Finding

GRAVITY = ("critical", "high", "medium", "low", "info")
"""The severities of findings, the gravest first."""


def in_markdown(title: str, summary: str, evidence: Evidence) -> str:
    """The findings, the gravest first, what was run to find them, and what was not. `summary` is what Claude says."""
    parts = [f"# Review: {title}", f"Of {_subject(evidence)}. Findings: {counted(evidence)}."]
    if summary.strip():
        parts.append(summary.strip())
    parts += map(_finding, gravest_first(evidence))
    if ran := _ran(evidence):
        parts.append(ran)
    return "\n\n".join(parts) + "\n"


def gravest_first(evidence: Evidence) -> list[Finding]:
    """The findings in the order in which a person would read them."""
    return sorted(evidence.findings, key=lambda one: (GRAVITY.index(one.severity), one.file, one.line))


def counted(evidence: Evidence) -> str:
    """How many findings there are, by severity."""
    found = [one.severity for one in evidence.findings]
    return ", ".join(f"{found.count(each)} {each}" for each in GRAVITY if each in found) or "none"


def sources(finding: Finding) -> str:
    """Who found it, in words."""
    return ", ".join((finding.source, *finding.also))


def _subject(evidence: Evidence) -> str:
    since = evidence.reviewed_since
    return f"{since[:12]}..{evidence.base_sha[:12]}" if since else evidence.base_sha[:12]


def _finding(one: Finding) -> str:
    fix = f"\n\nFix: {one.fix.strip()}" if one.fix.strip() else ""
    place = f"`{one.file}:{one.line}` ({sources(one)})"
    return f"## {one.severity}: {one.title}\n\n{place}\n\n{one.why.strip()}{fix}"


def _ran(evidence: Evidence) -> str:
    told = [f"- {one.name}: {_outcome(one)}" for one in evidence.checks]
    told += [f"- not checked: {one}" for one in evidence.not_checked]
    return "## How this was found\n\n" + "\n".join(told) if told else ""


def _outcome(check: Check) -> str:
    words = check.outcome.value.replace("_", " ")
    return f"{words} ({check.why})" if check.why and check.outcome is not CheckOutcome.PASSED else check.why or words
