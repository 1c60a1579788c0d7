"""`agentvine up` as a process of the demo, and other commands of `agentvine` beside it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.demo.repositories import DemoFailed
from agentvine.domain.base import Model
from agentvine.kit.doorbell import pause
from agentvine.kit.process import run, spawn

_LONGEST_START = 60.0
_LONGEST_COMMAND = 60.0
_LOOK_SECONDS = 0.05
_UP_GRACE = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays, and with what."""

    environment: Mapping[str, str] = field(repr=False)
    """What the workers are given: PATH, and with `real` the model's key."""
    keep: Path | None = None
    """A directory, empty or not there yet, in which everything stays."""
    real: bool = False
    sandbox: str | None = None
    """What confines the agents, if it is not the default."""


class Context(Model):
    """What `agentvine up` leaves for other commands."""

    url: str
    key: str


@asynccontextmanager
async def fleet(where: Path, stage: Stage, workers: str, more: Mapping[str, str]) -> AsyncIterator[Context]:
    """`agentvine up` in `where` with `workers` (as its option takes them) and `more` variables; ended with the block.

    Raises DemoFailed, with what it said, if it does not start.
    """
    context = _context(where)
    argv = [sys.executable, "-m", "agentvine", "up", "--data", str(where / "data"), "--port", "0", "--workers", workers]
    log = where / "up.log"
    argv += ["--sandbox", stage.sandbox] if stage.sandbox else []
    variables = {**stage.environment, **more, "AGENTVINE_CONTEXT": str(context)}
    running = await spawn(argv, cwd=where, env=variables, output=log, grace=_UP_GRACE, guarded=True)
    try:
        async with asyncio.timeout(_LONGEST_START):
            while not context.exists():
                if running.exit_code is not None:
                    raise DemoFailed(f"`agentvine up` ended:\n{log.read_text(errors='replace')[-2000:]}")
                await pause(_LOOK_SECONDS)
        yield Context.model_validate_json(context.read_bytes())
    finally:
        await running.terminate(_UP_GRACE)


async def command(where: Path, stage: Stage, *arguments: str, stdin: str | None = None) -> str:
    """What `agentvine arguments…` prints, for the fleet in `where`. Raises DemoFailed with its words."""
    done = await run(
        [sys.executable, "-m", "agentvine", *arguments],
        cwd=where,
        env={**stage.environment, "AGENTVINE_CONTEXT": str(_context(where))},
        stdin=None if stdin is None else stdin.encode(),
        timeout=_LONGEST_COMMAND,
    )
    if done.exit_code:
        raise DemoFailed(f"`agentvine {' '.join(arguments)}` failed: {done.stderr.strip()[-1000:]}")
    return done.stdout


def _context(where: Path) -> Path:
    return where / "context.json"
