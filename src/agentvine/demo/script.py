"""What the scripted model plays: a script of scenarios, each a row of turns.

A scenario is chosen by the words that open a conversation, a turn by what has been said so far, and by nothing else:
the same request always gets the same turn, so that many workers may share one model, and a session that is resumed on
another machine goes on where it stopped.

A pattern is text that must occur, letter for letter, or a regular expression after `re:` (Python's syntax, `^` and `$`
match at lines).
"""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from agentvine.domain.base import Strict
from agentvine.domain.errors import InvalidInput

REGEX_PREFIX = "re:"
CLOSING_TEXT = "Done."
WORKSPACE_PLACEHOLDER = "{workspace}"


def _checked(pattern: str) -> str:
    if pattern.startswith(REGEX_PREFIX):
        try:
            re.compile(pattern.removeprefix(REGEX_PREFIX))
        except re.error as error:
            raise ValueError(
                f"is no regular expression ({error}); leave out {REGEX_PREFIX!r} to look for it as it is"
            ) from error
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_checked)]


def occurs(pattern: str, text: str) -> bool:
    """Whether `pattern` is found in `text`."""
    if pattern.startswith(REGEX_PREFIX):
        return re.search(pattern.removeprefix(REGEX_PREFIX), text, re.MULTILINE) is not None
    return pattern in text


class ToolCall(Strict):
    """A tool that the model asks for. `{workspace}` in any text of `input` becomes the agent's working directory."""

    name: str = Field(min_length=1)
    input: dict[str, JsonValue] = Field(default_factory=dict)


class Usage(Strict):
    """Tokens that an answer says it used; what is left out is estimated from the request and the answer."""

    input_tokens: NonNegativeInt | None = None
    output_tokens: NonNegativeInt | None = None
    cache_read_input_tokens: NonNegativeInt | None = None
    cache_creation_input_tokens: NonNegativeInt | None = None


class ErrorReply(Strict):
    """An error instead of an answer, the first `times` that a conversation asks for this turn.

    `type` is the API's name for it and follows from `status` unless given. `retry_after` (seconds) and `headers`
    become response headers.
    """

    status: Literal[400, 401, 403, 404, 413, 429, 500, 504, 529]
    type: str | None = None
    message: str | None = None
    retry_after: NonNegativeFloat | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    times: PositiveInt = 1


class Turn(Strict):
    """One answer of the model, and what may go wrong with it.

    `when`: this turn is passed over unless the pattern occurs in the latest message (prompt or tool results).
    `expect`: patterns that must occur there, else the request is answered 400 and the failure recorded.
    `hang_seconds`: silence before the answer, or after `hang_after_events` events of it.
    `cut_after_events`: the connection is closed after so many events. Both happen the first `fault_times` that a
    conversation asks for this turn; then it plays as written.
    """

    text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    when: Pattern | None = None
    expect: tuple[Pattern, ...] = ()
    error: ErrorReply | None = None
    delay_ms: NonNegativeInt = 0
    hang_seconds: NonNegativeFloat | None = None
    hang_after_events: NonNegativeInt = 0
    cut_after_events: NonNegativeInt | None = None
    fault_times: PositiveInt = 1
    usage: Usage = Usage()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        goes_wrong = self.error or self.hang_seconds is not None or self.cut_after_events is not None
        if not (self.text or self.tool_calls or goes_wrong):
            raise ValueError("says nothing: give it a text, tool_calls, or an error")
        return self

    def fits(self, latest: str) -> bool:
        """Whether this turn may answer a message with this text."""
        return self.when is None or occurs(self.when, latest)

    def missing(self, latest: str) -> list[str]:
        """The expected patterns that do not occur in `latest`."""
        return [pattern for pattern in self.expect if not occurs(pattern, latest)]


class Scenario(Strict):
    """A conversation: played when every pattern of `match` occurs in its system prompt or first message.

    After the last turn the model says "Done.", or the last turn again if `repeat_last`.
    """

    name: str = Field(min_length=1)
    match: tuple[Pattern, ...] = ()
    turns: tuple[Turn, ...] = Field(min_length=1)
    repeat_last: bool = False

    def turn_for(self, heard: Sequence[str]) -> int | None:
        """Which turn answers the last of `heard`, the texts that the model was sent so far, oldest first.

        The earlier texts are played through again: each answer took the first turn after the one before that fitted.
        Returns an index into `turns`, or None when the script is played out.
        """
        start = 0
        for text in heard[:-1]:
            chosen = self._next(start, text)
            start = len(self.turns) if chosen is None else chosen + 1
        return self._next(start, heard[-1])

    def _next(self, start: int, latest: str) -> int | None:
        for index in range(start, len(self.turns)):
            if self.turns[index].fits(latest):
                return index
        last = len(self.turns) - 1
        return last if self.repeat_last and self.turns[last].fits(latest) else None


class Script(Strict):
    """All that one scripted model can play. The first scenario that matches is taken."""

    scenarios: tuple[Scenario, ...] = Field(min_length=1)

    def scenario_for(self, opening: str) -> Scenario | None:
        """The scenario of a conversation that opens with this text, if any."""
        return next((one for one in self.scenarios if all(occurs(pattern, opening) for pattern in one.match)), None)

    @classmethod
    def load(cls, path: Path) -> "Script":
        """Read a script from a `.json` or `.toml` file.

        Raises InvalidInput, whose message names the file and every place in it that must be mended.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"The script {path} cannot be read: {error}") from error
        try:
            if path.suffix == ".toml":
                return cls.model_validate(tomllib.loads(text))
            return cls.model_validate_json(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"The script {path} is no TOML: {error}") from error
        except ValidationError as error:
            places = _mistakes(error)
            lines = "".join(f"\n  {place['pointer'] or 'the file'}: {place['message']}" for place in places)
            raise InvalidInput(f"The script {path} cannot be played:{lines}", errors=places) from error


def _mistakes(error: ValidationError) -> list[dict[str, str]]:
    """Where and what, without the lists that are only called empty because nothing in them was right."""
    found = error.errors(include_url=False)
    within = {one["loc"][:depth] for one in found for depth in range(len(one["loc"]))}
    return [{"pointer": _pointer(one["loc"]), "message": one["msg"]} for one in found if one["loc"] not in within]


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join(f"/{part}" for part in location)
