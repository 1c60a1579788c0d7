from typing import cast

import pytest
from pydantic import JsonValue

from agentvine.domain.evidence import Check, CheckOutcome, Evidence, Finding, RefusedCall, TestSummary
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock
from agentvine.worker.verification.review import SCHEMA, Review, read_review
from agentvine.worker.verification.telling import evidence_in_words, review_report

FINDING: dict[str, JsonValue] = {
    "file": "a.py",
    "line": 3,
    "severity": "high",
    "title": "It breaks",
    "why": "Because.",
    "fix": "",
}


def test_a_review_is_read() -> None:
    review = read_review({"summary": "Fine.", "findings": [FINDING]})
    assert isinstance(review, Review)
    assert review.findings[0].line == 3
    borrowed = read_review(
        {"summary": "Fine.", "findings": [{**FINDING, "source": "ruff:F401", "also": ["mypy:misc"]}]}
    )
    assert isinstance(borrowed, Review)
    assert (borrowed.findings[0].source, borrowed.findings[0].also) == ("claude", ())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no structured output"),
        ({"summary": "x"}, "findings"),
        ({"summary": "x", "findings": [{**FINDING, "line": 0}]}, "findings.0.line"),
        ({"summary": "x", "findings": [{**FINDING, "severity": "terrible"}]}, "findings.0.severity"),
        ({"summary": "x", "findings": [FINDING] * 201}, "findings"),
        ("text", "cannot be used"),
    ],
)
def test_what_is_no_review_is_said(answer: JsonValue, said: str) -> None:
    assert said in str(read_review(answer))


def test_the_schema_asks_for_what_is_read() -> None:
    items = cast("dict[str, dict[str, dict[str, dict[str, object]]]]", SCHEMA["properties"])["findings"]["items"]
    assert set(items["properties"]) == set(Finding.model_fields) - {"source", "also"}


def evidence(**changes: object) -> Evidence:
    fields: dict[str, object] = {
        "execution_id": "exe_" + "0" * 26,
        "task_id": "tsk_" + "0" * 26,
        "type": TaskType.REVIEW,
        "made_at": SystemClock().now(),
        "base_sha": "a" * 40,
        "head_sha": "b" * 40,
        "checks": (Check(name="tests pass", outcome=CheckOutcome.FAILED, why="1 failed"),),
        **changes,
    }
    return Evidence.model_validate(fields)


def test_a_report_has_the_gravest_first() -> None:
    findings = [{**FINDING, "severity": severity, "title": severity} for severity in ("low", "critical", "high")]
    report = review_report("Look", "All read.", evidence(findings=findings))
    assert report.index("## critical") < report.index("## high") < report.index("## low")
    assert "1 critical, 1 high, 1 low" in report
    assert "`a.py:3` (claude)" in report
    assert "- tests pass: failed (1 failed)" in report
    assert "Findings: none." in review_report("Look", "", evidence())


def test_evidence_is_told_with_what_was_not_checked() -> None:
    told = evidence_in_words(
        evidence(
            tests_before=TestSummary(total=2, passed=1, failed=1),
            tests_after=TestSummary(counted=False),
            not_checked=("that coverage is not lower",),
        )
    )
    assert "- tests pass: FAILED (1 failed)" in told
    assert "Tests before: 1 passed, 1 failed, 0 skipped. After: run, but not counted." in told
    assert "Not checked: that coverage is not lower." in told
    assert "Refused" not in told


def test_evidence_is_told_with_what_the_agent_was_refused() -> None:
    calls = (
        RefusedCall(tool="Bash", subject="git `x` push", rule="shell", reason="no", count=3),
        RefusedCall(tool="WebFetch", rule="no-web"),
    )
    told = evidence_in_words(evidence(refused_calls=calls))
    assert "Refused to the agent: Bash `git 'x' push` (shell, 3 times); WebFetch (no-web)." in told
