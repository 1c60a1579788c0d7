"""What a run has used so far, counted from the stream while it runs, and an upper estimate of what that costs.

The CLI tells the true cost only with its result, and keeps its own limits only roughly; a run that has to be ended, or
that crashes, is booked as counted here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentvine.domain.execution import Usage

_FIELDS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    input: float
    output: float

    def of(self, tokens: Mapping[str, int]) -> float:
        """The price of `tokens`: reading a cache is a tenth of input, writing it five quarters."""
        weighted = (
            tokens.get("input_tokens", 0) * self.input
            + tokens.get("cache_write_tokens", 0) * self.input * 1.25
            + tokens.get("cache_read_tokens", 0) * self.input * 0.1
            + tokens.get("output_tokens", 0) * self.output
        )
        return weighted / 1_000_000


_PRICES = {"haiku": Price(1, 5), "sonnet": Price(3, 15)}
_DEAREST = Price(5, 25)
"""What an unknown model is taken to cost. List prices as published in 2025; an estimate, never an invoice."""


def price_of(model: str) -> Price:
    return next((price for family, price in _PRICES.items() if family in model), _DEAREST)


@dataclass(slots=True)
class StreamMeter:
    """Adds up the answers of a run. An answer's usage is told several times, growing; the last word counts."""

    _answers: dict[str, dict[str, int]] = field(default_factory=dict)
    _models: dict[str, str] = field(default_factory=dict)
    _main: set[str] = field(default_factory=set)

    def count(self, answer: str, model: str, usage: Mapping[str, object], *, main: bool) -> None:
        """Note the usage that one answer of the model tells; `main`: not a sub-agent's."""
        known = self._answers.setdefault(answer, {})
        for told, ours in _FIELDS.items():
            value = usage.get(told)
            if isinstance(value, int) and not isinstance(value, bool):
                known[ours] = max(known.get(ours, 0), value)
        self._models[answer] = model or self._models.get(answer, "")
        if main:
            self._main.add(answer)

    @property
    def turns(self) -> int:
        """Answers in the main conversation."""
        return len(self._main)

    def total(self) -> Usage:
        """All of it so far."""
        sums = {name: sum(answer.get(name, 0) for answer in self._answers.values()) for name in _FIELDS.values()}
        cost = sum(price_of(self._models[answer]).of(tokens) for answer, tokens in self._answers.items())
        return Usage(**sums, turns=self.turns, cost_usd=cost)
