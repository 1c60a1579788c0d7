"""What the page on asking shows can be typed, and who answers is called what it says."""

import re
from datetime import UTC, datetime

import pytest

from agentvine.domain.request import ControllerResponse
from agentvine.server.settings import ServerSettings
from agentvine.worker.asking import in_words
from agentvine.worker.settings import WorkerConfig
from tests.docs.pages import page, shown_commands, understood

PAGE = page("asking.md")
COMMANDS = shown_commands(PAGE)
WHO = re.findall(r"^\| [^|]+ \| `(\w+:<\w+>)` \| ([^|]+?) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_can_be_typed(line: str) -> None:
    assert understood(line)


def test_there_is_an_example_of_every_way_to_answer() -> None:
    assert {understood(line) for line in COMMANDS} >= {"inbox", "answer", "approve", "deny", "comment", "retry"}


@pytest.mark.parametrize(("made_by", "said"), WHO)
def test_claude_is_told_who_answered(made_by: str, said: str) -> None:
    response = ControllerResponse(
        verdict="answer", message="…", made_by=made_by, made_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert in_words(response) == said


def test_all_who_answer_are_there() -> None:
    kinds = {made_by.partition(":")[0] for made_by, _ in WHO}
    assert kinds == {"policy", "precedent", "assistant", "key"}


def test_the_settings_and_their_defaults_are_as_the_page_says() -> None:
    assert ServerSettings.model_fields["answerer_questions_per_day"].default == 100
    assert ServerSettings.model_fields["answerer_model"].default is None
    assert ServerSettings.model_fields["approval_seconds"].default == 3 * 86_400
    assert WorkerConfig.model_fields["request_expiry"].default == 3 * 86_400
    told = set(re.findall(r"`(?:AGENTVINE_SERVER_)?([A-Z]{3,}_[A-Z_]+)`", PAGE))
    known = {name.upper() for name in (*ServerSettings.model_fields, *WorkerConfig.model_fields)}
    assert {name.removesuffix("_FILE") for name in told} <= known
