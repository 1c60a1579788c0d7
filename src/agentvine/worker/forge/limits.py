"""How long a forge wants to be left alone, read from its answer."""

import email.utils
from datetime import datetime

import httpx

_UNTOLD_LIMIT = 60.0
"""Seconds to wait where a limit is told without a time: what GitHub asks for its secondary limits."""
_LONGEST_WAIT = 86_400.0
_LIMITED = ("rate limit", "abuse detection")
_TOO_QUICK = "submitted too quickly"


def limit_of(response: httpx.Response, said: str, now: datetime) -> float | None:
    """Seconds until a rate limit ends; None if the answer is about something else.

    429 anywhere. GitHub says 403 as well, with no requests remaining or in words ("Rate limits for the REST API"; its
    older servers call it abuse detection), and to an account that makes much in a short time 422, "was submitted too
    quickly". It tells the end as X-RateLimit-Reset, GitLab as RateLimit-Reset, both in seconds since 1970.
    """
    headers, status, words = response.headers, response.status_code, said.lower()
    used_up = headers.get("X-RateLimit-Remaining") == "0" or any(one in words for one in _LIMITED)
    forbidden = status == 403 and (used_up or "Retry-After" in headers)
    if not (status == 429 or forbidden or (status == 422 and _TOO_QUICK in words)):
        return None
    if (asked := retry_after(response, now)) is not None:
        return asked
    for name in ("X-RateLimit-Reset", "RateLimit-Reset"):
        moment = headers.get(name, "")
        if moment.isascii() and moment.isdigit() and headers.get(name.replace("Reset", "Remaining"), "0") == "0":
            return min(max(float(moment) - now.timestamp(), 0.0), _LONGEST_WAIT)
    return _UNTOLD_LIMIT


def retry_after(response: httpx.Response, now: datetime) -> float | None:
    """The seconds of Retry-After (RFC 9110 section 10.2.3: a number, or a date); None if it does not say."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return min(max((moment - now).total_seconds(), 0.0), _LONGEST_WAIT)
    except (ValueError, TypeError):
        return None
