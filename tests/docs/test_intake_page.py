"""What the page on intake says of commands, limits and addresses is so."""

import re

from agentvine.domain.intake import CLOCK_SLACK, LONGEST_READ, RESERVED, command_in
from agentvine.domain.repository_settings import IntakeRules
from agentvine.domain.worker_types import TaskType
from agentvine.server.errands import LEASE_SECONDS
from agentvine.server.intake import ASKING_SECONDS, OVERLAP
from agentvine.server.webhooks import BETWEEN_RINGS, BODY_SECONDS
from agentvine.wire.messages import LARGEST_WEBHOOK
from agentvine.wire.routes import WEBHOOK
from agentvine.worker.forge.watch import MOST_HEADS
from tests.docs.pages import page, shown_commands, understood

PAGE = page("intake.md")


def test_the_commands_of_the_page_mean_what_it_says() -> None:
    table = PAGE.partition("<!-- commands: begin -->")[2].partition("<!-- commands: end -->")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", table, re.MULTILINE)
    assert len(rows) == 7
    for comment, meaning in rows:
        command = command_in(comment)
        if meaning == "none":
            assert command is None or command.reserved, comment
            continue
        assert command is not None, comment
        assert (command.type is None) == meaning.startswith("of the default type"), comment
        assert command.type is None or command.type.value in meaning, comment
        assert bool(command.words) == meaning.endswith("with that title"), comment


def test_its_words_and_numbers_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    words = re.search(r"The words (.+?), alone,", text)
    assert words is not None
    assert set(re.findall(r"\w+", words[1])) - {"and"} == RESERVED
    assert IntakeRules().type is TaskType.FEATURE
    assert f"({IntakeRules().look_seconds:.0f})" in text
    assert f"at least every {ASKING_SECONDS:.0f}" in text
    assert f"more than {LONGEST_READ:,} characters" in text
    assert OVERLAP.total_seconds() == 600, "it says ten minutes"
    assert CLOCK_SLACK.total_seconds() == 300, "it says five minutes, and so does docs/follow-up.md"
    assert f"asks of {MOST_HEADS} pull requests" in text
    assert f"more than {LARGEST_WEBHOOK >> 20} MiB" in text
    assert f"within {BODY_SECONDS:.0f} s" in text
    assert (BETWEEN_RINGS, LEASE_SECONDS) == (5.0, 120.0), "it says five seconds and two minutes"
    for forge in ("github", "gitlab", "gitea", "forgejo"):
        assert f"https://SERVER{WEBHOOK.url(forge=forge)}" in text


def test_its_commands_can_be_typed() -> None:
    assert [understood(line) for line in shown_commands(PAGE)] == ["repo add", "repo set", "repo set"]
