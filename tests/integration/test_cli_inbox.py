"""What people see of what workers ask, and how they answer: the list, one request in full, and as it happens."""

import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import JsonValue

from agentvine.domain.ids import new_id
from agentvine.domain.request import RequestKind, ToolUse
from agentvine.kit.process import spawn
from agentvine.testing.eventually import eventually as eventually_within
from agentvine.testing.proxy import Proxy
from agentvine.testing.receiver import receiver
from agentvine.wire import messages as m
from tests.integration.town import CLOCK, Town, running_town

SECRET = "whsec_" + "c2VjcmV0" * 6
OPTIONS = ("Half up", "Half even\u202e", "Down")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(tmp_path) as running:
        yield running


async def eventually(fact: Callable[[], bool]) -> None:
    """As in the test kit, with time for a new process on a busy machine."""
    await eventually_within(fact, within=240)


def asked(claimed: m.Claimed, message: str, call: ToolUse | None = None, **more: object) -> m.NewRequest:
    kind = RequestKind.APPROVAL if call else RequestKind.CLARIFICATION
    request = m.NewRequest(
        token=claimed.lease.token, id=new_id("req", CLOCK.now()), kind=kind, message=message, call=call
    )
    return request.model_copy(update=more)


def a_call(tool: str, **given: JsonValue) -> ToolUse:
    return ToolUse(tool=tool, input=given, rule="installs packages", digest="0" * 64)


async def parks(town: Town, message: str, call: ToolUse | None = None, **more: object) -> m.NewRequest:
    """The next bugfix asks, and waits without a slot."""
    claimed = await town.working()
    request = asked(claimed, message, call, **more)
    await town.plane.park(claimed.order.id, m.Parking(token=claimed.lease.token, request=request))
    return request


async def test_one_sees_who_waits_what_for_and_what_happens_else(town: Town) -> None:
    nothing = await town.cli("inbox")
    assert (nothing.exit_code, nothing.stdout) == (0, "") and "nobody asks anything" in nothing.stderr
    task = await town.submitted(title="Prices lose a cent")
    question = "Which rounding?\x1b[2J\u202e\n\nOne\nTwo\nThree\nFour"
    parked = await parks(town, question, context="See price.py", options=OPTIONS)
    await town.submitted("docs", title="Explain refunds")
    held = await town.working("docs")
    call = a_call("Bash", command="pip install \x1b[31mleftpad", description="Install")
    await town.plane.ask(held.lease.execution_id, asked(held, "May I?", call))

    done = await town.cli("inbox")
    first, second = done.stdout.index("Prices lose a cent"), done.stdout.index("Explain refunds")
    assert first < second, "who waits longest comes first"
    top, bottom = done.stdout[:second], done.stdout[second:]
    for words in ("Which rounding?", "1. Half up", "2. Half even", "bugfix in acme/shop", "no slot is held"):
        assert words in top
    assert "if nobody answers, Claude decides itself in 3 d" in top and "\u2026 2 more lines" in top
    assert "a worker holds its slot" in bottom and "Bash  pip install" in bottom
    assert f"agentvine answer {parked.id[-8:]} NUMBER|TEXT" in done.stderr
    for shown in (done.stdout, await town.ok("inbox", "show", parked.id), await town.ok("show", task)):
        assert "\x1b" not in shown and "\u202e" not in shown
    assert [row["message"] for row in json.loads(await town.ok("inbox", "--json"))] == [question, "May I?"]


