"""A review as SARIF 2.1.0, for code hosts and editors: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html

Claude, and each analyser that found something, has a run of its own. A finding that several made is a result of the
first, which names the others.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from agentvine.domain.evidence import Evidence, Finding
from agentvine.domain.review_report import gravest_first

SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"
CLAUDE = "claude"
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.0", "low": "2.0", "info": "0.0"}
"""What GitHub's code scanning reads as `security-severity`: 9.0 and more is critical, 7.0 high, 4.0 medium."""
_OWN_RULE = "finding"


def sarif(evidence: Evidence) -> dict[str, JsonValue]:
    """The log of a review."""
    by_tool: dict[str, list[Finding]] = {CLAUDE: []}
    for finding in gravest_first(evidence):
        by_tool.setdefault(_split(finding.source)[0], []).append(finding)
    runs: list[JsonValue] = [_run(tool, findings, evidence) for tool, findings in by_tool.items()]
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": runs}


def sarif_text(evidence: Evidence) -> str:
    """The log as the text of a file."""
    return json.dumps(sarif(evidence), indent=2, ensure_ascii=False) + "\n"


def _run(tool: str, findings: Iterable[Finding], evidence: Evidence) -> dict[str, JsonValue]:
    findings = list(findings)
    rules = sorted({_split(one.source)[1] for one in findings})
    driver: dict[str, JsonValue] = {"name": tool, "rules": [{"id": rule} for rule in rules]}
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"agentvine/{tool}/{evidence.task_id}"},
        "invocations": [{"executionSuccessful": True}],
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The root of the repository."}}},
        "results": [_result(one, rules) for one in findings],
        "properties": _told(evidence),
    }


def _told(evidence: Evidence) -> dict[str, JsonValue]:
    since = evidence.reviewed_since
    return {"commit": evidence.base_sha, **({"since": since} if since else {}), "execution": evidence.execution_id}


def _result(one: Finding, rules: list[str]) -> dict[str, JsonValue]:
    rule = _split(one.source)[1]
    text = "\n\n".join(
        part for part in (one.title, one.why.strip(), f"Fix: {one.fix.strip()}" * bool(one.fix.strip())) if part
    )
    place: Mapping[str, JsonValue] = {"uri": _uri(one.file), "uriBaseId": "ROOT"}
    properties: dict[str, JsonValue] = {"severity": one.severity, "security-severity": _SCORES[one.severity]}
    if one.also:
        properties["also"] = list(one.also)
    return {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": _LEVELS[one.severity],
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": dict(place), "region": {"startLine": one.line}}}],
        "partialFingerprints": {"agentvine/v1": _fingerprint(one)},
        "properties": properties,
    }


def _split(source: str) -> tuple[str, str]:
    tool, _, rule = source.partition(":")
    return tool, rule or _OWN_RULE


def _fingerprint(one: Finding) -> str:
    """The same for the same finding in a file that grew above it."""
    return hashlib.sha256("\n".join((one.source, one.file, one.title)).encode("utf-8", "replace")).hexdigest()[:32]


def _uri(path: str) -> str:
    """A relative reference of RFC 3986: what is no plain character is escaped."""
    plain = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/")
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in path.encode("utf-8", "replace"))
