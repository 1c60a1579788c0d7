"""What the README and the pages show can be typed, read and followed."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from agentvine.entry import app
from agentvine.worker.verification.agentvine_toml import parse

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app)


def fenced(text: str, language: str) -> list[str]:
    """The blocks of code that are marked as `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def typed_commands() -> list[str]:
    """Every `agentvine …` of the README, in blocks and in the text."""
    blocks = "\n".join(fenced(README, "")).replace("&\n", "\n")
    lines = [
        line[line.index("agentvine ") :] for line in blocks.splitlines() if re.match(r"(\w+=\S+ )*agentvine ", line)
    ]
    return lines + re.findall(r"`(agentvine [a-z][^`]*)`", README)


@pytest.mark.parametrize("line", typed_commands())
def test_a_command_of_the_readme_is_understood(line: str) -> None:
    words = shlex.split(line.partition("#")[0].rstrip("& "))[1:]
    command = getattr(COMMANDS, "commands", {}).get(words[0])
    assert command is not None, f"there is no command {words[0]}"
    while words[1:] and words[1] in getattr(command, "commands", {}):
        command, words = command.commands[words[1]], words[1:]
    if words[1:] and words[1:] != ["--help"]:
        command.make_context(words[0], words[1:])


def test_the_readme_s_agentvine_toml_is_one() -> None:
    (block,) = fenced(README, "toml")
    settings = parse(block.encode())
    assert settings.test is not None
    assert settings.setup is not None


def test_the_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)\b", README))
    assert {"demo", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing
