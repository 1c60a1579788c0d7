"""One command in a box: the files that its start needs, the task that serves and watches it, and their end."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp

from agentvine.worker.sandbox import front
from agentvine.worker.sandbox.limits import Breach
from agentvine.worker.sandbox.profile import Record
from agentvine.worker.sandbox.reception import Reception
from agentvine.worker.sandbox.supervision import Service, Supervision
from agentvine.worker.sandbox.watch import Watch

_FRONT = str(Path(front.__file__))


class Session:
    """Made in the event loop; `prepare` it, start `argv` once, and `close` it."""

    def __init__(self, private: Path, watch: Watch, services: Sequence[Service]) -> None:
        self._folder = Path(mkdtemp(prefix="box-", dir=private))
        self._reception = Reception(self._folder)
        self._supervision = Supervision(self._reception, watch, services)
        self._task: asyncio.Task[None] | None = None
        self.argv = (sys.executable, "-I", "-S", "-B", _FRONT, str(self.place("plan")))
        """What is to be started, beneath a guardian."""

    def place(self, name: str) -> Path:
        """A path in the session's own directory."""
        return self._folder / name

    def prepare(self, records: Iterable[Record], system_call_filter: bytes) -> None:
        """Write what front.py reads, and begin to wait for the box. Raises OSError, ValueError."""
        everything = [("control", str(self._reception.address)), *records]
        if any("\0" in value for _, value in everything):
            raise ValueError("a command or its environment holds a NUL character")
        self.place("filter").write_bytes(system_call_filter)
        plan = "".join(f"{kind} {value}\0" for kind, value in everything)
        self.place("plan").write_bytes(plan.encode("utf-8", "surrogateescape"))
        self._reception.open()
        self._task = asyncio.create_task(self._supervision.run(), name=f"box {self._folder.name}")

    @property
    def breach(self) -> Breach | None:
        """The limit for which the box was ended, if it was."""
        return self._supervision.breach

    @property
    def started(self) -> bool:
        """Whether everything was ready for the command."""
        return self._reception.listeners.done() and not self._reception.listeners.cancelled()

    @property
    def absent(self) -> str | None:
        """Why the command could not be started, if it was missing or no program."""
        return self._reception.absent

    def end(self, breach: Breach) -> None:
        """Kill everything in the box, because it went over a limit."""
        self._supervision.end(breach)

    async def close(self) -> None:
        """Kill what still runs, stop serving, and remove the files. Raises what made serving or watching fail."""
        self._reception.drain()
        self._supervision.kill()
        try:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
        finally:
            self._reception.close()
            with contextlib.suppress(OSError):
                shutil.rmtree(self._folder)
        if self._task is not None and not self._task.cancelled():
            self._task.result()
