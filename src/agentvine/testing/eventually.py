"""Waiting for facts in tests: bounded, and without a guess at how long something takes."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

from agentvine.kit.doorbell import pause

_T = TypeVar("_T")
PATIENCE = 120.0
"""Seconds. Only who waits in vain waits that long: it is for the slowest machine, not for the usual one."""
_FIRST, _LONGEST, _SHARE, _TIMES = 0.01, 0.1, 0.03, 9
"""Pauses between looks, in seconds, as a share of the time waited, and as so many times the time that the look took:
looking takes from what is waited for."""


@overload
async def eventually(fact: Callable[[], Awaitable[_T]], within: float = PATIENCE) -> _T: ...
@overload
async def eventually(fact: Callable[[], _T], within: float = PATIENCE) -> _T: ...
async def eventually(fact: Callable[[], object], within: float = PATIENCE) -> object:
    """What `fact` returns (awaited if need be) as soon as that is truthy. Raises TimeoutError if it is not in time."""
    began = time.monotonic()
    while True:
        looked = time.monotonic()
        found = fact()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        now = time.monotonic()
        if now - began > within:
            raise TimeoutError(f"still not so after {within:g} s: {fact}")
        await pause(min(max(_FIRST + _SHARE * (now - began), _TIMES * (now - looked)), _LONGEST))
