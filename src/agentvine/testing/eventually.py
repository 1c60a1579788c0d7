"""Waiting for facts in tests: bounded, and without a guess at how long something takes."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

from agentvine.kit.doorbell import pause

_T = TypeVar("_T")


@overload
async def eventually(fact: Callable[[], Awaitable[_T]], within: float = 10.0) -> _T: ...
@overload
async def eventually(fact: Callable[[], _T], within: float = 10.0) -> _T: ...
async def eventually(fact: Callable[[], object], within: float = 10.0) -> object:
    """What `fact` returns (awaited if need be) as soon as that is truthy. Raises TimeoutError if it is not in time."""
    until = time.monotonic() + within
    while True:
        found = fact()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        if time.monotonic() > until:
            raise TimeoutError(f"still not so after {within:g} s: {fact}")
        await pause(0.01)
