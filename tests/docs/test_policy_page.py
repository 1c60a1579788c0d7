"""What the page on the policy shows is so: its rules can be used, and decide what the tables say."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from agentvine.domain.permission import PermissionLevel
from agentvine.domain.policy import Case, Decision, Match, Policy, Rule, decide, parse
from agentvine.domain.request import RequestKind
from agentvine.domain.worker_types import TaskType
from agentvine.entry import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "policy.toml"
_BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CASES = re.compile(r"^<!-- cases: begin -->\n(.*?)^<!-- cases: end -->$", re.MULTILINE | re.DOTALL)


def stated() -> Iterator[tuple[Policy, Case, str]]:
    """Each case of the page with the rules above it, and what it says they decide."""
    blocks, tables = _BLOCK.findall(PAGE), _CASES.findall(PAGE)
    assert len(blocks) == len(tables) == 2
    for block, table in zip(blocks, tables, strict=True):
        policy = parse(block.encode())
        for row in table.splitlines()[2:]:
            kind, level, repository, asks, message, decision = (cell.strip() for cell in row.strip("|").split("|"))
            case = Case(TaskType(kind), PermissionLevel(level), repository, RequestKind(asks), message)
            yield policy, case, decision


CASES = list(stated())


@pytest.mark.parametrize(("policy", "case", "decision"), CASES, ids=[case.message for _, case, _ in CASES])
def test_the_rules_of_the_page_decide_what_it_says(policy: Policy, case: Case, decision: str) -> None:
    rule = decide(policy, case)
    assert decision == (f"{rule.decide} by `{rule.name}`" if rule else "a person")


def test_the_page_shows_every_decision_and_every_rule_decides_something() -> None:
    decided = {rule.name: rule.decide for policy, case, _ in CASES if (rule := decide(policy, case))}
    assert set(decided.values()) == set(Decision)
    assert set(decided) == {rule.name for block in _BLOCK.findall(PAGE) for rule in parse(block.encode()).rule}


def test_the_page_names_every_field() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert named == set(Rule.model_fields) | set(Match.model_fields)


def test_the_example_can_be_used() -> None:
    policy = parse(EXAMPLE.read_bytes())
    assert {rule.decide for rule in policy.rule} == set(Decision)
    shop = "https://github.com/acme/shop.git"
    case = Case(TaskType.BUGFIX, PermissionLevel.AUTONOMOUS, shop, RequestKind.CLARIFICATION, "Is 0.005 rounded up?")
    assert (rule := decide(policy, case)) is not None
    assert rule.name == "rounding"


@pytest.mark.parametrize(
    "line", re.findall(r"^(?:#   )?(agentvine policy .*)$", PAGE + EXAMPLE.read_text(), re.MULTILINE)
)
def test_the_commands_can_be_typed(line: str) -> None:
    words = shlex.split(line)[1:]
    group = typer.main.get_command(app).commands["policy"]  # type: ignore[attr-defined]
    group.commands[words[1]].make_context(words[1], words[2:])
