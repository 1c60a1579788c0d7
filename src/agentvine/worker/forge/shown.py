"""What a forge shows, brought into the form and the bounds of domain/forge.py. All of it comes from strangers."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from agentvine.domain.forge import Checks, ForgeComment
from agentvine.kit.logs import redact
from agentvine.worker.forge.base import ForgeRefused

MOST_COMMENTS, MOST_ISSUES, MOST_FAILED, MOST_LABELS = 500, 500, 50, 100
LOG_LINES, LOG_BYTES = 200, 256 * 1024
_BODY, _WORD = 65_536, 500
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])")
"""Escape sequences of terminals (ECMA-48), among them those that colour, and those that set titles and links."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ?")
"""What GitHub and Gitea write before each line of a log."""
_SLACK = timedelta(seconds=2)
_OURS = "<!-- agentvine:"

_T = TypeVar("_T", bound=BaseModel)


def _clean(value: object) -> object:
    """No NUL, and no half of a pair that no text can hold."""
    if value is None:
        return ""
    return value.replace("\x00", "").encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Text = Annotated[str, BeforeValidator(_clean)]
"""A text in an answer; none is an empty one."""
When = Annotated[datetime, AfterValidator(_aware)]


def body(text: str) -> str:
    """`text` within the bounds of a body; of one that is too long, the beginning."""
    return text[:_BODY].replace("\x00", "")


def word(text: str) -> str:
    """`text` within the bounds of a word, in one line."""
    return " ".join(text.replace("\x00", "").split())[:_WORD]


def ident(kind: str, *numbers: object) -> str:
    """What we call something: its kind, and the forge's numbers for it."""
    return "-".join((kind, *map(str, numbers)))


def numbers_of(kind: str, named: str | None) -> tuple[int, ...] | None:
    """The numbers in an `ident` of that kind; None if it is none."""
    found = re.fullmatch(rf"{kind}((?:-\d{{1,18}})+)", named or "")
    return tuple(int(part) for part in found[1][1:].split("-")) if found else None


def last_number(address: str) -> int | None:
    """The number at the end of an address; None if there is none."""
    last = address.rstrip("/").rpartition("/")[2]
    return int(last) if re.fullmatch(r"[0-9]{1,15}", last) else None


def log_tail(raw: bytes) -> str:
    """The last lines of a log, as a person would read them, without secrets."""
    lines = raw.decode(errors="replace").rstrip().split("\n")[-LOG_LINES:]
    plain = [_line(line) for line in lines]
    return redact("\n".join(plain))[-_BODY:]


def _line(line: str) -> str:
    """What remains of a line on a screen: what comes behind a carriage return overwrites what was before."""
    seen = _ANSI.sub("", line).rstrip("\r").rpartition("\r")[2]
    return _STAMP.sub("", _CONTROL.sub("", seen)).rstrip()


def latest(comments: Iterable[ForgeComment]) -> tuple[ForgeComment, ...]:
    """The latest of them, oldest first, each once."""
    once = {comment.id: comment for comment in comments}
    return tuple(sorted(once.values(), key=lambda one: (one.at, one.id))[-MOST_COMMENTS:])


def is_ours(account: str | None, author: str, text: str) -> bool:
    """Whether the account that we use wrote it, or it carries a mark."""
    return _OURS in text or (account is not None and author.casefold() == account.casefold())


def is_edited(written: datetime, changed: datetime | None) -> bool:
    """Whether it was changed after it was written; forges set the two moments one after the other."""
    return changed is not None and changed - written > _SLACK


def together(states: Sequence[Checks]) -> Checks:
    """What they come to: one that is under way is waited for, whatever the others are."""
    order: tuple[Checks, ...] = ("pending", "failed", "passed")
    return next((state for state in order if state in states), "none")


def built(kind: type[_T], who: str, **fields: Any) -> _T:
    """A `kind` of what a forge shows. Raises ForgeRefused for what has no place in it, such as an odd branch name."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise ForgeRefused(f"{who} shows something that cannot be worked with: {at}: {first['msg']}") from error
