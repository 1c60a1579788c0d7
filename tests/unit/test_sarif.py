"""A review as SARIF, held against the schema of SARIF 2.1.0."""

import json

from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Schema

from agentvine.domain.evidence import Check, CheckOutcome, Evidence, Finding
from agentvine.domain.review_report import in_markdown
from agentvine.domain.sarif import sarif, sarif_text
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import SystemClock

FINDINGS = (
    Finding(
        file="a b/\u00e9.py", line=3, severity="critical", title="Lost", why="Why", fix="Mend", also=("ruff:F821",)
    ),
    Finding(file="a.py", line=1, severity="low", title="Unused", why="Why", source="ruff:F401"),
    Finding(file="a.py", line=2, severity="medium", title="Unused", why="Why", source="ruff:F841"),
    Finding(file="a.py", line=9, severity="info", title="A vet", why="Why", source="go vet:printf"),
)


def review(findings: tuple[Finding, ...]) -> Evidence:
    return Evidence(
        execution_id="exe_" + "0" * 26,
        task_id="tsk_" + "0" * 26,
        type=TaskType.REVIEW,
        made_at=SystemClock().now(),
        base_sha="b" * 40,
        head_sha="b" * 40,
        reviewed_since="a" * 40,
        checks=(Check(name="analysers really ran", outcome=CheckOutcome.PASSED, why="ruff 1.0"),),
        findings=findings,
    )


def test_it_keeps_to_the_schema() -> None:
    for findings in (FINDINGS, ()):
        read = Schema.model_validate_json(sarif_text(review(findings)))
        assert sum(len(run.results or ()) for run in read.runs) == len(findings)


def test_each_finding_is_a_result_of_who_found_it() -> None:
    runs = json.loads(json.dumps(sarif(review(FINDINGS))))["runs"]
    assert {run["tool"]["driver"]["name"]: len(run["results"]) for run in runs} == {"claude": 1, "ruff": 2, "go vet": 1}
    first = runs[0]["results"][0]
    place = first["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]) == ("a%20b/%C3%A9.py", {"startLine": 3})
    assert first["level"] == "error"
    assert first["message"]["text"] == "Lost\n\nWhy\n\nFix: Mend"
    assert first["properties"]["also"] == ["ruff:F821"]
    ruff = next(run for run in runs if run["tool"]["driver"]["name"] == "ruff")
    for result in ruff["results"]:
        assert ruff["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    moved = FINDINGS[1].model_copy(update={"line": 70})
    fingerprints = [
        sarif_text(review((one,))).split('"agentvine/v1": "')[1][:32] for one in (FINDINGS[1], moved, FINDINGS[2])
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_the_report_says_who_found_it_and_what_ran() -> None:
    said = in_markdown("Prices", "I read it.", review(FINDINGS))
    assert "Of aaaaaaaaaaaa..bbbbbbbbbbbb. Findings: 1 critical, 1 medium, 1 low, 1 info." in said
    assert "(claude, ruff:F821)" in said
    assert "- analysers really ran: ruff 1.0" in said
