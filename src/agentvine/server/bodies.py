"""Bodies as they come in: bounded in size, and JSON that means the same to every reader."""

import json
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.types import Message, Receive

from agentvine.domain.errors import InvalidInput, TooLarge
from agentvine.server.refusals import body_mistakes, invalid_input
from agentvine.server.waits import ClientGone

MOST_PARAMETERS = 100
"""In one query string."""
_M = TypeVar("_M", bound=BaseModel)


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises `ClientGone` if it never comes; its size is the gate's business."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        return body
    parts = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise ClientGone


def parse(model: type[_M], body: bytes) -> _M:
    """`body` as a `model`. Raises `InvalidInput` with a pointer for each mistake."""
    check_json(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise body_mistakes(error) from error


def parse_query(model: type[_M], query: bytes) -> _M:
    """A query string as a `model`; of a name that stands twice the last value counts. Raises `InvalidInput`."""
    text = query.decode("latin-1")
    if text.count("&") >= MOST_PARAMETERS:
        raise InvalidInput(f"more than {MOST_PARAMETERS} parameters in the query", errors=[])
    values = dict(parse_qsl(text, keep_blank_values=True))
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        raise invalid_input(
            (("query", *mistake["loc"]), mistake["msg"]) for mistake in error.errors(include_url=False)
        ) from error


def check_json(body: bytes) -> None:
    """Raises `InvalidInput` for what is not JSON, or is read differently by different readers: a key that stands twice
    in an object (RFC 8259 section 4), NaN and infinities (section 6), another encoding than UTF-8 (section 8.1)."""
    if not body:
        raise _whole("a JSON document is expected, the body is empty")
    try:
        _STRICT.decode(body.decode())
    except UnicodeDecodeError as error:
        raise _whole(f"not UTF-8: byte {error.start} cannot be decoded") from error
    except json.JSONDecodeError as error:
        raise _whole(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise _whole("nested too deeply") from error
    except ValueError as error:  # Python refuses integers of more than 4300 digits
        raise _whole("a number is too large") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _whole(f"the key {json.dumps(key)} stands twice in one object")
            seen.add(key)
    return whole


def _no_constant(name: str) -> object:
    raise _whole(f"{name} is no JSON number")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _whole(message: str) -> InvalidInput:
    return invalid_input([(("body",), message)])


class BodyLimit:
    """Counts what a request's body brings. For bodies whose length was not declared."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise too_large(self._limit)
        return message


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than the {limit} bytes that are taken here", limit=limit)