async def test_one_request_is_shown_with_all_that_one_needs_to_answer(town: Town) -> None:
    asked_for = await town.submitted(title="Prices lose a cent")
    claimed = await town.working()
    execution, token = claimed.lease.execution_id, claimed.lease.token
    call = a_call(
        "Edit", file_path="price.py", old_string="a\nold = 1\n", new_string="a\nnew\x1b[2J = 2\n", replace_all=True
    )
    call = call.model_copy(update={"paths": ("src/price.py", "b\x1b[2J")})
    request = asked(claimed, "May I?", call, context="It is the\nonly way.", options=OPTIONS)
    await town.plane.ask(execution, request)
    shown = await town.ok("inbox", "show", asked_for[-8:])
    for words in (
        "Prices lose a cent",
        "May I?",
        "only way.",
        "3. Down",
        "installs packages",
        "-old = 1",
        '"replace_all"',
        "file  src/price.py",
    ):
        assert words in shown
    assert "+new" in shown and "\x1b" not in shown and "the changes so far" not in shown
    assert "no diff yet" in await town.refused("diff", asked_for)
    draft = "--- a/price.py\n+++ b/price.py\n" + "+x\x1b[2J\n" * 500
    await town.plane.store_artifact(execution, token, "draft.diff", draft.encode())
    shown = await town.ok("inbox", "show", request.id)
    assert "the changes so far" in shown and "+x" in shown and "\x1b" not in shown and "302 more lines" in shown
    document = json.loads(await town.ok("inbox", "show", request.id, "--json"))
    assert document["diff"] == draft and document["request"]["call"]["input"]["replace_all"] is True
    assert document["task"]["id"] == asked_for
    so_far = await town.cli("diff", asked_for)
    assert so_far.stdout == draft and "so far" in so_far.stderr
    await town.plane.store_artifact(execution, token, "draft.diff", b"")
    assert "nothing is changed so far" in await town.ok("inbox", "show", request.id)
    await town.ok("deny", asked_for, "--because", "No")
    assert "denied by key:" in await town.ok("inbox", "show", request.id)


async def test_an_edit_is_shown_as_it_is_even_where_one_sees_little_of_it(town: Town) -> None:
    await town.submitted(title="Prices lose a cent")
    edits: list[JsonValue] = [
        {"old_string": "a\nb\n", "new_string": "a\r\nb\n"},
        {"old_string": "x", "new_string": "y\u200b", "replace_all": True},
    ]
    call = a_call("MultiEdit", file_path="link.py", edits=edits)
    paths = tuple(f"src/{number}.py" for number in range(30))
    request = await parks(town, "May I?", call.model_copy(update={"paths": paths}))
    shown = await town.ok("inbox", "show", request.id)
    for words in (
        "+a\u240d",
        "only line ends change",
        "everywhere in the file",
        "+y\\u200b",
        "src/19.py",
        "10 more files",
    ):
        assert words in shown
    assert shown.index("everywhere") > shown.index("only line ends")
    assert "src/20.py" not in shown
    more = call.model_copy(update={"paths": paths, "paths_whole": False})
    assert "more files than are listed" in await town.ok("inbox", "show", (await another(town, more)).id)


async def another(town: Town, call: ToolUse) -> m.NewRequest:
    await town.submitted(title="Prices lose two")
    return await parks(town, "May I?", call)


async def test_an_option_is_chosen_by_its_number(town: Town) -> None:
    for typed, literal, message in (
        ("2", (), OPTIONS[1]),
        ("4", ("--text",), "4"),
        ("4 of them", (), "4 of them"),
        ("2", ("--text",), "2"),
        (" 1 ", (), OPTIONS[0]),
    ):
        task = await town.submitted()
        request = await parks(town, "Which?", options=OPTIONS)
        await town.ok("answer", task, typed, *literal)
        response = (await town.desk.request(request.id)).response
        assert response is not None and response.message == message, typed
        told = await town.refused("answer", request.id[-8:], "otherwise")
        assert "answered it first" in told and "there is no" not in told
        await town.desk.cancel(task)


async def test_what_cannot_be_meant_is_not_sent(town: Town) -> None:
    await town.submitted()
    request = await parks(town, "Which?", options=OPTIONS)
    assert f"numbered 1 to {len(OPTIONS)}" in await town.refused("answer", request.id, "7")
    assert "empty" in await town.refused("answer", request.id, "  ")
    assert (await town.desk.request(request.id)).response is None


async def test_a_question_is_in_view_wherever_its_task_is_looked_at(town: Town) -> None:
    task = await town.submitted()
    request = await parks(town, "Which rounding?", options=OPTIONS)
    how = f"agentvine answer {request.id[-8:]} NUMBER|TEXT"
    for arguments, code in ((("wait", task), 4), (("logs", task), 0), (("show", task), 0)):
        done = await town.cli(*arguments)
        said = (done.stdout + done.stderr).replace(task[-8:], request.id[-8:])
        assert done.exit_code == code and "Which rounding?" in said and "1. Half up" in said and how in said, arguments


