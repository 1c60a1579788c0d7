"""The parts of the suite, each with what it prints. They return True if nothing is broken."""

import asyncio
import sys
import time
from argparse import Namespace
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.cells import Row, all_cells, play_all
from tests.chaos.faults import schedule
from tests.chaos.foundry import Foundry
from tests.chaos.ground import Template
from tests.chaos.kills import kills
from tests.chaos.leaving import leaving
from tests.chaos.outcome import Plan, summary
from tests.chaos.run import left_out, run
from tests.chaos.soak import Samples
from tests.chaos.workshop import workshop
from tests.chaos.zombies import zombies


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


@dataclass(frozen=True, slots=True)
class Bench:
    """Where, with which database, and how much at the same time."""

    where: Path
    database: str
    at_once: int
    seed: int

    def workshop(self, name: str) -> AbstractAsyncContextManager[tuple[Foundry, Template]]:
        """One for a part of the run."""
        return workshop(self.where / name, self.database)

    async def matrix(self) -> bool:
        """Every failpoint, with kill -9, an error and a lost reply. True if nothing is broken."""
        cells, began = all_cells(), time.monotonic()
        say(f"{'point':28}{'action':12}{'story':9}{'ended as':11}{'attempts':>9}{'took':>10}")
        async with self.workshop("matrix") as (foundry, template):
            where = self.where / "matrix" / "cells"
            rows = await play_all(cells, foundry, template, where, at_once=self.at_once, told=told)
        broken = [row for row in rows if row.violations]
        actions = Counter(row.cell.action for row in rows)
        counted = ", ".join(f"{number} {action}" for action, number in sorted(actions.items()))
        say(f"{len(rows)} cells ({counted}), {len(broken)} broken, {time.monotonic() - began:.0f} s")
        return not broken

    async def fleet(self, plan: Plan) -> bool:
        """A fleet under faults. True if nothing is broken."""
        async with self.workshop("chaos") as (foundry, template):
            result = await run(plan, foundry, template, self.where / "chaos" / "run")
        say(summary(result))
        return not result.violations

    async def soak(self, plan: Plan) -> bool:
        """A fleet under few faults for long. True if nothing is broken, and nothing grows."""
        samples = Samples(self.where / "samples.jsonl")
        async with self.workshop("soak") as (foundry, template):
            result = await run(plan, foundry, template, self.where / "soak" / "run", samples.watch)
        say(summary(result))
        say(str(samples))
        trends = samples.trends()
        return not result.violations and bool(trends) and all(trend.flat for trend in trends)

    async def zombies(self, number: int, *, planted: bool) -> bool:
        """Workers that are frozen past their lease. True if nothing is broken."""
        async with self.workshop("frozen") as (foundry, template):
            where = self.where / "frozen" / "zombies"
            tally = await zombies(number, self.seed, foundry, template, where, at_once=self.at_once, planted=planted)
        say(str(tally))
        return not tally.violations

    async def leaving(self, runs: int) -> bool:
        """How long it takes to end. True if that is within the limits."""
        async with self.workshop("leaving") as (foundry, template):
            timings = await leaving(runs, foundry, template, self.where / "leaving" / "run")
        say(str(timings))
        return timings.sound

    async def kills(self, number: int) -> bool:
        """A server that is killed while it accepts. True if nothing is broken."""
        async with self.workshop("killed") as (foundry, template):
            tally = await kills(number, self.seed, foundry, template, self.where / "killed" / "kills")
        say(str(tally))
        return not tally.violations


def plan_of(given: Namespace) -> Plan:
    """Of a fleet."""
    return Plan(
        given.seed,
        given.minutes * 60,
        given.workers,
        given.servers,
        given.every,
        claude=not given.without_claude,
        planted=given.planted,
        small_disks=given.small_disks,
    )


def do(given: Namespace, where: Path) -> bool:
    """What the command line says, in a directory."""
    bench, plan, sound = Bench(where, given.database, given.at_once, given.seed), plan_of(given), True
    if given.matrix:
        sound &= asyncio.run(bench.matrix())
    if given.kills:
        sound &= asyncio.run(bench.kills(given.kills))
    if given.zombies:
        sound &= asyncio.run(bench.zombies(given.zombies, planted=given.planted))
    if given.leaving:
        sound &= asyncio.run(bench.leaving(given.leaving))
    if given.minutes:
        sound &= asyncio.run(bench.fleet(plan))
    if given.soak:
        sound &= asyncio.run(bench.soak(plan.slow(given.soak * 60)))
    return sound


def show(given: Namespace) -> None:
    """Which faults there would be, and when."""
    plan = plan_of(given)
    without = left_out(plan, given.database)
    for fault in schedule(plan.seed, plan.seconds, plan.workers, plan.lease, plan.every, without):
        say(str(fault))
