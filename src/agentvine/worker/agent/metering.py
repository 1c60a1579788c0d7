"""What a run has used so far, counted from the stream while it runs, and an upper estimate of what that costs.

The CLI tells the true cost only with its result, and keeps its own limits only roughly; a run that has to be ended, or
that crashes, is booked as counted here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentvine.domain.execution import Usage
from agentvine.worker.sandbox.metering import Tokens, list_prices

_FIELDS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}


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
        cost = sum(_cost(self._models[answer], tokens) for answer, tokens in self._answers.items())
        return Usage(**sums, turns=self.turns, cost_usd=cost)


def _cost(model: str, known: Mapping[str, int]) -> float:
    tokens = Tokens(
        input=known.get("input_tokens", 0),
        output=known.get("output_tokens", 0),
        cache_read=known.get("cache_read_tokens", 0),
        cache_write_5m=known.get("cache_write_tokens", 0),
    )
    return list_prices().cost(model, tokens)
