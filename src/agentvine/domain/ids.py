"""Identifiers: a prefix that says what it names, then 26 characters that sort by time (the ULID layout: 48 bits of
milliseconds, 80 random bits, Crockford base 32, here in lower case; https://github.com/ulid/spec)."""

import secrets
from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BODY = r"[0-9a-hjkmnp-tv-z]{26}"

TaskId = Annotated[str, StringConstraints(pattern=rf"^tsk_{_BODY}$")]
WorkOrderId = Annotated[str, StringConstraints(pattern=rf"^wo_{_BODY}$")]
ExecutionId = Annotated[str, StringConstraints(pattern=rf"^exe_{_BODY}$")]
WorkerId = Annotated[str, StringConstraints(pattern=r"^wrk_[0-9a-z][0-9a-z_.-]{0,99}$")]
"""Made by the worker. One that is started again under a fixed id tells the server so that its predecessor is gone."""
RequestId = Annotated[str, StringConstraints(pattern=rf"^req_{_BODY}$")]
KeyId = Annotated[str, StringConstraints(pattern=rf"^key_{_BODY}$")]


def new_id(prefix: str, now: datetime) -> str:
    """A new id such as `tsk_01k…`, ordered by `now` (to the millisecond) among ids of its prefix."""
    number = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5))


def short(identifier: str) -> str:
    """The last eight characters of an id: enough to name a branch, all of them random."""
    return identifier[-8:]
