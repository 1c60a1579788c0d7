"""What the page on the policy shows is so: its rules can be used, and decide what the tables say."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agentvine.domain.permission import PermissionLevel
from agentvine.domain.policy import ALLOWED, Case, Decision, Defaults, Match, Policy, Rule, decide, parse
from agentvine.domain.request import RequestKind, ToolUse, WorkerRequest
from agentvine.domain.span import span
from agentvine.domain.worker_types import TaskType
from tests.docs.pages import ROOT, page, understood

PAGE = page("policy.md")
CALL = ToolUse(tool="Bash", input={}, rule="x", digest="0" * 64)
EXAMPLE = ROOT / "examples" / "policy.toml"
_BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^<!-- (\w+): begin -->\n(.*?)^<!-- \1: end -->$", re.MULTILINE | re.DOTALL)
DAYS = "3 days"
"""How long the worker gives people, unless it is set up otherwise."""


def tables(name: str) -> Iterator[tuple[Policy, list[list[str]]]]:
    """The rows of each table of this name, with the rules above it. Every block of rules has its table."""
    blocks, found = _BLOCK.findall(PAGE), _TABLE.findall(PAGE)
    for block, (which, table) in zip(blocks, found, strict=True):
        if which == name:
            rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
            yield parse(block.encode()), rows


def stated() -> Iterator[tuple[Policy, Case, str]]:
    """Each case of the page with the rules above it, and what it says they decide."""
    for policy, rows in tables("cases"):
        for kind, level, repository, asks, message, decision in rows:
            case = Case(TaskType(kind), PermissionLevel(level), repository, RequestKind(asks), message)
            yield policy, case, decision


CASES = list(stated())


@pytest.mark.parametrize(("policy", "case", "decision"), CASES, ids=[case.message for _, case, _ in CASES])
def test_the_rules_of_the_page_decide_what_it_says(policy: Policy, case: Case, decision: str) -> None:
    rule = decide(policy, case)
    assert decision == (f"{rule.decide} by `{rule.name}`" if rule else "a person")


def test_the_rules_for_calls_decide_what_the_page_says() -> None:
    ((policy, rows),) = tables("calls")
    shop = "https://github.com/acme/shop.git"
    case = Case(TaskType.FEATURE, PermissionLevel.SUPERVISED, shop, RequestKind.APPROVAL, "May it?")
    for tool, files, rules, decision in rows:
        paths = tuple(files.replace("`", "").split(", "))
        rule = decide(policy, replace(case, tool=tool, paths=paths, rules=tuple(rules.split(", "))))
        assert decision == (f"{rule.decide} by `{rule.name}`" if rule else "a person"), paths


def test_the_page_shows_every_decision_and_every_rule_decides_something() -> None:
    decided = {rule.name: rule.decide for policy, case, _ in CASES if (rule := decide(policy, case))}
    assert set(decided.values()) == set(Decision)
    assert set(decided) == {rule.name for policy, _ in tables("cases") for rule in policy.rule}


def test_what_nobody_answers_ends_as_the_page_says() -> None:
    ((policy, rows),) = tables("unanswered")
    assert len({(row[0], row[1]) for row in rows}) == 3
    for kind, about, message, unanswered, after in rows:
        request = asked(RequestKind(kind), message, CALL if about == "a call" else None)
        rule = decide(policy, Case(TaskType.BUGFIX, PermissionLevel.AUTONOMOUS, "", request.kind, message))
        assert policy.when_unanswered(request, rule) == unanswered
        assert ((rule.expires_after if rule else None) or span(DAYS)) == span(after)
    fields = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert {name: tuple(re.findall(r"`(\w+)`", may)) for name, may, _ in fields} == ALLOWED
    assert all(getattr(Defaults(), name) == default for name, _, default in fields)


def asked(kind: RequestKind, message: str, call: ToolUse | None) -> WorkerRequest:
    known = {name: f"{name}_{'0' * 26}" for name in ("req", "tsk", "wo", "exe")}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return WorkerRequest(
        id=known["req"],
        task_id=known["tsk"],
        work_order_id=known["wo"],
        execution_id=known["exe"],
        kind=kind,
        message=message,
        call=call,
        created_at=at,
        expires_at=at,
    )


def test_the_page_names_every_field() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert named == set(Rule.model_fields) | set(Match.model_fields) | set(Defaults.model_fields)


def test_the_example_can_be_used() -> None:
    policy = parse(EXAMPLE.read_bytes())
    assert {rule.decide for rule in policy.rule} == set(Decision)
    shop = "https://github.com/acme/shop.git"
    case = Case(TaskType.BUGFIX, PermissionLevel.AUTONOMOUS, shop, RequestKind.CLARIFICATION, "Is 0.005 rounded up?")
    assert (rule := decide(policy, case)) is not None
    assert rule.name == "rounding"


@pytest.mark.parametrize(
    "line", re.findall(r"^(?:#   )?(agentvine (?:policy|precedents) .*)$", PAGE + EXAMPLE.read_text(), re.MULTILINE)
)
def test_the_commands_can_be_typed(line: str) -> None:
    assert understood(line).split()[0] in {"policy", "precedents"}
