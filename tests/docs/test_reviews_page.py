"""docs/reviews.md speaks of what the code does, and its commands can be typed."""

import re
import shlex
from pathlib import Path

import typer

from agentvine.cli.main import app
from agentvine.worker.analysis.analysers import ALL, says_how
from agentvine.worker.verification.analyses import NAME

PAGE = (Path(__file__).parents[2] / "docs" / "reviews.md").read_text()


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
    lines = [line for line in PAGE.splitlines() if line.startswith("agentvine ")]
    assert len(lines) == 5
    for line in lines:
        command, arguments = typer.main.get_command(app), shlex.split(line.partition(" > ")[0])[1:]
        while hasattr(command, "commands"):
            command, arguments = command.commands[arguments[0]], arguments[1:]
        command.make_context("agentvine", arguments)
