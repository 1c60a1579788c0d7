"""What is there, what is missing, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`warning`: things work, but not everything; `missing`: they do not."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at. `mend` says what to do, unless it is ok."""

    name: str
    verdict: Verdict
    found: str
    mend: str = ""


def version_of(text: str) -> tuple[int, ...]:
    """The first version number in what a program says of itself, such as (2, 39, 5); empty if there is none."""
    for word in text.replace("(", " ").split():
        parts = word.split(".")
        numbers = []
        for part in parts:
            if not part.isdigit():
                break
            numbers.append(int(part))
        if len(numbers) >= 2:
            return tuple(numbers)
    return ()
