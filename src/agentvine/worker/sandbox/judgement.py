"""What a request to the model asks for, and whether it may: read at a bounded cost, whatever the box has sent.

The bulk of a real request is in its strings: text, and images in base64. A body with more values, or with more outside
of its strings, than any real one is refused before it is parsed; what is left takes less than a third of a second. What
goes on to the model is written anew from what was judged, so that a key that is there twice cannot be read in two ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field, JsonValue, StrictBool, ValidationError
from pydantic_core import from_json, to_json

from agentvine.domain.base import Model

MOST_VALUES = 200_000
"""Lists, objects and what is separated by commas. A long conversation with many tools has some 50,000."""
MOST_MARKS = 3_000_000
"""The same, quotes and backslashes, in strings too. A million tokens of program text have some 500,000."""
MOST_OUTSIDE = 2 << 20
"""Bytes that belong to no string: numbers, names of constants, spaces and what holds everything together."""
_LONGEST_ANSWER = 128_000
_STRUCTURE = bytes(set(range(256)) - set(b"[{,"))
_MARKS = bytes(set(range(256)) - set(b'[{,"\\'))
_HARMLESS_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_")
_DEEPEST = 100


class Refusal(Exception):
    """What the box gets instead of an answer."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message


class Asked(Model):
    """Of a request's body, what matters here."""

    model: str = Field(min_length=1, max_length=200)
    stream: StrictBool = False
    max_tokens: int = Field(default=_LONGEST_ANSWER, ge=0, le=10_000_000)
    speed: str | None = None
    inference_geo: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A request that may go on."""

    asked: Asked
    body: bytes
    """What is to be sent: what came, without keys that are there twice."""


def judge(body: bytes | bytearray, *, server_tools: bool) -> Judged:
    """Read a request. `server_tools` as in `Upstream`. Raises Refusal. May be called in a thread."""
    if not _plausible(body):
        raise Refusal(413, "request_too_large", "a request holds far fewer values, and most of it is text")
    try:
        content: JsonValue = from_json(body, allow_inf_nan=False)
        asked = Asked.model_validate(content)
    except ValidationError as error:
        raise Refusal(400, "invalid_request_error", f"{error.errors(include_url=False)[0]['msg']}") from None
    except ValueError as error:
        raise Refusal(400, "invalid_request_error", str(error)[:300]) from None
    if not server_tools and (why := _reaches_out(content)) is not None:
        raise Refusal(403, "permission_error", f"{why} is not allowed here: it would reach the internet")
    return Judged(asked, to_json(content))


def _plausible(body: bytes | bytearray) -> bool:
    """Whether it is cheap to parse. For text that is no JSON the counts stand up to where a parser gives up."""
    if len(body.translate(None, _MARKS)) > MOST_MARKS:
        return False
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    outside = b"".join(unescaped.split(b'"')[::2])
    return len(outside) <= MOST_OUTSIDE and len(outside.translate(None, _STRUCTURE)) <= MOST_VALUES


def _reaches_out(body: JsonValue) -> str | None:
    """What in a request would make the model's side fetch something, if anything does."""
    if not isinstance(body, Mapping):
        return None
    for name in ("mcp_servers", "container"):
        if body.get(name):
            return name
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if isinstance(kind, str) and not kind.startswith(_HARMLESS_TOOLS):
            return f"the tool {kind[:100]}"
    return _source_by_url([body.get("messages"), body.get("system")])


def _source_by_url(content: list[JsonValue]) -> str | None:
    """Content that is named by its address instead of being there."""
    ahead: list[tuple[JsonValue, int]] = [(value, 1) for value in content]
    while ahead:
        value, depth = ahead.pop()
        if not isinstance(value, dict | list):
            continue
        if depth > _DEEPEST:
            return "content that is nested so deeply"
        if isinstance(value, list):
            ahead.extend((inner, depth + 1) for inner in value)
        elif value.get("type") == "url" and "url" in value:
            return "content by URL"
        elif "input" not in value or value.get("type") != "tool_use":  # the agent's own words are fetched by nobody
            ahead.extend((inner, depth + 1) for inner in value.values())
    return None
