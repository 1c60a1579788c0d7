"""The controller's rules: which one fits, and how mistakes in them are told."""

import time
from dataclasses import replace

import pytest

from agentvine.domain.permission import PermissionLevel
from agentvine.domain.policy import MOST_RULES, Case, Decision, PolicyMistakes, Rule, decide, parse
from agentvine.domain.request import RequestKind
from agentvine.domain.worker_types import TaskType

QUESTION = Case(
    type=TaskType.BUGFIX,
    permission_level=PermissionLevel.AUTONOMOUS,
    repository="https://github.com/acme/shop.git",
    kind=RequestKind.CLARIFICATION,
    message="Shall prices be rounded up, or half to even?",
    context="src/billing/price.py has both.\nI'd round-up.",
    options=("Up", "half to even"),
)
APPROVAL = replace(QUESTION, kind=RequestKind.APPROVAL, message="Deliver this?", options=())
PERSON = replace(APPROVAL, permission_level=PermissionLevel.HUMAN_REQUIRED)


def rule(match: str, decide: str = "answer", name: str = "one") -> str:
    text = 'text = "half to even"\n' if decide == "answer" else ""
    return f'[[rule]]\nname = "{name}"\nreason = "so it is"\ndecide = "{decide}"\n{text}match = {{ {match} }}\n'


def fitting(policy: str, case: Case = QUESTION) -> Rule | None:
    return decide(parse(policy.encode()), case)


def mistakes(policy: str) -> tuple[str, ...]:
    with pytest.raises(PolicyMistakes) as caught:
        parse(policy.encode())
    return caught.value.mistakes


@pytest.mark.parametrize(
    "match",
    [
        'types = ["bugfix"]',
        'types = ["test", "bugfix"]',
        'permission_levels = ["autonomous"]',
        'kind = "clarification"',
        'repositories = ["https://github.com/ACME/*"]',
        'repositories = ["ssh://*", "*/shop.git"]',
        'words = ["PRICES"]',
        'words = ["prices", "billing"]',
        'words = ["half to even"]',
        'words = ["round*"]',
        'words = ["*ounded"]',
        'words = ["*ounde*"]',
        'words = ["round up"]',
        'words = ["src/billing/price.py"]',
        'options = ["up"]',
        'options = ["Half to even", "UP"]',
        'types = ["bugfix"], words = ["prices"], kind = "clarification", options = ["up"]',
    ],
)
def test_what_fits(match: str) -> None:
    assert fitting(rule(match)) is not None


@pytest.mark.parametrize(
    "match",
    [
        'types = ["test"]',
        'permission_levels = ["supervised", "human_required"]',
        'repositories = ["https://github.com/acme/other.git"]',
        'repositories = ["github.com/acme/*"]',
        'words = ["round"], options = ["down"]',
        'words = ["price"], types = ["bugfix"], kind = "clarification", repositories = ["nowhere"]',
        'words = ["rounde"]',
        'words = ["prices", "taxes"]',
        'words = ["even to half"]',
        'words = ["even src"]',
        'options = ["up", "down"]',
        'options = ["half"]',
    ],
)
def test_what_does_not_fit(match: str) -> None:
    assert fitting(rule(match)) is None


def test_a_word_is_looked_for_as_a_whole_and_a_phrase_does_not_reach_from_message_to_context() -> None:
    assert fitting(rule('words = ["round"]'), replace(QUESTION, message="around", context="")) is None
    assert fitting(rule('words = ["round"]'), replace(QUESTION, message="round?", context="")) is not None
    assert fitting(rule('words = ["even src"]'), replace(QUESTION, message="even", context="src")) is None
    assert fitting(rule('words = ["STRASSE"]'), replace(QUESTION, message="Welche Straße?")) is not None


def test_each_decision_is_about_its_own_kind() -> None:
    anything = 'repositories = ["*"]'
    for decision, kinds in (
        ("answer", {RequestKind.CLARIFICATION}),
        ("approve", {RequestKind.APPROVAL}),
        ("deny", {RequestKind.APPROVAL}),
        ("ask", {RequestKind.CLARIFICATION, RequestKind.APPROVAL}),
    ):
        found = {case.kind for case in (QUESTION, APPROVAL) if fitting(rule(anything, decision), case)}
        assert found == kinds, decision
    assert fitting(rule('kind = "approval"', "ask")) is None
    assert fitting(rule('kind = "approval"', "ask"), APPROVAL) is not None


def test_what_a_person_must_approve_is_approved_by_a_rule_only_if_it_names_the_level() -> None:
    named = 'permission_levels = ["human_required"]'
    assert fitting(rule('kind = "approval"', "approve"), PERSON) is None
    assert fitting(rule('kind = "approval"', "approve"), APPROVAL) is not None
    assert fitting(rule(named, "approve"), PERSON) is not None
    assert fitting(rule('kind = "approval"', "deny"), PERSON) is not None


