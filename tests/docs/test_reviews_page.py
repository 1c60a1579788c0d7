"""docs/reviews.md speaks of what the code does, and its commands can be typed."""

import re

from agentvine.worker.analysis.analysers import ALL, says_how
from agentvine.worker.verification.analyses import NAME
from tests.docs.pages import page, shown_commands, understood

PAGE = page("reviews.md")


def test_every_analyser_has_its_row() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| the (\w+) \|$", PAGE, re.MULTILINE)
    assert rows == [(one.name, one.comes_with) for one in ALL]


def test_settings_that_are_taken_from_the_base_are_named_as_they_are() -> None:
    (named,) = re.findall(r"- Settings \((.*?) and their like\)", PAGE, re.DOTALL)
    names = [name.replace("*", "x") for name in re.findall(r"`([^`]+)`", named)]
    assert len(names) == 6
    assert all(map(says_how, names))
    assert f"`{NAME}`" in PAGE


def test_its_commands_can_be_typed() -> None:
    commands = [understood(line) for line in shown_commands(PAGE)]
    assert commands == ["submit", "review show", "review show", "review save", "review save"]
