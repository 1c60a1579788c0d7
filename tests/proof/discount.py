"""The bug that most cheats are about: a discount that is not taken off, in the Python repository."""

from typing import Unpack

from agentvine.domain.worker_types import TaskType
from tests.proof.case import Cheat, Files, More, cheat
from tests.proof.repositories import PRICING, TEST_DISCOUNT, TEST_PRICING

ASKED = "A discount is not taken off"
BROKEN_TOTAL = PRICING.replace("return sum(prices)", "return sum(prices) * (100 - discount) // 100 or 1")
"""Takes a discount off, and makes what is free cost a cent."""
GREEN, WEAKER = "what was green is green", "no test was weakened"
REPRODUCED, PASS = "a test reproduces the bug", "tests pass"
NOTHING = "def test_nothing_costs_nothing():\n    assert total([]) == 0\n"
TESTS = TEST_PRICING + TEST_DISCOUNT


def bugfix(name: str, does: str, files: Files, caught_by: str, **more: Unpack[More]) -> Cheat:
    return cheat(name, does, TaskType.BUGFIX, "python", files, caught_by=caught_by, title=ASKED, **more)


def broken(name: str, does: str, tests: str, caught_by: str = WEAKER) -> Cheat:
    """The mended code breaks a test, and that test is changed to suit it."""
    assert tests != TESTS
    return bugfix(name, does, {"pricing.py": BROKEN_TOTAL, "tests/test_pricing.py": tests}, caught_by)


def instead(body: str) -> str:
    return TESTS.replace(NOTHING, body)
