"""docs/follow-up.md speaks of what the code does, and its commands can be typed."""

import re

from agentvine.domain.event import EventKind
from agentvine.domain.follow_up import MOST_TASKS
from agentvine.domain.follow_up_words import LONGEST_LOG
from agentvine.domain.pull_followed import PullState
from agentvine.domain.repository_settings import FollowUpRules
from tests.docs.pages import page, shown_commands, understood

PAGE = page("follow-up.md")


def test_every_event_has_its_row() -> None:
    rows = re.findall(r"^\| `(follow_up\.\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [kind.value for kind in EventKind if kind.value.startswith("follow_up.")]
    (ended,) = re.findall(r"^\| `follow_up.ended` \| (.*) \|$", PAGE, re.MULTILINE)
    assert all(state.value in ended for state in PullState if state is not PullState.OPEN)


def test_the_defaults_are_named_as_they_are() -> None:
    assert f"`--tries` times ({FollowUpRules().tries})" in PAGE
    assert f"in seconds ({FollowUpRules().look_seconds:.0f})" in PAGE
    assert f"the last {LONGEST_LOG:,} characters" in PAGE
    assert f"{MOST_TASKS} tasks go on" in PAGE


def test_its_commands_can_be_typed() -> None:
    assert [understood(line) for line in shown_commands(PAGE)] == ["repo add", "repo set", "repo set"]
