"""What the CLI says when the account's usage limit is reached, and when it is over.

It says so in words, in one of these forms, the time in the account's own zone:
    Claude AI usage limit reached|1755806400
    You've hit your limit · resets 3pm (Europe/Berlin)
    5-hour limit reached ∙ resets 10:30am
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_TOLD = re.compile(
    r"(usage|hour|hourly|weekly|opus|sonnet|session) limit reached|(hit|reached) your \b[\w ]*limit", re.IGNORECASE
)
_EPOCH = re.compile(r"limit reached\|(\d{10})\b", re.IGNORECASE)
_CLOCK = re.compile(r"resets?(?: at)? (\d{1,2})(?::(\d{2}))? ?(am|pm)\b(?: \(([\w/+-]+)\))?", re.IGNORECASE)


def is_told(said: str) -> bool:
    """Whether the CLI says that a usage limit is reached."""
    return _TOLD.search(said) is not None


def seconds_left(said: str, now: datetime) -> float | None:
    """How long it lasts from `now` on; None if that is not said, or is over."""
    if match := _EPOCH.search(said):
        until = datetime.fromtimestamp(int(match[1]), UTC)
    elif match := _CLOCK.search(said):
        clock = _hour(int(match[1]), match[3].lower()), int(match[2] or 0)
        if not (clock[0] < 24 and clock[1] < 60):
            return None
        here = now.astimezone(_zone(match[4]))
        until = here.replace(hour=clock[0], minute=clock[1], second=0, microsecond=0)
        if until <= here:
            until += timedelta(days=1)
    else:
        return None
    left = (until - now).total_seconds()
    return left if left > 0 else None


def _hour(shown: int, half: str) -> int:
    return shown % 12 + (12 if half == "pm" else 0) if 1 <= shown <= 12 else 24


def _zone(name: str | None) -> tzinfo:
    """UTC for a zone that is not named or not known: then it is tried too early or too late, and waits anew."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
