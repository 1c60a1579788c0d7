"""Workers that are stopped at every place past the end of their lease, and then go on as if nothing had happened."""

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from agentvine.domain.task import Task
from agentvine.kit import failpoints
from agentvine.testing.eventually import eventually
from tests.chaos.foundry import Born, Foundry
from tests.chaos.ground import Ground, Template, ground
from tests.chaos.history import Violation, check

LEASE = 1.5
_LONG = 5.0
"""Seconds in which one that is waked speaks, if the machine is not all too busy."""
_EACH = 10
"""Zombies on one ground, one after the other."""
_WHERE = ("start.", "work.", "result.", "deliver.", "push.", "propose.")
_PLACES = (*(name for name in failpoints.WORKER_POINTS if name.startswith(_WHERE)), "report.before")


@dataclass(slots=True)
class Tally:
    """What became of them."""

    zombies: int = 0
    places: Counter[str] = field(default_factory=Counter)
    too_late: int = 0
    """Zombies whose order somebody else had completed before they went on."""
    violations: list[Violation | str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        broken = Counter(one.invariant if isinstance(one, Violation) else "?" for one in self.violations)
        places = ", ".join(f"{name} {number}" for name, number in sorted(self.places.items()))
        lines = [
            f"{self.zombies} zombies in {self.seconds:.0f} s; stopped at {places}",
            f"went on after another worker had completed their order: {self.too_late}",
            f"duplicate completions {broken['I2']}, duplicate deliveries {broken['I4']}, late writes {broken['I3']}",
            f"broken in all {len(self.violations)}",
        ]
        return "\n".join([*lines, *map(str, self.violations)])


async def zombies(
    number: int,
    seed: int,
    foundry: Foundry,
    template: Template,
    where: Path,
    *,
    at_once: int = 4,
    lease: float = LEASE,
    planted: bool = False,
) -> Tally:
    """Let `number` of them happen, on several grounds at once. `planted`: with a server that believes them."""
    tally, began, random = Tally(), time.monotonic(), Random(seed)
    batches = [min(_EACH, number - first) for first in range(0, number, _EACH)]
    waiting = [(index, batch, Random(random.getrandbits(64))) for index, batch in enumerate(batches)]

    async def hand() -> None:
        while waiting:
            index, batch, luck = waiting.pop(0)
            async with ground(foundry, where / f"{index:03}", template, lease, forge=True) as here:
                await _batch(batch, luck, here, tally, planted)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(hand())
    tally.seconds = time.monotonic() - began
    return tally


async def _batch(number: int, random: Random, here: Ground, tally: Tally, planted: bool) -> None:
    await here.start_server("lease.unchecked:plant" if planted else "")
    for _ in range(number):
        place = "report.before" if planted else random.choice(_PLACES)
        works = _LONG if planted else 0.0 if random.random() < 0.7 else 1.0
        try:
            await _one(here, place, random, tally, works)
        except TimeoutError as error:
            tally.violations.append(f"{here.where.name}, {place}: {error}")
    await here.end()
    tally.violations += await check(here.scene())


async def _one(here: Ground, place: str, random: Random, tally: Tally, works: float) -> None:
    """It stops itself at the place, and goes on when another worker is in the middle of its work, which takes so many
    seconds; or has done it, if that takes none."""
    overtaken = not works
    in_line = place.startswith(("deliver.", "push."))  # whoever is frozen there keeps others from pushing to the branch
    on_the_forge = place.startswith("propose.") or random.random() < 0.3
    level = "supervised" if on_the_forge or (in_line and overtaken) else random.choice(["autonomous", "supervised"])
    assert here.forge is not None
    repository = here.forge.url if on_the_forge else str(here.remote)
    zombie = await here.start_worker("", f"{place}:stop")
    task = await here.submit({"seconds": works}, permission_level=level, repository=repository)
    await eventually(lambda: _is_frozen(here, zombie, task), 120)
    other = await here.start_worker()
    if overtaken:
        await here.over(task)
        tally.too_late += 1
    else:
        await eventually(lambda: _claimed_twice(here, task.id), 120)
    zombie.tell(signal.SIGCONT)
    await here.over(task)
    tally.zombies += 1
    tally.places[place] += 1
    for worker in (zombie, other):
        await worker.leave()
    here.workers.clear()


async def _is_frozen(here: Ground, zombie: Born, task: Task) -> bool:
    if not zombie.is_stopped():
        await here.requeued(await here.desk.task(task.id))
        return False
    return True


async def _claimed_twice(here: Ground, task_id: str) -> bool:
    return (await here.desk.task(task_id)).order.attempts > 1
