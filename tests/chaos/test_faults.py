"""A share of the fault suite for every change; `make chaos` runs all of it."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.cells import Cell, Row, all_cells, play_all
from tests.chaos.faults import KINDS, schedule
from tests.chaos.outcome import Plan, Result, summary
from tests.chaos.run import run
from tests.chaos.workshop import workshop
from tests.chaos.zombies import zombies

SHARE = (
    Cell("submit.after_commit", "reply_lost"),
    Cell("claim.after_commit", "kill9"),
    Cell("push.before_confirmation", "kill9"),
    Cell("propose.after_reply", "kill9", "pull"),
    Cell("complete.after_commit", "kill9"),
)
"""Between every two of these something outside the process that breaks has changed."""
PLAN = Plan(
    seed=7,
    seconds=5.0,
    workers=2,
    servers=2,
    every=0.5,
    in_flight=3,
    claude=False,
    misbehaving=False,
    without=frozenset(
        {
            "freeze before a report",
            "remote hangs",
            "remote fails",
            "remote moved",
            "remote loses replies",
            "forge misbehaves",
        }
    ),
    patience=300,
)


@pytest.mark.timeout(600)
async def test_faults_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    """That a bug would be found is shown by test_checker.py."""
    async with workshop(tmp_path) as (foundry, template), asyncio.TaskGroup() as group:
        matrix = group.create_task(play_all(SHARE, foundry, template, tmp_path / "cells", at_once=4))
        chaos = group.create_task(run(PLAN, foundry, template, tmp_path / "run"))
        frozen = group.create_task(zombies(1, 7, foundry, template, tmp_path / "frozen", lease=5.0))

    rows: list[Row] = matrix.result()
    result: Result = chaos.result()
    assert [(str(row.cell), row.violations) for row in rows if row.violations] == []
    assert result.violations == [], summary(result)
    assert result.orders["completed"] > 0
    assert sum(result.faults.values()) > 5
    assert frozen.result().violations == []
    assert frozen.result().zombies == 1


def test_the_same_seed_gives_the_same_faults() -> None:
    first, again, other = (schedule(seed, 600, 4, 4.0, 1.0) for seed in (1, 1, 2))
    assert first == again != other
    assert {fault.kind for fault in first} == set(KINDS)


def test_the_share_is_of_the_matrix() -> None:
    assert set(SHARE) <= set(all_cells())
