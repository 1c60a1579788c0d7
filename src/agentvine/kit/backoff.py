"""Exponential backoff with jitter: a fleet that failed together must not come back together."""

from dataclasses import dataclass, field
from random import Random, SystemRandom


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before try number `n`.

    `first` and `most` are seconds; the bound for try n (counted from 1) is `first * factor ** (n - 1)`, at most `most`.
    """

    first: float = 0.5
    most: float = 60.0
    factor: float = 2.0
    random: Random = field(default_factory=SystemRandom, compare=False, repr=False)

    def bound(self, attempt: int) -> float:
        """The longest delay before try `attempt`, in seconds."""
        exponent = min(max(attempt, 1) - 1, 64)  # beyond 2**64 a float overflows long after the cap is reached
        return min(self.first * self.factor**exponent, self.most)

    def delay(self, attempt: int) -> float:
        """A delay in seconds, drawn from the upper half of `[0, bound]` so that it is never almost nothing."""
        bound = self.bound(attempt)
        return self.random.uniform(bound / 2, bound)
