"""Who speaks to the scripted model in tests, in the words of the Messages API."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from agentvine.demo.script import Scenario, Script, ToolCall, Turn
from agentvine.demo.scripted_model import RunningModel, serve

JsonObject = dict[str, Any]
LONG = "A sentence that is far longer than one piece of a stream. " * 5
WRITE = ToolCall(name="Write", input={"file_path": "{workspace}/src/a.py", "content": "x = 1\n"})
BASH = ToolCall(name="Bash", input={"command": "make test", "description": "Run the tests"})
TOOLS = [{"name": "Write", "input_schema": {}}]


def one(*turns: Turn, repeat_last: bool = False, match: tuple[str, ...] = ()) -> Script:
    return Script(scenarios=(Scenario(name="one", match=match, turns=turns, repeat_last=repeat_last),))


def texts(*said: str) -> Script:
    return one(*(Turn(text=text) for text in said))


def user(text: str) -> JsonObject:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def result(text: str) -> JsonObject:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": text}]}


def assistant(text: str = "So be it.") -> JsonObject:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def request(*messages: JsonObject, **more: Any) -> JsonObject:
    body = {"model": "claude-test", "max_tokens": 1000, "messages": list(messages), "tools": TOOLS, "stream": False}
    return {**body, **more}


class Client:
    """A caller of one running model."""

    def __init__(self, running: RunningModel, http: httpx.AsyncClient) -> None:
        self.model = running.model
        self.url = running.url
        self.http = http

    async def post(self, body: JsonObject) -> httpx.Response:
        return await self.http.post("/v1/messages?beta=true", json=body)

    async def say(self, *messages: JsonObject, **more: Any) -> str:
        """The text of the answer."""
        answer = (await self.post(request(*messages, **more))).json()
        return "".join(block.get("text", "") for block in answer["content"])

    async def events(self, body: JsonObject) -> list[JsonObject]:
        """The events of a streamed answer; each event's name is its data's type."""
        found = []
        async with self.http.stream("POST", "/v1/messages", json={**body, "stream": True}) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            text = b"".join([chunk async for chunk in response.aiter_bytes()]).decode()
        for frame in text.split("\n\n")[:-1]:
            name, data = frame.split("\n")
            found.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {found[-1]['type']}"
        return found


@asynccontextmanager
async def playing(script: Script) -> AsyncIterator[Client]:
    async with (
        serve(script) as running,
        httpx.AsyncClient(base_url=running.url, trust_env=False, timeout=60) as http,
    ):
        yield Client(running, http)
