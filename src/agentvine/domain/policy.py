"""The controller's policy: rules that settle what workers ask, before a person is asked. See docs/policy.md.

The first rule that fits decides; what no rule settles goes to people. What a request says was written by an agent, so a
text is only ever looked through for words, in time that grows with its length and with nothing else.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from functools import cache
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from agentvine.domain.approval import rules_of
from agentvine.domain.base import Line, Strict, Text
from agentvine.domain.globs import path_fits
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.request import RequestKind, Unanswered, WorkerRequest
from agentvine.domain.span import Span
from agentvine.domain.words import WORD, part, spaced
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType

MOST_RULES = 200
LARGEST_POLICY = 1024 * 1024
"""Bytes of a policy file."""
_RULE_HEAD = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.MULTILINE)
_UNANSWERED_HEAD = re.compile(r"^[ \t]*\[[ \t]*unanswered[ \t]*\]", re.MULTILINE)


def _check_words(words: str) -> str:
    if "*" in words.removeprefix("*").removesuffix("*"):
        raise ValueError("a `*` stands at the beginning or at the end; write several words as a list")
    if not WORD.search(words):
        raise ValueError("write a word, or several with spaces between them")
    return words


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,49}$")]
_Glob = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00\\]*$")]
_Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_check_words)
]


class Decision(StrEnum):
    """What a rule decides. Clarifications are answered, approvals approved or denied; a person is asked about any."""

    ANSWER = "answer"
    APPROVE = "approve"
    DENY = "deny"
    ASK = "ask"


_SETTLES = {
    Decision.ANSWER: RequestKind.CLARIFICATION,
    Decision.APPROVE: RequestKind.APPROVAL,
    Decision.DENY: RequestKind.APPROVAL,
}


class Match(Strict):
    """Which requests a rule is for. Every field that is given must fit."""

    types: Annotated[tuple[TaskType, ...], Field(max_length=20)] = ()
    permission_levels: Annotated[tuple[PermissionLevel, ...], Field(max_length=10)] = ()
    repositories: Annotated[tuple[_Glob, ...], Field(max_length=100)] = ()
    """Repository addresses, with `*` for anything; one must fit."""
    kind: RequestKind | None = None
    words: Annotated[tuple[_Words, ...], Field(max_length=20)] = ()
    """All of them must stand in the message or the context, as whole words unless a `*` begins or ends them."""
    options: Annotated[tuple[Line, ...], Field(max_length=20)] = ()
    """All of them must be among the options that the request offers."""
    tools: Annotated[tuple[_Glob, ...], Field(max_length=100)] = ()
    """The tool of the call that waits, with `*` for anything; `result` for what a result changes."""
    paths: Annotated[tuple[_Glob, ...], Field(max_length=100)] = ()
    """The files that the call names: `approve` fits if all of them do, `deny` and `ask` if one does."""
    rules: Annotated[tuple[_Name, ...], Field(max_length=100)] = ()
    """The rules by which it is sensitive, by name: as with `paths`."""

    @property
    def of_calls(self) -> bool:
        """Whether it is for calls that need approval, and for nothing else."""
        return bool(self.tools or self.paths or self.rules)


class Rule(Strict):
    """One rule. Made by `parse`, which also sees to it that its fields go together."""

    name: _Name
    reason: Line
    """Why it decides so, for people; who is denied something without a `text` is told this."""
    decide: Decision
    text: Text = ""
    """What Claude is told: the answer, or what goes with an approval or a denial."""
    match: Match = Match()
    unanswered: Unanswered | None = None
    """With `ask`: what happens if nobody answers. None: what the policy says for such requests."""
    expires_after: Span | None = None
    """With `ask`: how long people have. None: as long as the worker gives them."""

    @property
    def message(self) -> str:
        """What Claude is told."""
        return self.text.strip() or (self.reason if self.decide is Decision.DENY else "")


class Defaults(Strict):
    """What happens to requests that nobody answers, unless the rule that leaves them to people says otherwise."""

    clarification: Unanswered = Unanswered.DECIDE
    approval: Unanswered = Unanswered.DENY
    """Of a call that waits."""
    delivery: Unanswered = Unanswered.FAIL
    """Of a result that waits for approval: it never leaves without."""


ALLOWED: Mapping[str, tuple[Unanswered, ...]] = {
    "clarification": (Unanswered.DECIDE, Unanswered.FAIL),
    "approval": (Unanswered.DENY, Unanswered.FAIL),
    "delivery": (Unanswered.FAIL,),
}
"""What may happen to each."""


class Policy(Strict):
    """Rules in the order in which they are asked."""

    rule: tuple[Rule, ...] = ()
    unanswered: Defaults = Defaults()

    def when_unanswered(self, request: WorkerRequest, rule: Rule | None) -> Unanswered:
        """What happens to a request that nobody answers; `rule` is the one that fits it."""
        if request.kind is RequestKind.CLARIFICATION:
            kind, otherwise = "clarification", self.unanswered.clarification
        elif request.call is not None:
            kind, otherwise = "approval", self.unanswered.approval
        else:
            kind, otherwise = "delivery", self.unanswered.delivery
        wanted = rule.unanswered if rule else None
        return wanted if wanted is not None and wanted in ALLOWED[kind] else otherwise


class PolicyMistakes(ValueError):
    """A policy cannot be used. `mistakes` has a sentence for each: its place, and what to write."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and the order in whose name it is asked, as far as rules look at them."""

    type: TaskType
    permission_level: PermissionLevel
    repository: str
    kind: RequestKind
    message: str
    context: str = ""
    options: tuple[str, ...] = ()
    tool: str = ""
    """Of the call that waits; empty if there is none."""
    paths: tuple[str, ...] | None = ()
    """None: there are more than are known. That is what no rule approves, and what every `deny` and `ask` fits."""
    rules: tuple[str, ...] | None = ()
    """As with `paths`."""

    @classmethod
    def of(cls, order: WorkOrder, request: WorkerRequest) -> Self:
        """What `request` is to the rules, asked for `order`."""
        call = request.call
        return cls(
            order.type,
            order.permission_level,
            order.repository,
            request.kind,
            request.message,
            request.context,
            request.options,
            call.tool if call else "",
            () if call is None else call.paths if call.paths_whole else None,
            () if call is None else rules_of(call.rule) if call.rules_whole else None,
        )


