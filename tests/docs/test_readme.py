"""What the README and the pages show can be typed, read and followed."""

import re
from pathlib import Path

import pytest

from agentvine.worker.verification.agentvine_toml import parse
from tests.docs.pages import DOCS, ROOT, page, understood

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(text: str, language: str) -> list[str]:
    """The blocks of code that are marked as `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def typed_commands() -> list[str]:
    """Every `agentvine …` of the README: lines in blocks; in the text also bare names, which are held to be there."""
    blocks = "\n".join(fenced(README, "")).replace("&\n", "\n")
    lines = [
        line[line.index("agentvine ") :] for line in blocks.splitlines() if re.match(r"(\w+=\S+ )*agentvine ", line)
    ]
    mentions = re.findall(r"`(agentvine [a-z][^`]*)`", README)
    return lines + [f"{one} --help" if re.fullmatch(r"agentvine( [a-z]+)+", one) else one for one in mentions]


@pytest.mark.parametrize("line", typed_commands())
def test_a_command_of_the_readme_is_understood(line: str) -> None:
    assert understood(line)


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


@pytest.mark.parametrize("where", PAGES, ids=lambda where: str(where.relative_to(ROOT)))
def test_links_lead_somewhere(where: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", where.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (where.parent / link).exists()]
    assert not missing


def test_every_decision_is_listed_with_its_title() -> None:
    folder = DOCS / "decisions"
    titles = {one.name: one.read_text(encoding="utf-8").splitlines()[0] for one in folder.glob("0*.md")}
    listed = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+)\) \|$", page("decisions/README.md"), re.MULTILINE)
    assert {name: f"# {number}. {title}" for number, title, name in listed} == titles


def test_the_modules_that_the_architecture_names_exist() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", page("architecture.md")))
    assert len(named) > 15
    assert [name for name in sorted(named) if not (ROOT / "src" / "agentvine" / name).exists()] == []
