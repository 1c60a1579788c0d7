"""The tool by which the agent asks the controller, and what has to be known of a turn to stop it there."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_agent_sdk import McpSdkServerConfig

SERVER = "agentvine"
ASK = "ask_controller"
ASK_TOOL = f"mcp__{SERVER}__{ASK}"
BUILT_IN = "AskUserQuestion"
"""Claude Code's own way to ask; it leads to the same place."""
_DESCRIPTION = (
    "Ask the controller of this fleet, a policy or a person, when you cannot decide something yourself and a wrong "
    "guess would cost more than waiting. The answer may take long; nothing is lost meanwhile. "
    "Call it alone in its turn."
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "description": "One question, complete in itself."},
        "context": {"type": "string", "description": "What one has to know in order to answer; what you would do."},
        "options": {"type": "array", "items": {"type": "string"}, "description": "The answers that you can think of."},
    },
    "required": ["question"],
}
_NOT_ASKED = "The controller was not asked. Decide yourself, and say in your last message what you assumed."
_TURN_SECONDS = 10.0


class Answers:
    """What was answered and not yet handed to the agent, by the call's input: the tool is not told its call's id."""

    def __init__(self) -> None:
        self._answers: dict[str, str] = {}

    def put(self, given: Mapping[str, object], answer: str) -> None:
        self._answers[_key(given)] = answer

    def take(self, given: Mapping[str, object]) -> str:
        return self._answers.pop(_key(given), _NOT_ASKED)

    def server(self) -> "McpSdkServerConfig":
        """The tool, served from this process."""
        from claude_agent_sdk import create_sdk_mcp_server, tool  # not before a conversation begins: it takes seconds

        @tool(ASK, _DESCRIPTION, _SCHEMA)
        async def ask(given: dict[str, Any]) -> dict[str, Any]:
            return {"content": [{"type": "text", "text": self.take(given)}]}

        return create_sdk_mcp_server(SERVER, tools=[ask])


def _key(given: Mapping[str, object]) -> str:
    return json.dumps(given, sort_keys=True)


def answered_input(given: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """The input of `BUILT_IN` with its answers, which is how Claude Code takes them."""
    questions = given.get("questions")
    names = [str(one.get("question")) for one in questions if isinstance(one, dict)] if questions else []
    return {**given, "answers": dict.fromkeys(names, answer)}


class TurnCalls:
    """Which calls the main conversation's present answer makes, read from its stream."""

    def __init__(self) -> None:
        self._calls: list[str] = []
        self._complete = asyncio.Event()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take an event of the stream."""
        match event.get("type"):
            case "message_start":
                self._calls = []
                self._complete.clear()
            case "content_block_start" if event.get("content_block", {}).get("type") == "tool_use":
                self._calls.append(str(event["content_block"].get("id")))
            case "message_stop":
                self._complete.set()

    async def alone(self, tool_use_id: str) -> bool:
        """Whether this is the only call, once the answer is complete. A call that comes back on resumption is alone."""
        if not self._calls:
            return True
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._complete.wait()
        except TimeoutError:
            return False
        return self._calls == [tool_use_id]
