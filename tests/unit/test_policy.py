"""The controller's rules: which one fits, and how mistakes in them are told."""

import time
from dataclasses import replace

import pytest

from agentvine.domain.globs import path_fits
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
CALL = replace(
    APPROVAL,
    message="May the agent write `uv.lock`?",
    tool="Write",
    paths=("uv.lock",),
    rules=("dependencies",),
)
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


@pytest.mark.parametrize(
    "match",
    [
        'tools = ["Write"]',
        'tools = ["read", "wri*"]',
        'paths = ["uv.lock"]',
        'paths = ["*.LOCK"]',
        'paths = ["**"]',
        'rules = ["licences", "dependencies"]',
        'tools = ["*"], paths = ["*.lock"], rules = ["dependencies"], types = ["bugfix"], words = ["write"]',
    ],
)
def test_a_call_is_approved_by_a_rule_that_speaks_of_it(match: str) -> None:
    assert fitting(rule(match, "approve"), CALL) is not None
    assert fitting(rule(match, "deny"), CALL) is not None
    assert fitting(rule(match, "ask"), CALL) is not None
    assert fitting(rule(match, "approve"), APPROVAL) is None, "a delivery is no call"
    assert fitting(rule(match, "ask"), QUESTION) is None


@pytest.mark.parametrize("match", ['tools = ["Edit"]', 'paths = ["lock"]', 'rules = ["licences"]', 'paths = ["a/*"]'])
def test_a_rule_of_other_calls_does_not_fit(match: str) -> None:
    for decision in ("approve", "deny", "ask"):
        assert fitting(rule(match, decision), CALL) is None


def test_what_is_sensitive_is_approved_only_by_a_rule_that_says_of_what_calls_it_speaks() -> None:
    for match in ('kind = "approval"', 'words = ["write"]', 'types = ["bugfix"]'):
        assert fitting(rule(match, "approve"), CALL) is None
        assert fitting(rule(match, "deny"), CALL) is not None
        assert fitting(rule(match, "ask"), CALL) is not None


def test_an_approval_is_of_all_of_a_call_and_a_denial_of_any_part() -> None:
    more = replace(CALL, paths=("uv.lock", "src/auth/a.py"), rules=("dependencies", "security-and-auth"))
    for part in ('paths = ["uv.lock"]', 'rules = ["dependencies"]'):
        assert fitting(rule(part, "approve"), more) is None
        assert fitting(rule(part, "deny"), more) is not None
        assert fitting(rule(part, "ask"), more) is not None
    whole = 'paths = ["uv.lock", "src/**"], rules = ["dependencies", "security-and-auth"]'
    assert fitting(rule(whole, "approve"), more) is not None
    none = replace(CALL, paths=(), rules=())
    for match in ('paths = ["**"]', 'rules = ["dependencies"]'):
        for decision in ("approve", "deny"):
            assert fitting(rule(match, decision), none) is None, "no file and no rule fits no pattern"


@pytest.mark.parametrize("more", ["paths", "rules"])
def test_what_is_not_known_whole_may_be_anything_and_is_approved_by_no_rule(more: str) -> None:
    call = replace(CALL, paths=None) if more == "paths" else replace(CALL, rules=None)
    other = 'paths = ["deploy/prod/**"]' if more == "paths" else 'rules = ["licences"]'
    for decision in ("deny", "ask"):
        assert fitting(rule(other, decision), CALL) is None
        assert fitting(rule(other, decision), call) is not None
        assert fitting(rule(f'{other}, tools = ["Bash"]', decision), call) is None, "what is known counts"
    for match in ('tools = ["*"]', 'paths = ["**"]', 'rules = ["dependencies"]'):
        assert fitting(rule(match, "approve"), CALL) is not None
        assert fitting(rule(match, "approve"), call) is None


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("ci.yml", ".github/workflows/ci.yml", True),
        (".github/**", ".github/workflows/ci.yml", True),
        (".github/**", ".github", True),
        (".github/**", "x/.github/ci.yml", False),
        ("**/auth/**", "auth/a.py", True),
        ("**/auth/**", "src/deep/auth/a/b.py", True),
        ("**/auth/**", "src/authors/a.py", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/a/b.py", False),
        ("src/**/b.py", "src/b.py", True),
        ("a/**/b/**/c", "a/x/b/y/b/z/c", True),
        ("a/**/b/**/c", "a/x/c", False),
        ("/etc/**", "/etc/passwd", True),
        ("SRC/?.py", "src/a.py", True),
    ],
)
def test_patterns_for_paths(pattern: str, path: str, fits: bool) -> None:
    assert path_fits((pattern,), path) is fits


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
        (
            "line 2, rule 'Never Round', match.when: ",
            "types, permission_levels, repositories, kind, words, options, tools",
        ),
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
        (rule('tools = ["Write"]'), "match.tools: leave it out"),
        (rule('paths = ["*"], kind = "clarification"', "ask"), "match.paths: leave it out"),
        (rule('paths = ["a\\\\b"]', "deny"), "'docs/**'"),
        (rule('rules = ["Two Words"]', "deny"), "'dependencies'"),
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
    deep = ", ".join(f'"{"**/a/" * 50}{letter}"' for letter in "bcdef")
    calls = [rule(f"paths = [{deep}]", "deny", name=f"p{number}") for number in range(5)]
    policy = parse("\n".join(rules + globs + calls).encode())
    call = replace(nasty, kind=RequestKind.APPROVAL, tool="Write", paths=("a/" * 2000,) * 20, rules=("x",))
    before = time.process_time()
    assert decide(policy, nasty) is None
    assert decide(policy, call) is None
    assert time.process_time() - before < 5
