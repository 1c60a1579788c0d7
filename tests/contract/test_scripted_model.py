"""The scripted model speaks the Messages API and plays its script by what each request says, and by nothing else."""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentvine.demo.messages_api import CUT_OFF, FILLER
from agentvine.demo.script import ErrorReply, Scenario, Script, ToolCall, Turn, Usage
from agentvine.demo.scripted_model import REQUESTS_KEPT, SIDE_TEXT, ScriptedModel, serve
from agentvine.kit.doorbell import Doorbell, pause
from agentvine.kit.process import spawn
from tests.contract.model_client import (
    BASH,
    LONG,
    WRITE,
    JsonObject,
    assistant,
    one,
    playing,
    request,
    result,
    texts,
    user,
)


async def test_a_streamed_answer_comes_in_the_order_of_the_api() -> None:
    async with playing(one(Turn(text=LONG, tool_calls=(WRITE, BASH)))) as client:
        events = await client.events(request(user("Begin")))
    names = [event["type"] for event in events]
    assert names[:2] == ["message_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]
    blocks: dict[int, JsonObject] = {}
    joined: dict[int, str] = {}
    stopped: set[int] = set()
    for event in events:
        match event:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert stopped == set(range(index))
                blocks[index] = block
                joined[index] = ""
            case {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": piece}}:
                joined[index] += piece
            case {"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta"} as delta}:
                joined[index] += delta["partial_json"]
            case {"type": "content_block_stop", "index": index}:
                stopped.add(index)
    assert stopped == {0, 1, 2}
    assert joined[0] == LONG
    assert names.count("content_block_delta") > 5, "long blocks come in pieces"
    assert [blocks[1]["name"], blocks[2]["name"]] == ["Write", "Bash"]
    assert blocks[1]["input"] == {}
    assert json.loads(joined[2]) == BASH.input
    assert blocks[1]["id"].startswith("toolu_")
    assert blocks[1]["id"] != blocks[2]["id"]
    start = events[0]["message"]
    assert (start["role"], start["model"], start["content"]) == ("assistant", "claude-test", [])
    end = events[-2]
    assert end["delta"]["stop_reason"] == "tool_use"
    assert end["usage"]["output_tokens"] > start["usage"]["output_tokens"] > 0


async def test_a_whole_answer_says_the_same() -> None:
    async with playing(one(Turn(text="Here.", tool_calls=(BASH,)), Turn(text="All done."))) as client:
        first = (await client.post(request(user("Begin")))).json()
        last = (await client.post(request(user("Begin"), assistant(), result("ok")))).json()
    assert [block["type"] for block in first["content"]] == ["text", "tool_use"]
    assert first["content"][1]["input"] == BASH.input
    assert (first["stop_reason"], last["stop_reason"]) == ("tool_use", "end_turn")
    assert first["id"] != last["id"]


async def test_the_small_endpoints() -> None:
    async with playing(texts("Hello")) as client:
        assert (await client.http.head("/")).status_code == 200
        assert (await client.http.get("/")).status_code == 200
        counted = await client.http.post("/v1/messages/count_tokens", json=request(user("x" * 4000)))
        assert counted.json()["input_tokens"] > 1000
        unknown = await client.http.get("/v1/nothing")
        assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
        for bad in (b"{", b"[]", b'{"model": "m", "messages": []}', b'{"messages": [{"role": "user", "content": 1}]}'):
            answer = await client.http.post("/v1/messages", content=bad)
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        assert client.model.requests[-1].body == {"messages": [{"role": "user", "content": 1}]}
        assert not client.model.failures


async def test_a_request_without_tools_gets_a_short_text_and_moves_no_script() -> None:
    async with playing(texts("First")) as client:
        assert await client.say(user("Give this conversation a title"), tools=[]) == SIDE_TEXT
        assert client.model.requests[-1].scenario is None
        assert await client.say(user("Begin")) == "First"


async def test_a_scenario_is_chosen_by_system_prompt_and_first_message() -> None:
    script = Script(
        scenarios=(
            Scenario(name="both", match=("bugfix", "re:^Split .* evenly$"), turns=(Turn(text="both"),)),
            Scenario(name="prompt", match=("bugfix",), turns=(Turn(text="prompt"),)),
            Scenario(name="system", match=("You are a reviewer",), turns=(Turn(text="system"),)),
        )
    )
    async with playing(script) as client:
        assert await client.say(user("A bugfix:\nSplit the bill evenly\nThanks")) == "both"
        assert await client.say(user("A bugfix: Split the bill evenly")) == "prompt"
        system = [{"type": "text", "text": "Hello."}, {"type": "text", "text": "You are a reviewer."}]
        assert await client.say(user("Look"), system=system) == "system"
        assert await client.say(user("Look"), system="You are a reviewer.") == "system"
        assert await client.say(user("Look"), assistant(), user("a bugfix")) != "prompt", "only the first one counts"


async def test_an_unforeseen_conversation_is_told_so_and_recorded() -> None:
    async with playing(one(Turn(text="x"), match=("nothing says this",))) as client:
        said = await client.say(user("Paint the shed"))
        assert "No scenario" in said
        assert "Paint the shed" in said
        assert client.model.failures == [said]


async def test_the_history_says_which_turn_comes_next_even_for_another_server() -> None:
    script = texts("one", "two", "three")
    async with playing(script) as client:
        assert await client.say(user("Begin")) == "one"
        assert await client.say(user("Begin")) == "one", "asking twice changes nothing"
    async with playing(script) as elsewhere:
        assert await elsewhere.say(user("Begin"), assistant("one"), result("ok")) == "two"
        history = (user("Begin"), assistant("one"), result("ok"), assistant("two"), user("More"))
        assert await elsewhere.say(*history) == "three"
        assert await elsewhere.say(*history, assistant("three"), user("More")) == "Done."
        assert [one.turn for one in elsewhere.model.requests] == [1, 2, None]


async def test_what_is_no_answer_of_the_model_counts_for_none() -> None:
    """Claude Code may send one answer as several messages, tells its environment in between, and fills in an answer."""
    async with playing(texts("one", "two", "three")) as client:
        split = (assistant("on"), {"role": "system", "content": "By the way."}, assistant("e"))
        assert await client.say(user("Begin"), *split, result("ok")) == "two"
        resumed = (assistant("one"), result("interrupted"), assistant(FILLER), user("Go on"))
        assert await client.say(user("Begin"), *resumed) == "two"
        broken = (assistant("o"), user(f"{CUT_OFF} Resume directly."))
        assert await client.say(user("Begin"), *broken) == "one"
        assert await client.say(user("Begin"), *broken, assistant("one"), result("ok")) == "two"


async def test_a_turn_with_when_is_passed_over_until_it_is_called_for() -> None:
    script = one(
        Turn(text="written"),
        Turn(text="finished"),
        Turn(text="repaired", when="re:tests? failed"),
        Turn(text="repaired and finished", when="re:tests? failed|ok"),
        Turn(text="thanks"),
    )
    begun = (user("Begin"), assistant("written"), result("ok"), assistant("finished"))
    async with playing(script) as client:
        assert await client.say(*begun, user("1 test failed")) == "repaired"
        repaired = (*begun, user("1 test failed"), assistant("repaired"), result("ok"))
        assert await client.say(*repaired) == "repaired and finished"
        assert await client.say(*begun, user("Lovely")) == "thanks"
        assert await client.say(*begun, user("Lovely"), assistant("thanks"), user("1 test failed")) == "Done."


async def test_the_last_turn_may_repeat() -> None:
    async with playing(one(Turn(text="one"), Turn(text="again"), repeat_last=True)) as client:
        history = [user("Begin"), assistant("one")]
        for _ in range(4):
            history += [result("ok")]
            assert await client.say(*history) == "again"
            history += [assistant("again")]


async def test_what_was_expected_and_did_not_come_is_a_400_and_a_failure() -> None:
    async with playing(one(Turn(text="one"), Turn(text="two", expect=("passed", "re:^3 ")))) as client:
        good = await client.post(request(user("Begin"), assistant(), result("3 tests passed")))
        assert good.status_code == 200
        bad = await client.post(request(user("Begin"), assistant(), result("2 tests passed")))
        assert (bad.status_code, bad.json()["error"]["type"]) == (400, "invalid_request_error")
        (failure,) = client.model.failures
        assert "one, turn 2" in failure
        assert "2 tests passed" in failure


async def test_an_error_comes_so_often_in_each_conversation_and_then_the_turn() -> None:
    error = ErrorReply(status=429, retry_after=7, times=2, headers={"x-limit": "all"})
    async with playing(one(Turn(text="one", error=error))) as client:
        for opening in ("Begin", "Another"):
            for _ in range(2):
                answer = await client.post(request(user(opening)))
                assert (answer.status_code, answer.json()["type"]) == (429, "error")
                assert answer.json()["error"]["type"] == "rate_limit_error"
                assert (answer.headers["retry-after"], answer.headers["x-limit"]) == ("7", "all")
            assert await client.say(user(opening)) == "one"


@pytest.mark.parametrize(
    ("status", "kind"), [(529, "overloaded_error"), (500, "api_error"), (401, "authentication_error")]
)
async def test_errors_have_the_names_of_the_api(status: Any, kind: str) -> None:
    async with playing(one(Turn(error=ErrorReply(status=status)))) as client:
        answer = await client.post(request(user("Begin")))
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
        assert await client.say(user("Begin")) == "Done.", "an error alone is a turn"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("events", [0, 3])
async def test_a_cut_stream_breaks_off_after_so_many_events_once(events: int, stream: bool) -> None:
    async with playing(one(Turn(text=LONG, cut_after_events=events))) as client:
        got = b""
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.http.stream("POST", "/v1/messages", json=request(user("Begin"), stream=stream)) as answer:
                assert answer.status_code == 200
                async for chunk in answer.aiter_bytes():
                    got += chunk
        if stream:
            assert got.count(b"\n\n") == events
        assert await client.say(user("Begin")) == LONG


async def test_a_hanging_turn_says_nothing_and_the_next_time_plays() -> None:
    async with playing(one(Turn(text="one", hang_seconds=60))) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.http.post("/v1/messages", json=request(user("Begin")), timeout=httpx.Timeout(60, read=1))
        assert await client.say(user("Begin")) == "one"


async def test_a_stream_may_fall_silent_in_the_middle_and_go_on() -> None:
    turn = Turn(text=LONG, hang_seconds=0.3, hang_after_events=4, delay_ms=100, fault_times=9)
    async with playing(one(turn)) as client:
        started = time.monotonic()
        assert (await client.events(request(user("Begin"))))[-1]["type"] == "message_stop"
        assert time.monotonic() - started >= 0.4


async def test_closing_ends_every_silence() -> None:
    async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False, timeout=None) as http:
        async with serve(one(Turn(text="one", hang_seconds=600))) as running:
            asked = asyncio.create_task(http.post(f"{running.url}/v1/messages", json=request(user("Begin"))))
            while not running.model.requests:
                await pause(0.01)
        with pytest.raises(httpx.RemoteProtocolError):
            await asked


