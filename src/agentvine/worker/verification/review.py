"""The structured result of a review: what is asked for, and what came."""

from collections.abc import Mapping

from pydantic import Field, JsonValue, ValidationError

from agentvine.domain.base import Strict, Text
from agentvine.domain.evidence import Finding

_MOST_FINDINGS = 200
SEVERITIES = ("info", "low", "medium", "high", "critical")

SCHEMA: Mapping[str, JsonValue] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["summary", "findings"],
    "properties": {
        "summary": {"type": "string", "description": "What was read and what was found, in a few sentences."},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["file", "line", "severity", "title", "why", "fix"],
                "properties": {
                    "file": {"type": "string", "description": "Path from the root of the checkout."},
                    "line": {"type": "integer", "minimum": 1, "description": "In the file as it is in the checkout."},
                    "severity": {"type": "string", "enum": list(SEVERITIES)},
                    "title": {"type": "string", "description": "One line."},
                    "why": {"type": "string", "description": "What goes wrong, and when."},
                    "fix": {"type": "string", "description": "How to mend it."},
                },
            },
        },
    },
}
"""JSON Schema of a review's final answer."""


class Review(Strict):
    """A review's final answer, as its schema has it."""

    summary: Text
    findings: tuple[Finding, ...] = Field(max_length=_MOST_FINDINGS)


def read_review(answer: JsonValue) -> Review | str:
    """The review, or what is wrong with it, for the one who wrote it."""
    if answer is None:
        return "there is no structured output: hand the findings over as the structured output that was asked for"
    try:
        review = Review.model_validate(answer)
    except ValidationError as error:
        places = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)[:10])
        return "the structured output cannot be used: " + "; ".join(places)
    mine = tuple(finding.model_copy(update={"source": "claude", "also": ()}) for finding in review.findings)
    return review.model_copy(update={"findings": mine})
