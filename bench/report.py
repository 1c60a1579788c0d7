"""Figures, and how they are shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured: the median, all rounds, and what it is held against."""

    name: str
    value: float
    unit: str
    rounds: Sequence[float] = field(default_factory=tuple)
    aim: str | None = None
    against: float | None = None
    peer: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the peer's figure this is."""
        return self.value / self.against if self.against else None

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"ratio": self.ratio}


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table."""
    lines = ["| What | Median | Rounds | Against | Ratio | Aim |", "|---|---|---|---|---|---|"]
    for figure in figures:
        rounds = f"{_short(min(figure.rounds))} to {_short(max(figure.rounds))}" if figure.rounds else ""
        against = f"{figure.peer}: {_short(figure.against)} {figure.unit}" if figure.against else ""
        ratio = f"{figure.ratio:.2f}" if figure.ratio else ""
        value = f"{_short(figure.value)} {figure.unit}"
        lines.append(f"| {figure.name} | {value} | {rounds} | {against} | {ratio} | {figure.aim or ''} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
