"""A part whose event loop answers is left alone; one that has answered and does no more is ended."""

import asyncio
import os
import socket
from math import inf
from threading import Event

from agentvine.kit.pulse import Asked, answering
from agentvine.testing.eventually import eventually

SILENCE = 0.24
"""Seconds: it is asked every 20 ms, and may miss twelve times."""
MANY = 40


class Hanging:
    """Runs until it is ended, in the loop of the test; counts what it is asked, and answers if it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers_after = inf
        """So many times it was asked in vain."""
        self.stands_still_at = inf
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def start(self, descriptor: int) -> "Hanging":
        self._socket = socket.socket(fileno=os.dup(descriptor))  # as a process inherits it
        asyncio.get_running_loop().add_reader(self._socket, self._hear)
        return self

    def _hear(self) -> None:
        self.asked += len(self._socket.recv(100))
        if self.asked >= self.stands_still_at:  # and its parent, too, as on a laptop that is shut
            self.stands_still_at = inf
            Event().wait(4 * SILENCE)
        if self.asked > self.answers_after:
            self._socket.send(b"!")

    async def asked_often(self) -> None:
        until = self.asked + MANY
        await eventually(lambda: self.asked >= until or self.ended.done())

    @property
    def exit_code(self) -> int | None:
        return self.ended.result() if self.ended.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    async def terminate(self, grace: float) -> int:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self.ended.set_result(137)
        return 137


async def test_who_answered_and_does_no_more_is_ended() -> None:
    part = Hanging()
    asked = await Asked.started(part.start, "part", SILENCE)
    waiting = asyncio.create_task(asked.wait())
    await part.asked_often()
    assert asked.exit_code is None, "it is still starting"
    part.answers_after = 0
    await part.asked_often()
    assert asked.exit_code is None
    for _ in range(2):  # together it misses more than it may in a row
        part.stands_still_at, part.answers_after = part.asked + 3, part.asked + 8
        await part.asked_often()
        assert asked.exit_code is None
    part.answers_after = inf
    async with asyncio.timeout(60):
        assert await waiting == asked.exit_code == 137


async def test_it_is_answered_until_the_block_is_left() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours:
        with answering(theirs):
            for _ in range(2):
                ours.send(b"?")
                await eventually(lambda: _heard(ours))
        assert theirs.fileno() == -1


def _heard(ours: socket.socket) -> bytes:
    try:
        return ours.recv(100)
    except BlockingIOError:
        return b""
