"""Listings in pages. A cursor is opaque to callers and is checked like anything that they send."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from agentvine.domain.key import Key
from agentvine.domain.request import WorkerRequest
from agentvine.server.reading import check_number, invalid
from agentvine.store.listings import Slice
from agentvine.store.rows import micros
from agentvine.wire import messages as m

Item = TypeVar("Item")
LARGEST_PAGE = 200
_ID = re.compile(r"[a-z]{2,3}_[0-9a-z]{26}")
_NUMBER = re.compile(r"[0-9]{1,15}")
_AT_AND_ID = re.compile(r"([0-9]{1,18})\.(req_[0-9a-z]{26})")


def slice_of(key: Key, limit: int, after: str | None) -> Slice:
    """One item more than a page, to see whether another follows. Raises `InvalidInput`."""
    check_number("limit", limit, LARGEST_PAGE, least=1)
    return Slice(limit + 1, after, key.scope.repositories or None, key.scope.worker_types or None)


def id_cursor(cursor: str | None) -> str | None:
    """The id behind which a page begins. Raises `InvalidInput`."""
    if cursor is not None and not _ID.fullmatch(cursor):
        raise _broken()
    return cursor


def number_cursor(cursor: str | None) -> int | None:
    """The number below which a page begins. Raises `InvalidInput`."""
    if cursor is not None and not _NUMBER.fullmatch(cursor):
        raise _broken()
    return None if cursor is None else int(cursor)


def request_cursor(cursor: str | None) -> tuple[int, str | None]:
    """The moment (microseconds) and the id behind which a page of requests begins. Raises `InvalidInput`."""
    if cursor is None:
        return 0, None
    match = _AT_AND_ID.fullmatch(cursor)
    if match is None:
        raise _broken()
    return int(match[1]), match[2]


def cursor_of_request(request: WorkerRequest) -> str:
    """The cursor of what follows `request`."""
    return f"{micros(request.created_at)}.{request.id}"


def page_of(items: Sequence[Item], limit: int, cursor_of: Callable[[Item], str]) -> m.Page[Item]:
    """The first `limit` of the items found."""
    shown = tuple(items[:limit])
    return m.Page(items=shown, next_cursor=cursor_of(shown[-1]) if len(items) > limit else None)


def _broken() -> Exception:
    return invalid("/cursor", "this is no cursor; pass on the next_cursor of the page before, or none")
