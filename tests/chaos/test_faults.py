"""A share of the fault suite for every change; `make chaos` runs all of it."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.__main__ import workshop
from tests.chaos.cells import Cell, Row, all_cells, play_all
from tests.chaos.faults import KINDS, schedule
from tests.chaos.history import Violation
from tests.chaos.outcome import Plan, Result, summary
from tests.chaos.run import run
from tests.chaos.zombies import zombies

SHARE = (
    Cell("submit.after_commit", "reply_lost"),
    Cell("claim.after_commit", "kill9"),
    Cell("start.after_reply", "kill9"),
    Cell("result.after_evidence", "kill9", "branch"),
    Cell("deliver.after_intent", "kill9"),
    Cell("push.before_confirmation", "kill9"),
    Cell("push.before_confirmation", "reply_lost", "branch"),
    Cell("deliver.after_push", "kill9", "branch"),
    Cell("complete.before_commit", "kill9", "branch"),
    Cell("complete.after_commit", "kill9"),
    Cell("complete.after_commit", "reply_lost", "branch"),
    Cell("park.after_commit", "reply_lost", "ask"),
)
"""Of each kind of place one: between every two of these something outside this process has changed."""


@pytest.mark.timeout(240)
async def test_faults_lose_nothing_and_do_nothing_twice_and_a_planted_bug_is_found(tmp_path: Path) -> None:
    async with workshop(tmp_path) as (foundry, template):
        async with asyncio.TaskGroup() as group:
            matrix = group.create_task(play_all(SHARE, foundry, template, tmp_path / "cells", at_once=3))
            plan = Plan(seed=7, seconds=10.0, workers=3, every=0.8, in_flight=4, claude=False, patience=60)
            chaos = group.create_task(run(plan, foundry, template, tmp_path / "run"))
            frozen = group.create_task(zombies(2, 7, foundry, template, tmp_path / "frozen"))
        found: set[str] = set()
        told: list[object] = []
        for seed in (7, 8, 9):  # on a busy machine one may give up before it is frozen
            planted = await zombies(1, seed, foundry, template, tmp_path / f"planted-{seed}", planted=True)
            found |= {one.invariant for one in planted.violations if isinstance(one, Violation)}
            told += planted.violations
            if found:
                break

    rows: list[Row] = matrix.result()
    result: Result = chaos.result()
    assert [(str(row.cell), row.violations) for row in rows if row.violations] == []
    assert result.violations == [], summary(result)
    assert result.orders["completed"] > 0
    assert result.kills > 0
    assert frozen.result().violations == []
    assert frozen.result().zombies == 2
    assert "I3" in found, f"a server that believes stale lease tokens was not found out: {told}"


def test_the_same_seed_gives_the_same_faults() -> None:
    first, again, other = (schedule(seed, 600, 4, 4.0, 1.0) for seed in (1, 1, 2))
    assert first == again != other
    assert {fault.kind for fault in first} == set(KINDS)


def test_the_share_is_of_the_matrix() -> None:
    assert set(SHARE) <= set(all_cells())