def decide(policy: Policy, case: Case) -> Rule | None:
    """The first rule that fits; None if none does. A rule that decides `ask` ends the search as well."""
    said = f"{spaced(case.message)}{spaced(case.context)}"
    return next((rule for rule in policy.rule if _fits(rule, case, said)), None)


def _fits(rule: Rule, case: Case, said: str) -> bool:
    match = rule.match
    if case.kind is not _SETTLES.get(rule.decide, case.kind) or case.kind is not (match.kind or case.kind):
        return False
    if match.types and case.type not in match.types:
        return False
    if not _level_fits(rule, case.permission_level):
        return False
    if match.repositories and not any(_glob(glob).match(case.repository) for glob in match.repositories):
        return False
    offered = {option.strip().casefold() for option in case.options}
    if not all(option.casefold() in offered for option in match.options) or not _call_fits(rule, case):
        return False
    return all(part(words) in said for words in match.words)


def _level_fits(rule: Rule, level: PermissionLevel) -> bool:
    """What a person has to agree to is approved by a rule only if the rule names that level."""
    named = rule.match.permission_levels
    if rule.decide is Decision.APPROVE and level is PermissionLevel.HUMAN_REQUIRED:
        return level in named
    return not named or level in named


def _call_fits(rule: Rule, case: Case) -> bool:
    """What is sensitive is approved by a rule only if the rule says of what calls it speaks."""
    match, approves = rule.match, rule.decide is Decision.APPROVE
    if not case.tool or not match.of_calls:
        return not match.of_calls and not (case.tool and approves)
    if match.tools and not any(_glob(glob).match(case.tool) for glob in match.tools):
        return False
    if approves and (case.paths is None or case.rules is None):
        return False
    enough = all if approves else any
    if match.rules and case.rules is not None and not (case.rules and enough(one in match.rules for one in case.rules)):
        return False
    if not match.paths or case.paths is None:
        return True
    return bool(case.paths) and enough(path_fits(match.paths, path) for path in case.paths)