async def test_the_workspace_is_where_the_agent_was_last_told_it_works() -> None:
    call = ToolCall(name="Edit", input={"edits": [{"path": "{workspace}/a", "n": 1}], "all": True})
    told = {"role": "system", "content": "# Environment\n - Primary working directory: /work/space \n - Shell: bash"}
    moved = {"role": "system", "content": [{"type": "text", "text": "Working directory: /elsewhere"}]}
    async with playing(one(Turn(text="In {workspace}", tool_calls=(call,)), repeat_last=True)) as client:
        first = (await client.post(request(user("Begin"), told))).json()["content"]
        assert first[0]["text"] == "In /work/space"
        assert first[1]["input"] == {"edits": [{"path": "/work/space/a", "n": 1}], "all": True}
        assert await client.say(user("Begin"), told, assistant(), user("x"), moved) == "In /elsewhere"
        assert await client.say(user("Begin"), system="Working directory: /older") == "In /older"
        assert (
            await client.say(user("Begin"), told, assistant(), result("Working directory: /evil")) == "In /work/space"
        )
        assert await client.say(user("Begin")) == "In ."


async def test_usage_is_plausible_or_as_the_script_says() -> None:
    async with playing(one(Turn(text="one"), Turn(text="two", usage=Usage(input_tokens=5, output_tokens=7)))) as client:
        first = (await client.post(request(user("Begin"), system="s" * 40_000))).json()["usage"]
        assert 9_000 < first["cache_creation_input_tokens"] < 11_000
        assert (first["cache_read_input_tokens"], first["input_tokens"]) == (0, 2)
        again = request(user("Begin"), assistant(), result("x" * 4_000), system="s" * 40_000)
        second = (await client.post(again)).json()["usage"]
        assert 9_000 < second["cache_read_input_tokens"] < 11_000
        assert (second["input_tokens"], second["output_tokens"], second["cache_creation_input_tokens"]) == (5, 7, 0)


