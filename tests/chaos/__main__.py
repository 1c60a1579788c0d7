"""`python -m tests.chaos`: the crash matrix, zombies, and a fleet under faults. The exit code is the checker's."""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.cells import Row, all_cells, play_all
from tests.chaos.faults import schedule
from tests.chaos.foundry import Foundry
from tests.chaos.ground import Template, make_template
from tests.chaos.kills import kills
from tests.chaos.outcome import Plan, summary
from tests.chaos.run import run
from tests.chaos.zombies import zombies


@asynccontextmanager
async def workshop(where: Path) -> AsyncIterator[tuple[Foundry, Template]]:
    """A foundry, and what every ground begins with."""
    async with Foundry(where / "foundry") as foundry:
        yield foundry, await make_template(foundry, where / "template")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def told(row: Row) -> None:
    """One line of the table."""
    verdict = "ok" if not row.violations else "BROKEN"
    cell, ended = row.cell, f"{row.status:11}{row.attempts:9}{row.seconds:8.1f} s  {verdict}"
    say(f"{cell.point:28}{cell.action:12}{cell.story:9}{ended}")
    for violation in row.violations:
        say(f"    {violation}")


async def matrix(where: Path, at_once: int) -> bool:
    """Every failpoint, with kill -9, an error and a lost reply. True if nothing is broken."""
    cells, began = all_cells(), time.monotonic()
    say(f"{'point':28}{'action':12}{'story':9}{'ended as':11}{'attempts':>9}{'took':>10}")
    async with workshop(where) as (foundry, template):
        rows = await play_all(cells, foundry, template, where / "cells", at_once=at_once, told=told)
    broken = [row for row in rows if row.violations]
    actions = Counter(row.cell.action for row in rows)
    counted = ", ".join(f"{number} {action}" for action, number in sorted(actions.items()))
    say(f"{len(rows)} cells ({counted}), {len(broken)} broken, {time.monotonic() - began:.0f} s")
    return not broken


async def chaos(plan: Plan, where: Path) -> bool:
    """A fleet under faults. True if nothing is broken."""
    async with workshop(where) as (foundry, template):
        result = await run(plan, foundry, template, where / "run")
    say(summary(result))
    return not result.violations


async def frozen(number: int, seed: int, where: Path, at_once: int) -> bool:
    """Zombies. True if nothing is broken."""
    async with workshop(where) as (foundry, template):
        tally = await zombies(number, seed, foundry, template, where / "zombies", at_once=at_once)
    say(str(tally))
    return not tally.violations


async def killed(number: int, seed: int, where: Path) -> bool:
    """A server that is killed while it accepts. True if nothing is broken."""
    async with workshop(where) as (foundry, template):
        tally = await kills(number, seed, foundry, template, where / "kills")
    say(str(tally))
    return not tally.violations


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same faults")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long faults happen to a running fleet")
    parser.add_argument("--every", type=float, default=2.0, help="seconds from one fault to the next, on the average")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--without-claude", action="store_true", help="no share of orders with the real CLI")
    parser.add_argument("--planted", action="store_true", help="plant a bug, which has to be found")
    parser.add_argument("--matrix", action="store_true", help="the crash matrix")
    parser.add_argument("--zombies", type=int, default=0, help="so many workers that are frozen past their lease")
    parser.add_argument("--kills", type=int, default=0, help="so many deaths of a server while it accepts tasks")
    parser.add_argument("--at-once", type=int, default=4, help="cells of the matrix, or zombies, at the same time")
    parser.add_argument("--schedule", action="store_true", help="only print what would happen, and when")
    parser.add_argument("--keep", type=Path, help="do it in this new directory, and leave everything there")
    given = parser.parse_args()
    plan = Plan(
        given.seed,
        given.minutes * 60,
        given.workers,
        given.every,
        claude=not given.without_claude,
        planted=given.planted,
    )
    if given.schedule:
        for fault in schedule(plan.seed, plan.seconds, plan.workers, plan.lease, plan.every):
            say(str(fault))
        return 0
    with TemporaryDirectory(prefix="agentvine-chaos-", dir="/tmp") as temporary:
        where = given.keep or Path(temporary)
        sound = True
        if given.matrix:
            sound &= asyncio.run(matrix(where / "matrix", given.at_once))
        if given.kills:
            sound &= asyncio.run(killed(given.kills, given.seed, where / "killed"))
        if given.zombies:
            sound &= asyncio.run(frozen(given.zombies, given.seed, where / "frozen", given.at_once))
        if given.minutes:
            sound &= asyncio.run(chaos(plan, where / "chaos"))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
