"""The page on repositories names every option, and what it shows can be typed."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from agentvine.cli.repository_options import SETTINGS
from agentvine.entry import app

PAGE = (Path(__file__).parents[2] / "docs" / "repositories.md").read_text(encoding="utf-8")
LINES = re.findall(r"^agentvine .*$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_the_commands_of_the_page_are_understood(line: str) -> None:
    words = shlex.split(line.partition("<")[0])[1:]
    group = typer.main.get_command(app).commands["repo"]  # type: ignore[attr-defined]
    group.commands[words[1]].make_context(words[1], words[2:])


def test_every_option_is_told() -> None:
    table = re.findall(r"^\| (`--[^|]+) \|", PAGE, re.MULTILINE)
    told = [name for cell in table for name in re.findall(r"`(--[a-z-]+)`", cell)]
    assert sorted(told) == sorted(setting.option.split("/")[0] for setting in SETTINGS)
