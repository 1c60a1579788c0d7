"""docs/verification.md names the checks by which results are not believed, as the evidence does."""

from pathlib import Path

from agentvine.worker.verification import honesty, tested_change

PAGE = (Path(__file__).parents[2] / "docs" / "verification.md").read_text()


def test_every_check_has_its_row() -> None:
    _, _, section = PAGE.partition("## What is not believed")
    for name in (honesty.THEMSELVES, honesty.ANSWERS, honesty.TRUE, tested_change.RUN, tested_change.NOTICE):
        assert f"| {name} |" in section
