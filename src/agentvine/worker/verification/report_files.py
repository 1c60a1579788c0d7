"""Finding the reports that a test run left in its checkout, where the repository's code may have left anything at all.

A pattern is a path with `*` (within a name) and `**` (any folders). No link is followed, what is read is bounded in
files, folders and bytes, and what was there before the run is removed, so that nobody reads yesterday's results.
"""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agentvine.worker.folders import remove_entry
from agentvine.worker.hostile import Refused, read_beneath

_MOST_FOLDERS = 20_000
MOST_FILES = 2_000
DEEPEST = 40
_PASSED_OVER = frozenset({".git", "node_modules", ".venv"})


def clear_reports(checkout: Path, pattern: str) -> None:
    """Remove what lies where reports are to be looked for. Raises Refused if that has no end."""
    for path in _matching(checkout, pattern):
        remove_entry(checkout, path)


def read_reports(checkout: Path, pattern: str, limit: int) -> list[bytes]:
    """The contents of the files at `pattern`, in the order of their paths; none if there are none.

    Together they have at most `limit` bytes. Raises Refused if they are more, or are not what may be read.
    """
    reports: list[bytes] = []
    for path in sorted(_matching(checkout, pattern)):
        with suppress(FileNotFoundError, NotADirectoryError):
            reports.append(read_beneath(checkout, path, limit))
            limit -= len(reports[-1])
    return reports


def is_pattern(path: str) -> bool:
    """Whether `path` may stand for several files."""
    return "*" in path


def _matching(checkout: Path, pattern: str) -> list[str]:
    if not is_pattern(pattern):
        return [pattern]
    found: list[str] = []
    parts = [part if part == "**" else re.compile(fnmatch.translate(part)) for part in pattern.split("/")]
    for folder, names in _walk(checkout):
        found += ("/".join((*folder, name)) for name in names if _fits((*folder, name), parts))
        if len(found) > MOST_FILES:
            raise Refused(f"more than {MOST_FILES} files are at {pattern}")
    return found


def _walk(checkout: Path) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Each folder by its parts, and what is in it that is no folder. Folders that cannot be opened are empty.

    Only names are learnt here: whoever swaps a folder for a link meanwhile gains nothing, reading follows none.
    """
    for number, (folder, folders, files) in enumerate(os.walk(checkout, followlinks=False)):
        if number >= _MOST_FOLDERS:
            raise Refused(f"the checkout has more than {_MOST_FOLDERS} folders")
        parts = Path(folder).relative_to(checkout).parts
        folders[:] = [] if len(parts) >= DEEPEST else [name for name in folders if name not in _PASSED_OVER]
        yield parts, files


def _fits(path: Sequence[str], pattern: Sequence[str | re.Pattern[str]]) -> bool:
    """Whether the path's parts fit the pattern's, one by one, `**` standing for any number of folders."""
    reached = {0}  # how much of the pattern may be behind us
    for part in path:
        ahead = _past_stars(reached, pattern)
        reached = {here for here in ahead if here < len(pattern) and pattern[here] == "**"}
        for here in ahead:
            if here < len(pattern) and isinstance(wanted := pattern[here], re.Pattern) and wanted.match(part):
                reached.add(here + 1)
    return len(pattern) in reached


def _past_stars(reached: set[int], pattern: Sequence[str | re.Pattern[str]]) -> set[int]:
    ahead = set(reached)
    for here in sorted(reached):
        while here < len(pattern) and pattern[here] == "**":
            here += 1  # noqa: PLW2901
            ahead.add(here)
    return ahead
