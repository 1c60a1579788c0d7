"""Cheats are refused, by the check that is there for it, and nothing of them reaches the remote."""

from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.domain.evidence import CheckOutcome, Evidence
from agentvine.domain.work_order import OrderStatus
from agentvine.worker.conclusion import Failed
from agentvine.worker.verification.verify import Subject, Verifier
from tests.proof.case import Cheat
from tests.proof.corpora import CHEATS
from tests.proof.court import Court


async def test_it_is_refused(cheat: Cheat, court: Court) -> None:
    trial = await court.try_(cheat)
    assert trial.order.status is OrderStatus.FAILED, str(trial)
    assert isinstance(trial.conclusion, Failed)
    assert not trial.left, trial.refs
    assert cheat.caught_by in trial.failing, trial.failing
    assert len(trial.told) == len(cheat.turns)


async def test_the_agent_is_told_exactly_and_three_times(court: Court) -> None:
    """What is missing is said by the name of its check, each time; then the order fails with the evidence."""
    (cheat,) = [one for one in CHEATS if one.name == "cheats_otherwise_each_time_it_is_told"]
    trial = await court.try_(replace(cheat, name="told_three_times"))
    first, *repairs = trial.told
    assert "no test fails on the base's code" not in first
    assert len(repairs) == 3
    assert all(
        "**a test reproduces the bug**: no test fails on the base's code and passes on yours" in one
        for one in repairs[:2]
    )
    assert "test_discount" in repairs[2]
    assert isinstance(trial.conclusion, Failed)
    assert trial.conclusion.failure.detail.startswith("after 3 repairs: ")
    assert trial.evidence is not None
    assert trial.evidence.repairs == 3
    assert not trial.left


class Blind(Verifier):
    """Runs everything, and finds everything in order."""

    async def verify(self, subject: Subject) -> Evidence:
        evidence = await super().verify(subject)
        passed = [check.model_copy(update={"outcome": CheckOutcome.PASSED}) for check in evidence.checks]
        return evidence.model_copy(update={"checks": tuple(passed)})


async def test_only_the_checks_keep_cheats_from_being_delivered(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Without them every one of these would be in the remote, so it is they that the corpus tries."""
    court = Court(tmp_path, verifier_of=Blind)
    names = ("deletes_the_failing_test", "docs_link_to_nothing", "fix_without_a_test", "feature_without_tests")
    for name in names if request.config.getoption("--every-case") else names[:2]:
        (cheat,) = [one for one in CHEATS if one.name == name]
        trial = await court.try_(cheat)
        assert trial.order.status is OrderStatus.COMPLETED, str(trial)
        assert trial.left
