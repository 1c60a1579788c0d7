"""Every command shows how it is used, and what it shows can be typed."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import typer

from agentvine.entry import app
from agentvine.kit.process import Completed, run
from tests.docs.pages import understood, words

HEAVY = ("httpx", "pydantic", "rich", "asyncio", "fastapi", "sqlalchemy", "redis", "claude_agent_sdk", "uvicorn")
"""What `--help` has no time for: 0.3 s is the limit, and the interpreter with Typer takes half of it."""


SHOW_WHAT_WAS_LOADED = f"""
import sys
from agentvine.entry import main
try:
    main()
except SystemExit:
    print("LOADED", *sorted(set(sys.modules) & set({HEAVY})), file=sys.stderr)
"""


class Command(Protocol):
    """What is needed of Click's commands, whichever Click comes with Typer."""

    epilog: str | None
    help: str | None
    hidden: bool


def below(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command below `command`, with the words that lead to it."""
    inner: dict[str, Command] = getattr(command, "commands", {})
    for name, each in inner.items():
        if not each.hidden:
            yield (*path, name), each
            yield from below(each, (*path, name))


COMMANDS = dict(below(typer.main.get_command(app)))
LEAVES = [path for path, command in COMMANDS.items() if not hasattr(command, "commands")]


def examples(path: tuple[str, ...]) -> list[str]:
    """Each example that the help of a command shows."""
    shown = (COMMANDS[path].epilog or "").split("Examples:\n")[-1]
    return [line.strip() for line in shown.splitlines() if line.strip()]


async def python(*arguments: str) -> Completed:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "80"}
    return await run([sys.executable, *arguments], cwd=Path("/"), env=environment, timeout=240)


def test_the_commands_that_were_promised_are_there() -> None:
    promised = "up server worker demo submit tasks show logs diff evidence wait cancel retry approve deny answer inbox"
    promised += " workers drain queue keys events"
    assert {(name,) for name in promised.split()} <= set(COMMANDS)
    assert {("keys", name) for name in ("create", "list", "revoke")} <= set(COMMANDS)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_command_says_what_it_does_and_shows_examples_of_itself(path: tuple[str, ...]) -> None:
    assert (COMMANDS[path].help or "").strip()
    shown = examples(path)
    assert shown, "no example"
    assert [words(example)[: len(path) + 1] for example in shown] == [["agentvine", *path]] * len(shown)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_each_example_can_be_typed(path: tuple[str, ...]) -> None:
    assert {understood(example) for example in examples(path)} == {" ".join(path)}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_listing_can_be_had_as_json(path: tuple[str, ...]) -> None:
    without = {("up",), ("server",), ("worker",), ("demo",), ("demo", "model"), ("demo", "run"), ("diff",), ("doctor",)}
    without |= {("evidence", "save"), ("evidence", "schema")}  # what they print is JSON anyway
    options = {name for each in getattr(COMMANDS[path], "params", ()) for name in each.opts}
    assert "--json" in options or path in without


async def test_help_comes_without_what_only_commands_need() -> None:
    helps = (["--help"], ["submit", "--help"], ["keys", "create", "-h"], ["--version"], ["worker", "--help"])
    for arguments in helps:
        done = await python("-c", SHOW_WHAT_WAS_LOADED, *arguments)
        assert done.exit_code == 0 and done.stdout
        assert done.stderr.strip() == "LOADED", done.stderr


async def test_help_keeps_each_example_on_its_line() -> None:
    done = await python("-m", "agentvine", "submit", "--help")
    shown = [line.strip() for line in done.stdout.splitlines()]
    assert examples(("submit",))[0] in shown


async def test_a_mistyped_command_line_is_told_from_a_refusal() -> None:
    assert (await python("-m", "agentvine", "wait")).exit_code == 2
    assert (await python("-m", "agentvine", "submit", "--type", "dance")).exit_code == 2
    missing = await python("-m", "agentvine", "tasks")
    assert missing.exit_code == 1
    assert "agentvine up" in missing.stderr and "Traceback" not in missing.stderr
