"""What a policy says of requests that nobody answers, and how times are written."""

from datetime import timedelta

import pytest

from agentvine.domain.policy import Defaults, PolicyMistakes, parse
from agentvine.domain.request import Unanswered
from agentvine.domain.span import span

RULE = '[[rule]]\nname = "a"\nreason = "b"\ndecide = "ask"\n'


def mistakes(policy: str) -> tuple[str, ...]:
    with pytest.raises(PolicyMistakes) as caught:
        parse(policy.encode())
    return caught.value.mistakes


def test_what_is_not_said_is_as_ever() -> None:
    assert parse(b"").unanswered == Defaults()
    changed = parse(b'[unanswered]\nclarification = "fail"\napproval = "fail"\ndelivery = "fail"\n').unanswered
    assert {changed.clarification, changed.approval, changed.delivery} == {Unanswered.FAIL}
    rule = parse(f'{RULE}unanswered = "deny"\nexpires_after = "90 minutes"\nmatch.kind = "approval"\n'.encode()).rule[0]
    assert (rule.unanswered, rule.expires_after) == (Unanswered.DENY, timedelta(minutes=90))


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("unanswered = 3", "unanswered: write it as a table that starts with the line [unanswered]"),
        ('[unanswered]\nx = "fail"', "line 1, unanswered.x: there is no such field; the fields are clarification,"),
        ('\n[unanswered]\napproval = "decide"', "line 2, unanswered.approval: write 'deny' or 'fail'"),
        ('[unanswered]\ndelivery = "deny"', "line 1, unanswered.delivery: write 'fail'"),
        ("[unanswered]\nclarification = []", "line 1, unanswered.clarification: write 'decide' or 'fail'"),
        (f'{RULE}unanswered = "perhaps"', "line 1, rule 'a', unanswered: write one of 'decide', 'deny', 'fail'"),
        (f'{RULE}unanswered = "decide"', "unanswered: 'decide' is for questions alone; write match.kind ="),
        (f'{RULE}unanswered = "decide"\nmatch.kind = "approval"', "'decide' is for questions alone"),
        (f'{RULE}unanswered = "deny"', "unanswered: 'deny' is for approvals alone; write match.kind = 'approval'"),
        (f"{RULE}expires_after = 3", "expires_after: write a time in quotes, such as '3 days'"),
        (f'{RULE}expires_after = "0 days"', "expires_after: write a time in quotes"),
        (f'{RULE}expires_after = "53 weeks"', "expires_after: it is longer than 365 days; write less"),
        (f'{RULE.replace("ask", "deny")}expires_after = "1 day"\nmatch.kind = "approval"', "only what a rule leaves"),
    ],
)
def test_a_mistake_says_what_to_write(policy: str, told: str) -> None:
    found = mistakes(policy)
    assert any(told in one for one in found), found


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1 second", timedelta(seconds=1)),
        ("12 hours", timedelta(hours=12)),
        (" 3 days ", timedelta(days=3)),
        ("365 days", timedelta(days=365)),
        ("2weeks", timedelta(weeks=2)),
    ],
)
def test_a_time_is_written_in_words(written: str, meant: timedelta) -> None:
    assert span(written) == meant


@pytest.mark.parametrize(
    "written", ["", "3", "three days", "-1 days", "1.5 hours", "3 moons", 3, None, "999999999999 days"]
)
def test_what_is_no_time_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="write"):
        span(written)
