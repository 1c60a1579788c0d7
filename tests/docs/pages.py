"""How the tests of the pages read a page, and what they make of what it shows."""

import shlex
from pathlib import Path

import typer

from agentvine.entry import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PROGRAM = typer.main.get_command(app)


def page(name: str) -> str:
    """The text of a page of the documentation."""
    return (DOCS / name).read_text(encoding="utf-8")


def filled(text: str, name: str, content: str) -> str:
    """The text of a page with `content` between its markers called `name`."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    assert found and closed, f"the page has no markers called {name}"
    return f"{before}{begin}{content}\n{end}{after}"


def shown_commands(text: str) -> list[str]:
    """The lines that begin with `agentvine`."""
    return [line for line in text.splitlines() if line.startswith("agentvine ")]


def words(line: str) -> list[str]:
    """The words of a command line, up to a pipe, a redirection or a comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found = list(lexer)
    ends = [number for number, word in enumerate(found) if set(word) <= set("|<>;&()")]
    return found[: ends[0]] if ends else found


def understood(line: str) -> str:
    """Which command a line is for, such as `repo add`. Raises what the program has against one that cannot be typed."""
    program, *rest = words(line)
    assert program == "agentvine"
    command, path = PROGRAM, list[str]()
    while rest and rest[0] in getattr(command, "commands", {}):
        path.append(rest.pop(0))
        command = command.commands[path[-1]]  # type: ignore[attr-defined]  # a group has them
    if rest != ["--help"] and (rest or not hasattr(command, "commands")):
        command.make_context(" ".join(path), rest)
    return " ".join(path)
