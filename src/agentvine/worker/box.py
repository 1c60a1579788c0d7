"""Where the repository's own code runs: one box for each folder that is worked in.

The sandbox plugs in here. Until a worker has one, `DirectBoxes` runs everything on the machine itself and says so.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from agentvine.kit.process import Completed, ProcessNotFound, ProcessTimeout, run
from agentvine.worker.workspace import BoxRunner

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes of each output that are kept: enough for what `go test -json` says of a large repository."""
TIMED_OUT = 124
NOT_FOUND = 127
"""Exit codes as timeout(1) and the shell have them."""


class Boxes(Protocol):
    """Opens boxes."""

    @property
    def confinement(self) -> str:
        """How what runs in them is confined, in one line, for the evidence."""
        ...

    def box(self, folder: Path, private: Path) -> AbstractAsyncContextManager[BoxRunner]:
        """A box for `folder`. `private` is a directory of the execution's own, outside every workspace.

        Leaving the box ends everything that ran in it. Raises OSError if it cannot be made.
        """
        ...


class DirectBoxes:
    """No confinement: commands run as this user, with an environment built from `environment` alone."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    @property
    def confinement(self) -> str:
        return "none"

    @asynccontextmanager
    async def box(self, folder: Path, private: Path) -> AsyncIterator[BoxRunner]:
        """As in `Boxes`; HOME and TMPDIR are empty and go with it."""
        with TemporaryDirectory(prefix="box-", dir=private, ignore_cleanup_errors=True) as home:
            yield _DirectBox(folder, {**self._environment, "HOME": home, "TMPDIR": home})


class _DirectBox:
    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    async def __call__(self, argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
        cwd.relative_to(self._folder)
        return await run(argv, cwd=cwd, env=self._environment, timeout=timeout, output_limit=OUTPUT_LIMIT, guarded=True)


async def attempt(box: BoxRunner, argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
    """Run a command of the repository's. That it takes too long or cannot be started is a result: an exit code."""
    try:
        return await box(argv, cwd=cwd, timeout=timeout)
    except ProcessTimeout as late:
        done = late.completed
        said = f"{done.stderr}\nkilled: it had not ended after {timeout:g} s"
        return Completed(done.argv, TIMED_OUT, done.stdout, said, done.seconds, done.truncated, done.raw)
    except ProcessNotFound as missing:
        return Completed(tuple(argv), NOT_FOUND, "", str(missing), 0.0, truncated=False)