async def test_many_conversations_share_one_model() -> None:
    kinds = [f"kind-{number}" for number in range(6)]
    scenarios = tuple(
        Scenario(name=kind, match=(kind,), turns=tuple(Turn(text=f"{kind}/{turn}", delay_ms=5) for turn in range(5)))
        for kind in kinds
    )
    async with playing(Script(scenarios=scenarios)) as client:

        async def converse(kind: str) -> None:
            history = [user(f"Please do {kind}")]
            for turn in range(5):
                assert await client.say(*history) == f"{kind}/{turn}"
                history += [assistant(), result("ok")]

        async with asyncio.TaskGroup() as tasks:
            for kind in kinds:
                tasks.create_task(converse(kind))
        assert not client.model.failures


async def test_requests_are_recorded_as_they_came_and_not_without_end() -> None:
    async with playing(texts("one")) as client:
        await client.http.post("/v1/messages", json=request(user("Begin")), headers={"x-api-key": "dummy"})
        seen = client.model.requests[0]
        assert (seen.method, seen.path, seen.scenario, seen.turn) == ("POST", "/v1/messages", "one", 0)
        assert seen.headers["x-api-key"] == "dummy"
        assert seen.body == request(user("Begin"))
        assert client.model.requests.maxlen == REQUESTS_KEPT


