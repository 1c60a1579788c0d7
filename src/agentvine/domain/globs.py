"""Patterns for paths, as git and editors have them, matched in time that no path and no pattern can stretch."""

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import cache

_ANY = "**"


def path_fits(patterns: Sequence[str], path: str) -> bool:
    """Whether one of `patterns` fits `path`, whose parts are divided by '/'; upper and lower case are the same.

    Without a slash a pattern is the name of a file anywhere; with one it is a path from the root, where `**` is any
    depth, none too, and a `*` stays within one part.
    """
    parts = path.split("/")
    return any(_fits(_divided(pattern), parts) for pattern in patterns)


def _fits(pattern: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """As shells match one `*`: only the last `**` is ever gone back to."""
    here, part, back, mark = 0, 0, -1, 0
    while part < len(parts):
        wanted = pattern[here] if here < len(pattern) else None
        if here < len(pattern) and wanted is None:
            back, mark = here, part
            here += 1
        elif wanted is not None and wanted.match(parts[part]):
            here, part = here + 1, part + 1
        elif back >= 0:
            mark += 1
            here, part = back + 1, mark
        else:
            return False
    return all(wanted is None for wanted in pattern[here:])


@cache
def _divided(pattern: str) -> tuple[re.Pattern[str] | None, ...]:
    """The parts of a pattern; None is `**`."""
    whole = pattern if "/" in pattern else f"{_ANY}/{pattern}"
    return tuple(None if part == _ANY else re.compile(translate(part), re.IGNORECASE) for part in whole.split("/"))
