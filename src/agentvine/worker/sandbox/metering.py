"""What the model's answers cost: tokens are read from the answers themselves, prices from prices.toml."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import Field, ValidationError

from agentvine.domain.base import Model, Strict
from agentvine.domain.execution import Usage

_MILLION = 1_000_000
_BYTES_PER_TOKEN = 3
"""Fewer than in any text, so that an estimate is on the safe side."""
_LARGEST_PROMPT = 1_000_000
"""In tokens: the most that any model reads. What is larger than that in bytes holds images."""
_EVENT_FRAME = 90
"""What surrounds the text of an event of the type content_block_delta, in bytes, at the least."""


class _Long(Strict):
    above: int
    input: float
    output: float


class _Price(Strict):
    input: float
    output: float
    cache_read: float | None = None
    fast: float | None = None
    long: _Long | None = None


class _Defaults(Strict):
    cache_read: float
    cache_write_5m: float
    cache_write_1h: float
    fast: float
    us_only: float


class PriceList(Strict):
    """The table in prices.toml."""

    defaults: _Defaults
    models: Mapping[str, _Price]

    @classmethod
    def parse(cls, text: str) -> "PriceList":
        """Raises tomllib.TOMLDecodeError, ValidationError."""
        return cls.model_validate(tomllib.loads(text))

    def cost(self, model: str, tokens: "Tokens", *, fast: bool = False, us_only: bool = False) -> float:
        """Dollars for one answer."""
        price = self._price(model)
        long = price.long if price.long is not None and tokens.prompt > price.long.above else None
        into, out = (long.input, long.output) if long is not None else (price.input, price.output)
        defaults = self.defaults
        read = defaults.cache_read if price.cache_read is None else price.cache_read
        weighted = tokens.input + tokens.cache_read * read
        weighted += tokens.cache_write_5m * defaults.cache_write_5m + tokens.cache_write_1h * defaults.cache_write_1h
        factor = (price.fast or defaults.fast) if fast else 1.0
        factor *= defaults.us_only if us_only else 1.0
        return factor * (weighted * into + tokens.output * out) / _MILLION

    def _price(self, model: str) -> _Price:
        known = [name for name in self.models if model == name or model.startswith((f"{name}-", f"{name}["))]
        return self.models[max(known, key=len)] if known else self._dearest()

    def _dearest(self) -> _Price:
        prices = self.models.values()
        return _Price(input=max(price.input for price in prices), output=max(price.output for price in prices))


@cache
def list_prices() -> PriceList:
    """The prices that come with this package."""
    return PriceList.parse(files(__package__).joinpath("prices.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one answer used."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    @property
    def prompt(self) -> int:
        """All that the model read."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    def usage(self, cost: float, turns: int) -> Usage:
        """The same in the words of the domain."""
        return Usage(
            input_tokens=self.input,
            output_tokens=self.output,
            cache_read_tokens=self.cache_read,
            cache_write_tokens=self.cache_write_5m + self.cache_write_1h,
            turns=turns,
            cost_usd=cost,
        )


class _CacheCreation(Model):
    ephemeral_1h_input_tokens: int = Field(default=0, ge=0)


class _Told(Model):
    """`usage` as the Messages API tells it; in a stream the later word is the total so far."""

    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cache_read_input_tokens: int | None = Field(default=None, ge=0)
    cache_creation_input_tokens: int | None = Field(default=None, ge=0)
    cache_creation: _CacheCreation | None = None


class _Whole(Model):
    usage: _Told | None = None


class _Event(Model):
    type: str
    message: _Whole | None = None
    usage: _Told | None = None


class AnswerMeter:
    """Reads one answer as it passes. `tokens` is what is known so far, an estimate where nothing is told yet.

    While an answer has not told its size, it is estimated from what has come of it. One that is not read to its end is
    taken to be as long as it was allowed to be: hanging up early is no way to think for free. `sent` is the size of the
    request in bytes, `most` the tokens of output that it asked for.
    """

    def __init__(self, streamed: bool, sent: int, *, most: int = 0) -> None:
        self._streamed = streamed
        self._sent = sent
        self._most = most
        self._least = 0
        self._received = 0
        self._rest = bytearray()
        self._told: dict[str, int] = {}
        self._final = False

    def read(self, piece: bytes) -> bool:
        """Take the next bytes of the answer. True if more is known than before."""
        self._rest += piece
        if not self._streamed:
            self._received += len(piece)
            return False
        *lines, self._rest = self._rest.split(b"\n")
        told = [self._line(line) for line in lines]
        return any(told)

    def end(self) -> None:
        """The answer is complete."""
        if not self._streamed:
            try:
                self._note(_Whole.model_validate_json(bytes(self._rest)).usage)
                self._final = "output_tokens" in self._told
            except ValidationError:
                return

    def give_up(self) -> None:
        """The rest of the answer will not be known."""
        self._least = self._most

    @property
    def tokens(self) -> Tokens:
        told = self._told
        output = told.get("output_tokens", 0)
        if not self._final:
            output = max(output, self._received // _BYTES_PER_TOKEN, self._least)
        hour = min(told.get("hour", 0), told.get("cache_creation_input_tokens", 0))
        return Tokens(
            input=told.get("input_tokens", min(self._sent // _BYTES_PER_TOKEN, _LARGEST_PROMPT)),
            output=output,
            cache_read=told.get("cache_read_input_tokens", 0),
            cache_write_5m=told.get("cache_creation_input_tokens", 0) - hour,
            cache_write_1h=hour,
        )

    def _line(self, line: bytearray) -> bool:
        if b'"content_block_delta"' in line:
            self._received += max(len(line) - _EVENT_FRAME, 0)
        if not line.startswith(b"data:") or b'"usage"' not in line:
            return False
        try:
            event = _Event.model_validate_json(bytes(line[5:]))
        except ValidationError:
            return False
        if event.type == "message_start" and event.message is not None:
            self._note(event.message.usage)
        elif event.type == "message_delta":
            self._note(event.usage)
            self._final = self._final or event.usage is not None
        return True

    def _note(self, usage: _Told | None) -> None:
        if usage is None:
            return
        told = usage.model_dump(exclude_none=True, exclude={"cache_creation"})
        if usage.cache_creation is not None:
            told["hour"] = usage.cache_creation.ephemeral_1h_input_tokens
        for name, value in told.items():
            self._told[name] = max(self._told.get(name, 0), value)


def error_body(kind: str, message: str) -> bytes:
    """An error as the Messages API writes it."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
