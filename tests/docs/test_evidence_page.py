"""The published schema is the one in force. To mend it: `python -m tests.docs.test_evidence_page`."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from typer.testing import CliRunner

from agentvine.cli.main import app
from agentvine.domain.evidence import Evidence

SCHEMA = Path(__file__).parents[2] / "docs" / "evidence.schema.json"


def written() -> str:
    """What `agentvine evidence schema` prints."""
    return CliRunner().invoke(app, ["evidence", "schema"]).output


def test_the_schema_in_the_docs_is_the_one_in_force() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == written()


def test_evidence_keeps_to_its_schema() -> None:
    schema = json.loads(written())
    Draft202012Validator.check_schema(schema)
    made = {
        "execution_id": "exe_01k9zq4r8w6x5v3n2m1b0c9d8f",
        "task_id": "tsk_01k9zq4r8w6x5v3n2m1b0c9d8f",
        "type": "docs",
        "made_at": "2026-01-01T00:00:00Z",
        "base_sha": "a" * 40,
        "head_sha": None,
        "checks": [{"name": "no code changed", "outcome": "passed"}],
    }
    told = Evidence.model_validate(made).model_dump(mode="json")
    assert list(Draft202012Validator(schema).iter_errors(told)) == []


if __name__ == "__main__":
    SCHEMA.write_text(written(), encoding="utf-8")
