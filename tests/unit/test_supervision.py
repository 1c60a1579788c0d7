"""A kept part is started again when it ends by itself, and ended for good with its block."""

import asyncio

import pytest

from agentvine.kit.backoff import Backoff
from agentvine.kit.supervision import Kept

AT_ONCE = Backoff(first=0.0, most=0.0)


class Part:
    """Something that runs until it is told otherwise."""

    def __init__(self) -> None:
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.grace: float | None = None

    @property
    def exit_code(self) -> int | None:
        return self._ended.result() if self._ended.done() else None

    def crash(self, code: int) -> None:
        self._ended.set_result(code)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def terminate(self, grace: float) -> int:
        self.grace = grace
        if not self._ended.done():
            self._ended.set_result(0)
        return self._ended.result()


class Starter:
    """Hands out parts, and tells when it did; fails the starts whose numbers are in `failing`."""

    def __init__(self, failing: tuple[int, ...] = ()) -> None:
        self.parts: asyncio.Queue[Part] = asyncio.Queue()
        self.calls = 0
        self._failing = failing

    async def __call__(self) -> Part:
        self.calls += 1
        if self.calls in self._failing:
            raise OSError("cannot start now")
        part = Part()
        self.parts.put_nowait(part)
        return part


async def test_a_part_that_ends_is_started_again() -> None:
    starter = Starter()
    async with asyncio.timeout(60), Kept("part", starter, 1.0, backoff=AT_ONCE) as kept:
        (await starter.parts.get()).crash(1)
        second = await starter.parts.get()
        assert kept.part is second
        assert kept.starts == 2


async def test_a_restart_that_fails_is_tried_again() -> None:
    starter = Starter(failing=(2, 3))
    async with asyncio.timeout(60), Kept("part", starter, 1.0, backoff=AT_ONCE):
        (await starter.parts.get()).crash(1)
        await starter.parts.get()
    assert starter.calls == 4


async def test_the_first_start_must_succeed() -> None:
    with pytest.raises(OSError, match="cannot start now"):
        async with Kept("part", Starter(failing=(1,)), 1.0):
            pytest.fail("entered")


async def test_leaving_ends_the_part_and_starts_no_other() -> None:
    starter = Starter()
    async with asyncio.timeout(60), Kept("part", starter, 7.0, backoff=AT_ONCE):
        part = await starter.parts.get()
    assert part.grace == 7.0
    assert starter.calls == 1


async def test_a_part_that_left_as_it_was_told_to_stays_away() -> None:
    starter = Starter()
    async with asyncio.timeout(60), Kept("part", starter, 7.0, backoff=AT_ONCE, left_with=0) as kept:
        (await starter.parts.get()).crash(1)
        (await starter.parts.get()).crash(0)
        await kept.gone.wait()
    assert starter.calls == 2
