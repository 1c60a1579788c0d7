"""docs/demo.md names the steps that the demo really takes, in their order."""

from pathlib import Path

from agentvine.demo.forge.story import STEPS

PAGE = Path(__file__).parents[2] / "docs" / "demo.md"


def test_the_page_names_the_steps() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert tuple(rows[rows.index("Step") + 2 :]) == STEPS
