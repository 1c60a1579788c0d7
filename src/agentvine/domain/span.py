"""Times as people write them into files: `3 days`, `90 minutes`."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import PlainValidator

LONGEST = timedelta(days=365)
_SPAN = re.compile(r"([1-9][0-9]{0,8}) *(second|minute|hour|day|week)s?")
_UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}


def span(written: object) -> timedelta:
    """The time that is meant. Raises ValueError that says how to write one."""
    if isinstance(written, timedelta):
        return written
    found = _SPAN.fullmatch(written.strip()) if isinstance(written, str) else None
    if found is None:
        raise ValueError("write a time in quotes, such as '3 days', '12 hours' or '90 minutes'")
    if int(found[1]) > LONGEST / _UNITS[found[2]]:
        raise ValueError("it is longer than 365 days; write less")
    return int(found[1]) * _UNITS[found[2]]


Span = Annotated[timedelta, PlainValidator(span)]
"""More than nothing, at most `LONGEST`."""
