"""docs/verification.md speaks of what the code does."""

import re
from pathlib import Path

from agentvine.worker.verification.agentvine_toml import parse
from agentvine.worker.verification.cases import Outcome
from agentvine.worker.verification.compare import Change
from agentvine.worker.verification.found import Reads
from agentvine.worker.verification.verdicts import RunVerdict

PAGE = (Path(__file__).parents[2] / "docs" / "verification.md").read_text()
FIRST_CELLS = re.findall(r"^\| ([^|]+) \|", PAGE, re.MULTILINE)


def test_its_example_is_understood() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    said = parse(example.encode())
    assert None not in {said.setup, said.test, said.lint, said.types, said.coverage}


def test_every_outcome_verdict_and_change_has_its_row() -> None:
    for words in (Outcome, Change):
        assert [word for word in words if word.value not in FIRST_CELLS] == []
    assert [word for word in RunVerdict if word.value.replace("_", " ") not in FIRST_CELLS] == []


def test_every_format_that_can_be_said_is_named() -> None:
    (sentence,) = re.findall(r"- `format` names.*?\n\n", PAGE, re.DOTALL)
    assert {*re.findall(r"`(\w+)`", sentence)} - {"format"} == set(Reads)
