"""As much of Anthropic's Messages API as Claude Code uses: reading a request, writing an answer.

The shapes are those of the public API reference (`POST /v1/messages`, its streaming events and its errors); what Claude
Code puts into a request was found out by recording it and is held by `tests/contract`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from pydantic import Field, JsonValue

from agentvine.demo.script import CLOSING_TEXT, WORKSPACE_PLACEHOLDER, ErrorReply, Turn
from agentvine.domain.base import Model

TYPE_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_WORKING_DIRECTORY = re.compile(r"working directory: *(\S.*?) *$", re.IGNORECASE | re.MULTILINE)
FILLER = "No response requested."
"""What Claude Code puts into the history as an answer when it resumes a session that ended without one."""

CUT_OFF = "Your response above was cut off mid-stream."
"""How Claude Code asks on when a stream broke after it had read a whole block; if not, it repeats its request."""

_BYTES_PER_TOKEN = 4
_PIECE = 60
"""Characters in one delta of a stream."""

JsonObject = dict[str, JsonValue]


class Block(Model):
    """A content block, of which only the text matters here; a tool result nests blocks."""

    type: str = "text"
    text: str | None = None
    content: "str | list[Block] | None" = None

    def words(self) -> str:
        return self.text if self.text is not None else _words(self.content)


class Message(Model):
    """One entry of the history. Claude Code tells its environment in messages of the role `system`."""

    role: str
    content: str | list[Block]


class Tool(Model):
    name: str


class MessagesRequest(Model):
    """The body of `POST /v1/messages`."""

    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1)
    system: str | list[Block] | None = None
    tools: tuple[Tool, ...] = ()
    stream: bool = False

    def first_message(self) -> str:
        """The text of the first message of the user."""
        return next((_words(one.content) for one in self.messages if one.role == "user"), "")

    def opening(self) -> str:
        """What a scenario is chosen by: the system prompt and the first message."""
        return f"{_words(self.system)}\n{self.first_message()}"

    def heard(self) -> list[str]:
        """What the user's side sent before each answer in the history, and at last what is to be answered now."""
        texts: list[str] = []
        sent: list[str] = []
        answered = False
        for message in self.messages:
            words = _words(message.content)
            if message.role == "assistant" and words != FILLER:
                if not answered:
                    texts.append("\n".join(sent))
                    sent = []
                answered = True
            elif message.role == "user":
                if answered and CUT_OFF in words:
                    sent = [texts.pop()]  # what came before was no answer
                else:
                    sent.append(words)
                answered = False
        return [*texts, "\n".join(sent)]

    def workspace(self) -> str | None:
        """The agent's working directory as Claude Code tells it; the latest word counts, for a session may move."""
        told = [_words(self.system), self.first_message()]
        told += [_words(one.content) for one in self.messages if one.role == "system"]
        found = _WORKING_DIRECTORY.findall("\n".join(told))
        return found[-1] if found else None


def _words(content: str | list[Block] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(words for block in content if (words := block.words()))


@dataclass(frozen=True, slots=True)
class Answer:
    """One assistant message, ready to be sent whole or as events."""

    model: str
    content: list[JsonObject]
    usage: dict[str, int]
    id: str

    @property
    def stop_reason(self) -> str:
        return "tool_use" if any(block["type"] == "tool_use" for block in self.content) else "end_turn"

    def whole(self) -> JsonObject:
        """The body of a reply that is not streamed."""
        return {**self._head(), "content": list(self.content), "stop_reason": self.stop_reason, "usage": {**self.usage}}

    def events(self) -> list[JsonObject]:
        """The stream: each object is the data of one server-sent event whose name is its `type`."""
        start: JsonObject = {**self._head(), "usage": {**self.usage, "output_tokens": 1}}
        events: list[JsonObject] = [{"type": "message_start", "message": start}, {"type": "ping"}]
        for index, block in enumerate(self.content):
            events += _block_events(index, block)
        delta: JsonObject = {"stop_reason": self.stop_reason, "stop_sequence": None}
        return [*events, {"type": "message_delta", "delta": delta, "usage": {**self.usage}}, {"type": "message_stop"}]

    def _head(self) -> JsonObject:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }


def _block_events(index: int, block: JsonObject) -> Iterator[JsonObject]:
    if block["type"] == "tool_use":
        yield {"type": "content_block_start", "index": index, "content_block": {**block, "input": {}}}
        for piece in _pieces(json.dumps(block["input"])):
            delta: JsonObject = {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
    else:
        yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
        for piece in _pieces(str(block["text"])):
            yield {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": index}


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def answer_of(turn: Turn, request: MessagesRequest, size: int) -> Answer:
    """The message that plays `turn` in answer to `request`, whose body has `size` bytes."""
    workspace = request.workspace() or "."
    content: list[JsonObject] = []
    if turn.text or not turn.tool_calls:
        content.append({"type": "text", "text": _filled(turn.text or CLOSING_TEXT, workspace)})
    for call in turn.tool_calls:
        filled = _filled(call.input, workspace)
        content.append({"type": "tool_use", "id": _new_id("toolu"), "name": call.name, "input": filled})
    told = turn.usage.model_dump(exclude_none=True)
    return Answer(request.model, content, {**_estimate(request, size, content), **told}, _new_id("msg"))


def plain_answer(text: str, request: MessagesRequest, size: int) -> Answer:
    """An answer of plain text that no script foresees."""
    return answer_of(Turn(text=text), request, size)


def problem(error: ErrorReply) -> JsonObject:
    """The body of an error reply."""
    kind = error.type or TYPE_OF_STATUS[error.status]
    return {"type": "error", "error": {"type": kind, "message": error.message or kind.replace("_", " ").capitalize()}}


def _filled(value: JsonValue, workspace: str) -> JsonValue:
    if isinstance(value, str):
        return value.replace(WORKSPACE_PLACEHOLDER, workspace)
    if isinstance(value, list):
        return [_filled(one, workspace) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, workspace) for key, one in value.items()}
    return value


def _estimate(request: MessagesRequest, size: int, content: list[JsonObject]) -> dict[str, int]:
    """Tokens as a prompt cache would count them: what is new is input, the rest was written first and is read later."""
    heard = request.heard()
    new = len(heard[-1]) // _BYTES_PER_TOKEN + 1
    known = max(size // _BYTES_PER_TOKEN - new, 0)
    resumed = len(heard) > 1
    return {
        "input_tokens": new,
        "output_tokens": len(json.dumps(content)) // _BYTES_PER_TOKEN + 1,
        "cache_read_input_tokens": known if resumed else 0,
        "cache_creation_input_tokens": 0 if resumed else known,
    }


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex[:24]}"