def test_the_first_rule_that_fits_decides_and_without_one_nobody_does() -> None:
    first, second = rule('words = ["up"]', "ask", "first"), rule('types = ["bugfix"]', name="second")
    assert (found := fitting(first + second)) is not None
    assert (found.name, found.decide) == ("first", Decision.ASK)
    assert (found := fitting(second + first)) is not None
    assert found.name == "second"
    assert fitting("") is None
    assert fitting(second, APPROVAL) is None


def test_what_claude_is_told() -> None:
    answered, approved, denied = (
        fitting(rule('repositories = ["*"]', decision), case)
        for decision, case in (("answer", QUESTION), ("approve", APPROVAL), ("deny", APPROVAL))
    )
    assert answered and approved and denied
    assert [one.message for one in (answered, approved, denied)] == ["half to even", "", "so it is"]


def test_all_mistakes_are_told_at_once_each_with_its_place() -> None:
    policy = """colour = "red"
[[rule]]
name = "Never Round"
reason = "so it is"
decide = "anser"
match = { types = ["feature", "bug"], words = ["a*b"], when = "today" }

[[rule]]
name = "two"
decide = "answer"
match = { kind = "approval", repositories = "https://x/*" }

[[rule]]
name = "two"
reason = "so it is"
decide = "deny"
"""
    found = mistakes(policy)
    expected = (
        ("colour: ", "[[rule]]"),
        ("line 2, rule 'Never Round', name: ", "small letters"),
        ("line 2, rule 'Never Round', decide: ", "'answer', 'approve', 'deny', 'ask'"),
        ("line 2, rule 'Never Round', match.types item 2: ", "'bugfix'"),
        ("line 2, rule 'Never Round', match.words item 1: ", "beginning"),
        ("line 2, rule 'Never Round', match.when: ", "types, permission_levels, repositories, kind, words, options"),
        ("line 8, rule 'two', reason: ", "needed"),
        ("line 8, rule 'two', text: ", "the answer"),
        ("line 8, rule 'two', match.kind: ", "'clarification'"),
        ("line 8, rule 'two', match.repositories: ", "list"),
        ("line 13, rule 'two', name: ", "own"),
        ("line 13, rule 'two', match: ", "settle everything"),
    )
    for place, words in expected:
        assert [one for one in found if one.startswith(place) and words in one], (place, found)
    assert len(found) == len(expected), found


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("rule = 3", "[[rule]]"),
        ("[[rule]\n", "line 1"),
        ("[[rule]]\nname = 3\n", "write a text in quotes"),
        ('[[rule]]\nmatch = "x"\n', "write a table"),
        (rule('types = ["bugfix"]').replace("half to even", " "), "text: is needed"),
        (rule('types = ["bugfix"]', "ask") + 'text = "x"', "leave it out"),
        (rule('kind = "clarification"', "approve"), "'answer'"),
        (rule(""), "match: is needed"),
        (rule("types = []"), "match: is needed"),
        (rule('words = ["*"]'), "write a word"),
        (rule('words = ["?!"]'), "write a word"),
        (rule('repositories = ["a\\\\b"]'), "without backslashes"),
        (rule('kind = "approvals"'), "'clarification', 'approval'"),
        (f"x = {'[' * 5000}{']' * 5000}", "no TOML"),
        ("\n".join(rule('words = ["x"]', name=f"r{number}") for number in range(MOST_RULES + 1)), "at most 200"),
    ],
)
def test_a_mistake_says_what_to_write(policy: str, words: str) -> None:
    found = mistakes(policy)
    assert any(words in one for one in found), found


def test_a_head_inside_of_a_text_makes_no_wrong_line() -> None:
    assert mistakes('[[rule]]\nname = "a"\ntext = """\n[[rule]]\n"""\n')[0].startswith("rule 'a', ")


def test_what_is_no_text_or_too_much_of_it_is_told() -> None:
    for content, words in ((b"\xff", "UTF-8"), (b"#" * (1024 * 1024 + 1), "larger")):
        with pytest.raises(PolicyMistakes, match=words):
            parse(content)


def test_no_text_can_make_the_rules_slow() -> None:
    nasty = replace(QUESTION, message="a" * 100_000, context="a " * 50_000, repository="a" * 1000)
    rules = [rule(f'words = ["*{"a" * 150}b*", "{"a " * 90}b"]', name=f"r{number}") for number in range(100)]
    globs = [rule(f'repositories = ["{"*a" * 100}b"]', name=f"g{number}") for number in range(5)]
    policy = parse("\n".join(rules + globs).encode())
    before = time.perf_counter()
    assert decide(policy, nasty) is None
    assert time.perf_counter() - before < 5
