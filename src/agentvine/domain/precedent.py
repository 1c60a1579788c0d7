"""Precedents: answers of people that settle the like when it is asked again. See docs/asking.md."""

import hashlib
import json
import re
from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Model, Moment, Strict, Text
from agentvine.domain.ids import PrecedentId, RequestId
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.request import ControllerResponse, RequestKind, WorkerRequest
from agentvine.domain.worker_types import TaskType

_QUOTES = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}"
_ENDS = "\N{RIGHT DOUBLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
_SENTENCE_MARKS = re.compile(rf"[.,;:?!){_QUOTES}{_ENDS}]+(?=\s|$)|(?<!\S)[({_QUOTES}]+")
"""What belongs to the sentence and not to what it says: `total > 100?` is not `total < 100?`."""
DAY_SECONDS = 86_400


class Remember(Strict):
    """What a person wants an answer to be kept for. Unless told otherwise: tasks of this type in this repository."""

    any_type: bool = False
    everywhere: bool = False
    """In any repository."""
    for_seconds: Annotated[float, Field(ge=1, le=365 * DAY_SECONDS, allow_inf_nan=False)] = 30 * DAY_SECONDS


class Precedent(Model):
    """An answer that was kept. It settles what is alike until it expires or is forgotten."""

    id: PrecedentId
    created_at: Moment
    created_by: str
    """`key:<id>`."""
    expires_at: Moment | None = None
    forgotten_at: Moment | None = None
    request_id: RequestId
    """What it was the answer to."""
    kind: RequestKind
    type: TaskType | None = None
    """None: of any type."""
    repository: str | None = None
    """None: in any repository."""
    permission_level: PermissionLevel
    """The highest level of an order for which it holds: that of the key that made it."""
    likeness: str
    message: Text
    response: ControllerResponse

    def holds(self, now: Moment) -> bool:
        """True while it is neither forgotten nor expired."""
        return self.forgotten_at is None and (self.expires_at is None or now < self.expires_at)


def likeness_of(request: WorkerRequest) -> str | None:
    """A digest of what another request must have in common with this one; None for a delivery, which is like no other.

    For a question that is its words and those of its options; letter case, white space, quotation marks around words
    and punctuation behind them do not count.
    For an approval it is the exact call and what makes it sensitive.
    """
    if request.kind is RequestKind.CLARIFICATION:
        alike = [_words(request.message), *map(_words, request.options)]
    elif request.call is not None:
        alike = [request.call.tool, request.call.digest, request.call.rule]
    else:
        return None
    canonical = json.dumps([request.kind.value, *alike], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()


def _words(text: str) -> str:
    """The words of `text`; where nothing would be left of it, all that is not white space."""
    return " ".join(_SENTENCE_MARKS.sub(" ", text.casefold()).split()) or " ".join(text.split())
