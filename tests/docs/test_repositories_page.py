"""The page on repositories names every option, and what it shows can be typed."""

import re

import pytest

from agentvine.cli.repository_options import SETTINGS
from tests.docs.pages import page, shown_commands, understood

PAGE = page("repositories.md")


@pytest.mark.parametrize("line", shown_commands(PAGE))
def test_the_commands_of_the_page_are_understood(line: str) -> None:
    assert understood(line).startswith("repo ")


def test_every_option_is_told() -> None:
    table = re.findall(r"^\| (`--[^|]+) \|", PAGE, re.MULTILINE)
    told = [name for cell in table for name in re.findall(r"`(--[a-z-]+)`", cell)]
    assert sorted(told) == sorted(setting.option.split("/")[0] for setting in SETTINGS)
