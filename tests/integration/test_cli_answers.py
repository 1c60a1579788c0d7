"""The command line of answers: remembered, too late, and with another input."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentvine.domain.ids import new_id
from agentvine.domain.request import RequestKind, RequestStatus, ToolUse, WorkerRequest
from agentvine.testing.eventually import eventually
from agentvine.wire import messages as m
from tests.integration.town import CLOCK, Town, running_town

CALL = ToolUse(tool="Bash", input={"command": "npm install left-pad"}, rule="adds a dependency", digest="d" * 64)
EDITOR = "#!/bin/sh\nsed -i 's/left-pad/&@1.0.0/' \"$1\"\n"


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(tmp_path) as town:
        yield town


async def asks(town: Town, claimed: m.Claimed, message: str = "EUR or USD?", **more: Any) -> WorkerRequest:
    request = m.NewRequest.model_validate(
        {
            "token": claimed.lease.token,
            "id": new_id("req", CLOCK.now()),
            "kind": RequestKind.CLARIFICATION,
            "message": message,
            **more,
        }
    )
    return await town.plane.ask(claimed.lease.execution_id, request)


async def test_an_answer_is_remembered_listed_and_forgotten(town: Town) -> None:
    await town.submitted()
    await town.worker()
    claimed = await town.working()
    first = await asks(town, claimed)
    await town.ok("answer", first.id, "always EUR", "--remember", "--any-type", "--for", "90d")
    (kept,) = (await town.desk.precedents()).items
    assert kept.type is None and kept.repository is not None and kept.expires_at is not None
    assert round((kept.expires_at - kept.created_at).total_seconds()) == 90 * 86_400
    settled = await asks(town, claimed)
    assert settled.response is not None and settled.response.made_by == f"precedent:{kept.id}"
    listed = await town.ok("precedents", "list")
    assert "EUR or USD?" in listed and "answer: always EUR" in listed
    shown = await town.ok("precedents", "show", kept.id[-8:])
    assert "any type in " in shown and kept.created_by in shown
    assert "settles nothing any more" in await town.ok("precedents", "forget", kept.id)
    whole = await town.json("precedents", "list", "--all")
    assert isinstance(whole, list) and len(whole) == 1
    assert "there is no precedent 'zzzz'" in await town.refused("precedents", "forget", "zzzz")


async def test_an_approval_with_another_input(town: Town) -> None:
    await town.submitted()
    await town.worker()
    claimed = await town.working()
    editor = town.where / "editor"
    editor.write_text(EDITOR)
    editor.chmod(0o700)
    about: dict[str, Any] = {"kind": RequestKind.APPROVAL, "call": CALL.model_dump(), "message": "May I?"}
    edited, given, refused = [await asks(town, claimed, **about) for _ in range(3)]

    async def changed(request: WorkerRequest) -> object:
        response = (await town.desk.request(request.id)).response
        return response.changed_input if response else None

    done = await town.cli("approve", edited.id, "--edit", EDITOR=str(editor))
    assert done.exit_code == 0, done.stderr
    assert await changed(edited) == {"command": "npm install left-pad@1.0.0"}
    await town.cli("approve", given.id, "--input", "-", stdin=json.dumps({"command": "true"}).encode())
    assert await changed(given) == {"command": "true"}
    told = await town.refused("approve", refused.id, "--edit", EDITOR="true")
    assert "the input is unchanged, so nothing was sent" in told
    assert "set EDITOR" in await town.refused("approve", refused.id, "--edit", EDITOR="/none")
    assert "is no JSON" in (await town.cli("approve", refused.id, "--input", "-", stdin=b"{")).stderr
    assert (await town.desk.request(refused.id)).status is RequestStatus.OPEN


async def test_an_answer_that_comes_too_late_says_so_and_what_had_happened(town: Town) -> None:
    task = await town.submitted()
    await town.worker()
    claimed = await town.working()
    asked = await asks(town, claimed, expires_in_seconds=0.1)

    async def expired() -> bool:
        return (await town.desk.request(asked.id)).status is RequestStatus.EXPIRED

    await eventually(expired)
    told = await town.cli("answer", task, "EUR")
    assert told.exit_code == 0, told.stderr
    assert "this came too late" in told.stdout and "Claude was told to decide itself" in told.stdout
    assert "It is kept" in told.stderr
    assert "answered it first" in await town.refused("answer", asked.id, "USD")
