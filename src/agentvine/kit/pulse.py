"""Whether the event loop of a process that was started here still turns: it is asked over a socket, and has to answer.

A process that hangs lives, and its port goes on taking connections. Only its own loop can say that it does not hang,
so it is asked by a socket that nobody else has: the parent keeps one end, the process inherits the other.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.kit.supervision import Part

_LOOKS = 12
"""So often in a row it may have said nothing. Looks are counted, not seconds: if the parent or the whole machine stood
still meanwhile, there were none, and afterwards the process has as much time as ever."""
_QUESTION, _ANSWER = b"?", b"!"
_log = logger("pulse")


@contextmanager
def answering(asked: socket.socket) -> Iterator[None]:
    """Answer the parent from the running event loop while the block runs. The socket is closed at the end."""
    loop = asyncio.get_running_loop()
    asked.setblocking(False)

    def answer() -> None:
        try:
            if asked.recv(4096):
                asked.send(_ANSWER)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        loop.remove_reader(asked)  # the parent is gone, or it is no such socket

    with asked:
        loop.add_reader(asked, answer)
        try:
            yield
        finally:
            loop.remove_reader(asked)


class Asked:
    """A part (`kit.supervision.Part`) that is ended when its event loop has not answered for `silence` seconds.

    That counts from its first answer on: how long a start takes, nobody can say.
    """

    def __init__(self, part: Part, asking: socket.socket, name: str, silence: float) -> None:
        self._part = part
        self._asking = asking
        self._name = name
        self._silence = silence
        self._answered = False

    @classmethod
    async def started(cls, start: Callable[[int], Awaitable[Part]], name: str, silence: float) -> "Asked":
        """Start it. `start` is given the descriptor that the process has to inherit; what it raises is raised."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                part = await start(theirs.fileno())
            except BaseException:
                ours.close()
                raise
        return cls(part, ours, name, silence)

    @property
    def exit_code(self) -> int | None:
        return self._part.exit_code

    async def wait(self) -> int:
        """Wait until it has ended, by itself or because it was silent. Only now it is asked."""
        looking = asyncio.create_task(self._look())
        try:
            return await self._part.wait()
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            self._asking.close()

    async def terminate(self, grace: float) -> int:
        return await self._part.terminate(grace)

    async def _look(self) -> None:
        silent = 0
        while silent < _LOOKS:
            self._ask()
            await pause(self._silence / _LOOKS)
            silent = 0 if self._heard() or not self._answered else silent + 1
        _log.error("its event loop does not answer; it is ended", name=self._name, seconds=self._silence)
        await self._part.terminate(0)

    def _ask(self) -> None:
        with suppress(OSError):  # it has not read for long; it has ended
            self._asking.send(_QUESTION)

    def _heard(self) -> bool:
        try:
            heard = bool(self._asking.recv(4096))
        except OSError:
            heard = False
        self._answered = self._answered or heard
        return heard