async def test_the_log_gets_a_line_an_answer() -> None:
    lines: list[str] = []
    async with (
        serve(one(Turn(tool_calls=(WRITE, BASH)), match=("Begin",)), log=lines.append) as running,
        httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=60) as http,
    ):
        await http.post("/v1/messages", json=request(user("Begin")))
        await http.post("/v1/messages", json=request(user("Begin"), assistant(), result("ok")))
    assert lines == ["one, turn 1: Write, Bash", "one: played out"]
    assert isinstance(running.model, ScriptedModel)


async def test_it_runs_on_its_own_until_it_is_told_to_end(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(texts("one").model_dump_json())
    code = (
        "import asyncio, pathlib, sys; from agentvine.demo.scripted_model import run;"
        "asyncio.run(run(pathlib.Path(sys.argv[1]), 0))"
    )
    lines: list[str] = []
    bell = Doorbell()

    def heard(_: str, line: str) -> None:
        lines.append(line)
        bell.ring()

    argv = [sys.executable, "-c", code, str(path)]
    async with await spawn(argv, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"}, output=heard) as running:
        assert await bell.wait(20), "it told no address"
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", lines[0])
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            answer = await http.post("/v1/messages", json=request(user("Begin")))
            assert answer.json()["content"][0]["text"] == "one"
        assert await running.terminate(grace=5) == 0, lines


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(texts("one").model_dump_json())
    async with serve(texts("one")) as running:
        port = int(running.url.rpartition(":")[2])
        code = (
            "import asyncio, pathlib, sys; from agentvine.demo.scripted_model import run\n"
            "from agentvine.domain.errors import InvalidInput\n"
            "try: asyncio.run(run(pathlib.Path(sys.argv[1]), int(sys.argv[2])))\n"
            "except InvalidInput as error: sys.exit(error.message)"
        )
        said: list[str] = []
        argv = [sys.executable, "-c", code, str(path), str(port)]
        async with await spawn(
            argv, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"}, output=lambda _, line: said.append(line)
        ) as second:
            async with asyncio.timeout(60):
                assert await second.wait() == 1
        assert said == [f"Cannot listen at 127.0.0.1:{port} (Address already in use); name another port, or 0 for any."]