@cache
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern), re.IGNORECASE)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────


def parse(content: bytes) -> Policy:
    """The policy in a TOML file of `[[rule]]` tables and perhaps one `[unanswered]`.

    Raises `PolicyMistakes` with all that is wrong in it.
    """
    if len(content) > LARGEST_POLICY:
        raise PolicyMistakes(f"it is larger than {LARGEST_POLICY} bytes")
    try:
        text = content.decode("utf-8")
        top = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise PolicyMistakes(f"it is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyMistakes(f"it is no TOML: {error}") from None
    tables, defaults = top.pop("rule", []), top.pop("unanswered", {})
    mistakes = [f"{name}: there is no such field; write each rule below a line [[rule]]" for name in top]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise PolicyMistakes(*mistakes, "rule: write each rule as a table that starts with the line [[rule]]")
    if len(tables) > MOST_RULES:
        mistakes.append(f"there are {len(tables)} rules; write at most {MOST_RULES}")
    mistakes += _wrong_defaults(text, defaults)
    rules = []
    for place, table in zip(_places(text, tables), tables, strict=True):
        try:
            rules.append(Rule.model_validate(table))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            mistakes += [f"{place}{_sentence(mistake)}" for mistake in found]
        mistakes += [f"{place}{mistake}" for mistake in (*_contradictions(table), *_name_taken(table, tables))]
    if mistakes:
        raise PolicyMistakes(*mistakes)
    return Policy(rule=tuple(rules), unanswered=Defaults.model_validate(defaults))


def _wrong_defaults(content: str, table: object) -> Iterator[str]:
    head = _UNANSWERED_HEAD.search(content)
    place = f"line {content.count(chr(10), 0, head.start()) + 1}, unanswered" if head else "unanswered"
    if not isinstance(table, dict):
        yield f"{place}: write it as a table that starts with the line [unanswered]"
        return
    for name, value in table.items():
        if name not in ALLOWED:
            yield f"{place}.{name}: there is no such field; the fields are {', '.join(ALLOWED)}"
        elif value not in ALLOWED[name]:
            yield f"{place}.{name}: write {' or '.join(repr(one.value) for one in ALLOWED[name])}"


def _places(content: str, tables: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Where each rule stands, in words."""
    heads = [content.count("\n", 0, head.start()) + 1 for head in _RULE_HEAD.finditer(content)]
    for number, table in enumerate(tables):
        name = table.get("name")
        what = f"rule {name!r}" if isinstance(name, str) and name else f"rule {number + 1}"
        # rules written without heads, or heads inside of texts, have no line that could be named
        yield f"line {heads[number]}, {what}, " if len(heads) == len(tables) else f"{what}, "


def _contradictions(table: Mapping[str, object]) -> Iterator[str]:
    """What does not go together in a rule, looked for in what was written, so that it is told with all the rest."""
    decide, text, match = table.get("decide"), table.get("text", ""), table.get("match", {})
    if decide == Decision.ANSWER and isinstance(text, str) and not text.strip():
        yield "text: is needed; write the answer that Claude is given"
    if decide == Decision.ASK and text:
        yield "text: leave it out; the person who is asked writes the answer"
    yield from _wrong_patience(table)
    if not isinstance(match, dict):
        return
    kind = match.get("kind")
    if decide == Decision.ANSWER and kind == RequestKind.APPROVAL:
        yield "match.kind: an approval is not answered; decide 'approve' or 'deny', or write 'clarification'"
    if decide in (Decision.APPROVE, Decision.DENY) and kind == RequestKind.CLARIFICATION:
        yield "match.kind: a clarification is answered; decide 'answer', or write 'approval'"
    about_calls = [name for name in ("tools", "paths", "rules") if match.get(name)]
    if about_calls and (decide == Decision.ANSWER or kind == RequestKind.CLARIFICATION):
        yield f"match.{about_calls[0]}: leave it out; a question is about no call of a tool"
    if decide in tuple(_SETTLES) and not any(match.values()):
        yield f"match: is needed, or it would settle everything; write at least one of {_names(Match)}"


def _wrong_patience(table: Mapping[str, object]) -> Iterator[str]:
    """What does not go together in what a rule says of requests that nobody answers."""
    match, unanswered = table.get("match"), table.get("unanswered")
    if table.get("decide") != Decision.ASK:
        for name in ("unanswered", "expires_after"):
            if name in table:
                yield f"{name}: leave it out; only what a rule leaves to people (decide = 'ask') can stay unanswered"
        return
    kind = match.get("kind") if isinstance(match, dict) else None
    if unanswered == Unanswered.DECIDE and kind != RequestKind.CLARIFICATION:
        yield "unanswered: 'decide' is for questions alone; write match.kind = 'clarification', or 'fail' here"
    if unanswered == Unanswered.DENY and kind != RequestKind.APPROVAL:
        yield "unanswered: 'deny' is for approvals alone; write match.kind = 'approval', or 'fail' here"


def _name_taken(table: Mapping[str, object], tables: Sequence[Mapping[str, object]]) -> Iterator[str]:
    name = table.get("name")
    first = next(other for other in tables if other.get("name") == name)
    if name is not None and first is not table:
        yield "name: another rule before has this name; give each its own"


_PLAIN = {
    "missing": "is needed",
    "string_type": "write a text in quotes",
    "tuple_type": 'write a list, such as ["…"]',
    "model_type": "write a table, such as [rule.match] with fields below it",
    "string_too_short": "it is empty; write something or leave it out",
}
_EXPECTED: Mapping[str, type[StrEnum]] = {
    "decide": Decision,
    "unanswered": Unanswered,
    "types": TaskType,
    "permission_levels": PermissionLevel,
    "kind": RequestKind,
}


def _sentence(mistake: ErrorDetails) -> str:
    steps = mistake["loc"]
    names = [step for step in steps if isinstance(step, str)]
    items = [f" item {step + 1}" for step in steps if isinstance(step, int)]
    place = f"{'.'.join(names)}{''.join(items)}"
    kind = mistake["type"]
    if kind == "extra_forbidden":
        return f"{place}: there is no such field; the fields are {_names(Match if len(names) > 1 else Rule)}"
    if kind == "enum":
        return f"{place}: write one of {', '.join(repr(one.value) for one in _EXPECTED[names[-1]])}"
    if kind == "string_pattern_mismatch":
        return f"{place}: {_FORMS.get(names[-1], 'write one line without control characters')}"
    return f"{place}: {_PLAIN.get(kind, mistake['msg'].removeprefix('Value error, '))}"


_FORMS = {
    "name": "write small letters, digits and hyphens, at most 50, such as 'never-round'",
    "text": "it holds a NUL character, which no answer may; leave it out",
    "repositories": "write an address without backslashes, such as 'https://github.com/acme/*'",
    "tools": "write the name of a tool, such as 'Write' or 'Bash'",
    "paths": "write a path without backslashes, such as 'docs/**' or 'uv.lock'",
    "rules": "write the name of a rule of sensitive operations, such as 'dependencies'",
}


def _names(model: type[Strict]) -> str:
    return ", ".join(model.model_fields)