async def test_a_long_list_shows_its_beginning_and_the_count(town: Town) -> None:
    for number in range(23):
        await town.submitted()
        await parks(town, f"Question {number}?")
    done = await town.cli("inbox")
    assert done.stdout.count("Question") == 20 and "Question 0?" in done.stdout
    assert "and 3 more; --all shows them" in done.stderr
    assert (await town.ok("inbox", "--all")).count("Question") == 23
    assert len(json.loads(await town.ok("inbox", "--json"))) == 23


async def test_one_watches_what_is_asked_and_what_becomes_of_it_across_a_server_that_is_away(tmp_path: Path) -> None:
    async with receiver() as hook, running_town(tmp_path, webhook_urls=(hook.url,), webhook_secret=(SECRET,)) as town:
        await town.submitted(title="First")
        first = await parks(town, "Before?")
        seen: list[str] = []
        heard: list[str] = []
        async with Proxy(urlsplit(town.url).port or 0) as proxy:
            around = town.environment | {"AGENTVINE_URL": proxy.url, "AGENTVINE_API_KEY": town.key}
            argv = [sys.executable, "-m", "agentvine", "inbox", "--watch"]
            async with (
                await spawn(argv, cwd=tmp_path, env=around, output=lambda _, line: seen.append(line)) as watching,
                await spawn(
                    [*argv, "--json"], cwd=tmp_path, env=around, output=lambda _, line: heard.append(line)
                ) as read,
            ):
                await eventually(lambda: "  Before?" in seen and any("Before?" in line for line in heard))
                await eventually(lambda: any("1 open; watching" in line for line in seen))
                second_task = await town.submitted(title="Second")
                second = await parks(town, "Now?")
                await eventually(lambda: "  Now?" in seen and any("Now?" in line for line in heard))
                await proxy.cut()
                await eventually(lambda: proxy.refused > 15)  # both have lost patience at least once
                await town.desk.respond(first.id, m.Reply(verdict="answer", message="Yes\x1b[2J"))
                await town.desk.cancel(second_task)
                await town.submitted(title="Third")
                third = await parks(town, "Meanwhile?")
                proxy.mend()
                await eventually(lambda: "  Meanwhile?" in seen and any("Meanwhile?" in line for line in heard))
                for process in (watching, read):
                    process.tell(signal.SIGINT)
                    assert await process.wait() == 0, (seen, heard)
        await eventually(lambda: len(hook.deliveries) == 3)  # the server's own wiring of notifications
    assert any(line.startswith(f"{first.id[-8:]}  answered by key:") and "Yes" in line for line in seen), seen
    assert any(line.startswith(f"{second.id[-8:]}  withdrawn") for line in seen), seen
    assert not any("\x1b" in line for line in seen)
    told = [json.loads(line) for line in heard]
    assert [(each["what"], each["request"]["id"]) for each in told] == [
        ("open", first.id),
        ("open", second.id),
        ("answered", first.id),
        ("withdrawn", second.id),
        ("open", third.id),
    ]
    assert told[0]["title"] == "First" and told[0]["parked"] is True


async def test_people_say_something_of_a_task_and_see_what_was_said(town: Town) -> None:
    task = await town.submitted()
    claimed = await town.working()
    assert "nobody has said anything" in (await town.cli("comment", task, "--list")).stderr
    assert f"{task} has comment 1" in await town.ok("comment", task[-8:], "Keep the \u202ealias")
    await town.ok("comment", task, "-", stdin=b"Two\nlines\x1b[2J")
    listed = await town.ok("comment", task, "--list")
    assert "1. key:" in listed and "   lines" in listed and "\x1b" not in listed and "\u202e" not in listed
    assert [each["text"] for each in json.loads(await town.ok("comment", task, "--list", "--json"))] == [
        "Keep the \u202ealias",
        "Two\nlines\x1b[2J",
    ]
    assert "says something" in await town.refused("comment", task, " ")
    assert (await town.cli("comment", task)).exit_code == 2
    assert (await town.cli("comment", task, "x", "--list")).exit_code == 2
    await town.fails(claimed)
    assert "retry" in await town.refused("comment", task, "Too late")
    assert f"{task} queued again" in await town.ok("retry", task, "--comment", "Try harder")
    assert "Try harder" in await town.ok("comment", task, "--list")
    again = await town.working()
    await town.result(again)
    await town.completes(again)
    assert "--comment" in await town.refused("retry", task)
    follows = (await town.ok("retry", task, "--comment", "Also for refunds")).split()
    assert follows[1:] == ["follows", task] and follows[0] != task
