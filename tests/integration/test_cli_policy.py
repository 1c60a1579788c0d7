"""The commands on the policy: a file checked without a server, and tried on what workers have asked."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from agentvine.domain.request import RequestKind
from agentvine.wire import messages as m
from tests.integration.town import Town, running_town

NOWHERE = "/nonexistent"
RULES = """
[[rule]]
name = "rounding"
reason = "docs/money.md"
decide = "answer"
text = "half to even"
match = { words = ["round"] }

[[rule]]
name = "no-deliveries"
reason = "it is December"
decide = "deny"
match = { types = ["bugfix"] }

[[rule]]
name = "databases"
reason = "they are for people"
decide = "ask"
match = { words = ["database"] }
"""


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(tmp_path) as running:
        (tmp_path / "policy.toml").write_text(RULES)
        (tmp_path / "bad.toml").write_text('[[rule]]\nname = "A"\ndecide = "perhaps"\n')
        yield running


async def asked(town: Town, kind: RequestKind, message: str) -> str:
    await town.submitted()
    return await town.parks(await town.working(), kind, message)


def by_message(document: JsonValue) -> dict[str, tuple[JsonValue, ...]]:
    assert isinstance(document, list)
    return {
        str(row["message"]): (row["verdict"], row["decision"], row["rule"], row["answer"])
        for row in document
        if isinstance(row, dict)
    }


async def test_a_file_is_checked_without_a_server(town: Town) -> None:
    done = await town.cli("policy", "check", "policy.toml", AGENTVINE_CONTEXT=NOWHERE)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "rounding, no-deliveries, databases" in done.stdout
    told = (await town.refused("policy", "check", "bad.toml", AGENTVINE_CONTEXT=NOWHERE)).splitlines()
    assert len(told) == 3
    assert all(line.startswith("bad.toml: line 1, rule 'A', ") for line in told)
    assert "cannot be read" in await town.refused("policy", "check", "nowhere.toml", AGENTVINE_CONTEXT=NOWHERE)
    done = await town.cli("policy", "check", "bad.toml", "--json", AGENTVINE_CONTEXT=NOWHERE)
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["mistakes"]) == 3
    assert json.loads((await town.cli("policy", "check", "policy.toml", "--json")).stdout)["mistakes"] == []


async def test_rules_are_tried_on_what_was_asked(town: Town) -> None:
    question = await asked(town, RequestKind.CLARIFICATION, "Shall I round?")
    await town.desk.respond(question, m.Reply(verdict="answer", message="never"))
    delivery = await asked(town, RequestKind.APPROVAL, "May it leave?")
    await town.desk.respond(delivery, m.Reply(verdict="approved"))
    await asked(town, RequestKind.CLARIFICATION, "How to round?")
    await asked(town, RequestKind.CLARIFICATION, "Which database?")
    await asked(town, RequestKind.CLARIFICATION, "Which colour?")
    command = ("policy", "test", "policy.toml", "--against-history")

    everything = await town.json(*command)
    assert by_message(everything) == {
        "Shall I round?": ("answer", "answer", "rounding", "half to even"),
        "May it leave?": ("approved", "deny", "no-deliveries", "it is December"),
        "How to round?": (None, "answer", "rounding", "half to even"),
        "Which database?": (None, "ask", "databases", ""),
        "Which colour?": (None, "ask", None, ""),
    }
    assert list(by_message(await town.json(*command, "--limit", "2"))) == ["Which database?", "Which colour?"]

    done = await town.cli(*command, COLUMNS="200")
    who = f"key:{(await town.desk.who_am_i()).key.id}"
    lines = {words: line for line in done.stdout.splitlines() for words in by_message(everything) if words in line}
    assert f"answer by {who}" in lines["Shall I round?"] and "answer by rounding" in lines["Shall I round?"]
    assert "denied by no-deliveries, differently" in lines["May it leave?"]
    assert "open" in lines["How to round?"] and lines["How to round?"].endswith("answer by rounding")
    assert "open" in lines["Which database?"] and "a person, by databases" in lines["Which database?"]
    assert "a person: no rule fits" in lines["Which colour?"]
    assert "rules settle 3 of 5 requests, 1 of them differently" in done.stderr
    assert len((await town.desk.requests()).items) == 3, "nothing was changed"


async def test_a_trial_that_cannot_be_made_says_why(town: Town) -> None:
    assert "line 1, rule 'A', decide" in await town.refused("policy", "test", "bad.toml", "--against-history")
    assert "--against-history" in await town.refused("policy", "test", "policy.toml", code=2)
    assert "no worker has asked" in (await town.cli("policy", "test", "policy.toml", "--against-history")).stderr
