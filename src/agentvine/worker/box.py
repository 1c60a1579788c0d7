"""Where the repository's own code runs: one box for each folder that is worked in, made by the worker's sandbox."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentvine.kit.process import Completed, ProcessNotFound, ProcessTimeout
from agentvine.worker.access import Access
from agentvine.worker.checkout import Checkout
from agentvine.worker.sandbox.base import Box, BoxSpec, Sandbox, Upstream
from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.workspace import BoxRunner

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes of each output that are kept: enough for what `go test -json` says of a large repository."""
TIMED_OUT = 124
NOT_FOUND = 127
"""Exit codes as timeout(1) and the shell have them."""


@dataclass(frozen=True, slots=True)
class OpenBox:
    """Implements `BoxRunner`: runs commands in `inner`, with the tool chain's environment."""

    inner: Box
    environment: Mapping[str, str]
    online: bool = True

    @property
    def offline(self) -> "OpenBox":
        """The same box, for commands that have no business outside."""
        return replace(self, online=False)

    async def __call__(self, argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
        """As in `Box.run`."""
        return await self.inner.run(
            argv, cwd=cwd, timeout=timeout, env=self.environment, network=self.online, output_limit=OUTPUT_LIMIT
        )


@dataclass(frozen=True, slots=True)
class Boxes:
    """Opens boxes. `environment` is what commands need to find their tools; `limits` hold for each box."""

    sandbox: Sandbox
    environment: Mapping[str, str]
    limits: Limits = field(default_factory=Limits)

    @property
    def confinement(self) -> str:
        """How what runs in them is confined, in one line, for the evidence."""
        return self.sandbox.confinement

    @asynccontextmanager
    async def box(
        self,
        checkout: Checkout,
        private: Path,
        access: Access,
        *,
        wished: Sequence[str] = (),
        upstream: Upstream | None = None,
    ) -> AsyncIterator[OpenBox]:
        """A box for `checkout`. `private` is a directory of the execution's own, outside every checkout.

        `wished` are the hosts that the repository asks for; with `upstream` what is launched inside has a model.
        Leaving the box ends everything that ran in it. Raises OSError if it cannot be made.
        """
        spec = BoxSpec(
            workspace=checkout.path,
            private=private,
            limits=self.limits,
            readable=checkout.borrowed,
            hosts=access.hosts(wished),
            upstream=upstream,
            record=access.journal.note,
        )
        async with self.sandbox.box(spec) as inner:
            yield OpenBox(inner, self.environment)


async def attempt(box: BoxRunner, argv: Sequence[str], *, cwd: Path, timeout: float) -> Completed:
    """Run a command of the repository's. That it takes too long or cannot be started is a result: an exit code.

    Raises LimitExceeded.
    """
    try:
        return await box(argv, cwd=cwd, timeout=timeout)
    except ProcessTimeout as late:
        done = late.completed
        said = f"{done.stderr}\nkilled: it had not ended after {timeout:g} s"
        return Completed(done.argv, TIMED_OUT, done.stdout, said, done.seconds, done.truncated, done.raw)
    except ProcessNotFound as missing:
        return Completed(tuple(argv), NOT_FOUND, "", str(missing), 0.0, truncated=False)
