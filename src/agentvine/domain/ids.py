"""Identifiers: a prefix that says what it names, then 26 characters that sort by time (the ULID layout: 48 bits of
milliseconds, 80 random bits, Crockford base 32, here in lower case; https://github.com/ulid/spec)."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import StringConstraints

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BODY = r"[0-9a-hjkmnp-tv-z]{26}"

TaskId = Annotated[str, StringConstraints(pattern=rf"^tsk_{_BODY}$")]
WorkOrderId = Annotated[str, StringConstraints(pattern=rf"^wo_{_BODY}$")]
ExecutionId = Annotated[str, StringConstraints(pattern=rf"^exe_{_BODY}$")]
WorkerId = Annotated[str, StringConstraints(pattern=r"^wrk_[0-9a-z][0-9a-z_.-]{0,99}$")]
"""Made by the worker. One that is started again under a fixed id tells the server so that its predecessor is gone."""
RequestId = Annotated[str, StringConstraints(pattern=rf"^req_{_BODY}$")]
KeyId = Annotated[str, StringConstraints(pattern=rf"^key_{_BODY}$")]
RepositoryId = Annotated[str, StringConstraints(pattern=rf"^rep_{_BODY}$")]
ErrandId = Annotated[str, StringConstraints(pattern=rf"^err_{_BODY}$")]
PrecedentId = Annotated[str, StringConstraints(pattern=rf"^pre_{_BODY}$")]


def new_id(prefix: str, now: datetime) -> str:
    """A new id such as `tsk_01k…`, ordered by `now` (to the millisecond) among ids of its prefix."""
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)  # a float has too few bits for distant years
    number = (milliseconds << 80) | secrets.randbits(80)
    return f"{prefix}_{_letters(number, 26)}"


def derived_id(prefix: str, of: str, digest: str) -> str:
    """The id of something that exists once for each pair of `of`, an id, and `digest`, hexadecimal; as old as `of`."""
    time = of.partition("_")[2][:10]
    number = int.from_bytes(hashlib.sha256(f"{of} {digest}".encode()).digest()[:10])
    return f"{prefix}_{time}{_letters(number, 16)}"


def _letters(number: int, count: int) -> str:
    return "".join(_ALPHABET[(number >> 5 * place) & 31] for place in reversed(range(count)))


def short(identifier: str) -> str:
    """The last eight characters of an id: enough to name a branch, all of them random."""
    return identifier[-8:]
