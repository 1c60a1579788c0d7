"""A server that is killed again and again while tasks are submitted, its write-ahead log torn in between."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from agentvine.domain.errors import Unavailable
from agentvine.kit.doorbell import pause
from tests.chaos.foundry import Foundry
from tests.chaos.ground import Ground, Template, ground
from tests.chaos.history import Violation, check

_SUBMITTERS = 6


@dataclass(slots=True)
class Kills:
    """What came of it."""

    kills: int = 0
    torn: int = 0
    """How often something unfinished was left at the end of the log."""
    accepted: int = 0
    violations: list[Violation] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        lost = sum(one.invariant == "I1" for one in self.violations)
        said = f"the server was killed {self.kills} times in {self.seconds:.0f} s, its log torn {self.torn} times"
        return "\n".join([f"{said}: {self.accepted} orders accepted, {lost} lost", *map(str, self.violations)])


async def kills(number: int, seed: int, foundry: Foundry, template: Template, where: Path) -> Kills:
    """Kill the server `number` times; every task whose submission was answered has to be there at the end."""
    tally, random, began = Kills(), Random(seed), time.monotonic()
    async with ground(foundry, where, template) as here, asyncio.TaskGroup() as group:
        submitting = [group.create_task(_submit(here)) for _ in range(_SUBMITTERS)]
        await here.start_server()
        for _ in range(number):
            answered = len(here.accepted)
            while len(here.accepted) == answered:  # each of its lives has accepted something
                await pause(0.005)
            await pause(random.uniform(0.0, 0.15))
            await here.server.die()
            tally.kills += 1
            if random.random() < 0.5 and (file := here.ledger.file) is not None:
                tally.torn += _tear(file.with_name(f"{file.name}-wal"), random)
            await here.start_server()
        for task in submitting:
            task.cancel()
        await asyncio.wait(submitting)
        await here.end()
        tally.violations += await check(here.scene(drained=False))
        tally.accepted = len(here.accepted)
    tally.seconds = time.monotonic() - began
    return tally


async def _submit(here: Ground) -> None:
    while True:
        with suppress(Unavailable):  # killed each time before it came to this one
            await here.submit({})


def _tear(log: Path, random: Random) -> bool:
    """Leave at the end of the log what a write that was cut off leaves: a part of a frame, and garbage."""
    if not log.exists() or log.stat().st_size == 0:
        return False
    with log.open("ab") as file:
        file.write(random.randbytes(random.randrange(1, 8192)))
    return True
