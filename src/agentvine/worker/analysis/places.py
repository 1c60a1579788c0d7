"""The lines that a review may speak of: those that the diff shows, or every line where there is no diff."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentvine.worker.forge.difference import ChangedFile

_MOST_SPANS = 12


@dataclass(frozen=True, slots=True)
class Places:
    """`lengths`: how many lines each file has that was asked about, None where there is no such file.

    `shown`: by file, the numbers of the lines that the diff shows. None: there is no diff, all of it is under review.
    """

    lengths: Mapping[str, int | None]
    shown: Mapping[str, frozenset[int]] | None = None

    def problem(self, file: str, line: int) -> str:
        """Why nothing can be said there, for the one who did; empty if it can."""
        length = self.lengths.get(file)
        if length is None:
            return f"{file}:{line}: there is no such file"
        if line > max(length, 1):
            return f"{file}:{line}: the file has {length} lines"
        if self.shown is None:
            return ""
        lines = self.shown.get(file)
        if lines is None:
            return f"{file}:{line}: the change that is under review does not touch this file"
        if line not in lines:
            return f"{file}:{line}: the change does not show this line; of this file it shows {spans(lines)}"
        return ""


def shown_lines(files: Iterable[ChangedFile]) -> dict[str, frozenset[int]]:
    """The lines of a diff, for `Places`."""
    return {file.path: frozenset(file.lines) for file in files}


def spans(lines: Iterable[int]) -> str:
    """Line numbers in words: `3-9, 20`."""
    found: list[tuple[int, int]] = []
    for line in sorted(lines):
        if found and line == found[-1][1] + 1:
            found[-1] = found[-1][0], line
        else:
            found.append((line, line))
    told = [f"{first}-{last}" if last > first else str(first) for first, last in found[:_MOST_SPANS]]
    if len(found) > _MOST_SPANS:
        told.append("…")
    return "lines " + ", ".join(told) if told else "no line"
