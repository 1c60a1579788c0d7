"""Serves and watches one command in a box while it runs, and ends it when it goes over a limit."""

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from socket import socket
from typing import Protocol

from agentvine.kit.doorbell import Doorbell
from agentvine.worker.sandbox.limits import Breach
from agentvine.worker.sandbox.reception import Reception
from agentvine.worker.sandbox.watch import Watch

_INTERVAL = 0.2
_DISK_INTERVAL = 2.0
_RESTRAINT = 20
"""Of its time, a box with many files spends at most one part in so many on being measured."""


class Service(Protocol):
    """Something that answers on a listener that came out of a box."""

    async def serve(self, listener: socket) -> None:
        """Serve until cancelled; then close the listener and every connection."""
        ...


class Supervision:
    """One command's. `run` it in a task while the command lives."""

    def __init__(self, reception: Reception, watch: Watch, services: Sequence[Service]) -> None:
        self.breach: Breach | None = None
        """The limit for which the box was ended, if it was."""
        self._reception = reception
        self._watch = watch
        self._services = services
        self._gone = asyncio.Event()
        self._bell = Doorbell()

    def end(self, breach: Breach) -> None:
        """End the box for `breach`: at once, or as soon as it is there. The first reason stands."""
        self.breach = self.breach or breach
        self.kill()

    def kill(self) -> None:
        """Kill bubblewrap, if it is there; all that is inside dies with it."""
        if self._reception.process.done() and not self._reception.process.cancelled():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._reception.process.result()[1], signal.SIGKILL)

    async def run(self) -> None:
        """Serve and watch until the command has ended. If this fails, the box is ended: nothing runs unwatched."""
        try:
            pid, handle = await asyncio.shield(self._reception.process)
            if self.breach is not None:
                self.kill()
            loop = asyncio.get_running_loop()
            loop.add_reader(handle, self._ended, handle)
            try:
                async with asyncio.TaskGroup() as tasks:
                    serving = tasks.create_task(self._serve())
                    await self._attend(pid)
                    serving.cancel()
            finally:
                loop.remove_reader(handle)
        except BaseException:
            self.kill()
            raise

    def _ended(self, handle: int) -> None:
        asyncio.get_running_loop().remove_reader(handle)
        self._gone.set()
        self._bell.ring()

    async def _serve(self) -> None:
        if self._services:
            listeners = await asyncio.shield(self._reception.listeners)
            async with asyncio.TaskGroup() as tasks:
                for service, listener in zip(self._services, listeners, strict=True):
                    tasks.create_task(service.serve(listener))

    async def _attend(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        disk_at = loop.time() + _DISK_INTERVAL
        while not self._gone.is_set():
            await self._bell.wait(_INTERVAL)
            self._judge(await asyncio.to_thread(self._watch.processes, pid))
            if (began := loop.time()) >= disk_at and not self._gone.is_set():
                self._judge(await asyncio.to_thread(self._watch.disk))
                disk_at = loop.time() + max(_DISK_INTERVAL, _RESTRAINT * (loop.time() - began))

    def _judge(self, breach: Breach | None) -> None:
        if breach is not None:
            self.end(breach)
