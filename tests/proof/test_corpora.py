"""The corpora are as large and as varied as is said of them."""

from collections import Counter
from random import Random

import pytest

from agentvine.domain.worker_types import TaskType
from tests.proof.case import Case
from tests.proof.corpora import CHEATS, HONEST, share
from tests.proof.repositories import ECOSYSTEMS, REPOSITORIES


def test_they_are_large_enough() -> None:
    assert len(CHEATS) >= 60
    assert len(HONEST) >= 30
    names = Counter(case.name for case in (*CHEATS, *HONEST))
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("cases", [CHEATS, HONEST], ids=["cheats", "honest"])
def test_they_are_of_all_types_in_all_ecosystems(cases: tuple[Case, ...]) -> None:
    assert {case.type for case in cases} == set(TaskType)
    assert {ECOSYSTEMS[case.base] for case in cases} >= {"Python", "Node.js", "Go", "make"}


@pytest.mark.parametrize("cases", [CHEATS, HONEST], ids=["cheats", "honest"])
def test_every_edit_changes_something(cases: tuple[Case, ...]) -> None:
    """A replacement that finds nothing to replace makes a case that tries nothing."""
    for case in cases:
        files = dict(REPOSITORIES[case.base])
        for turn in case.turns:
            idle = [path for path, content in turn.files.items() if files.get(path) == content]
            assert idle == [], case.name
            files.update({path: content or "" for path, content in turn.files.items()})


def test_each_cheat_is_caught_by_something() -> None:
    assert [cheat.name for cheat in CHEATS if cheat.caught_by in {"", "?"}] == []


def test_a_share_has_of_each_kind() -> None:
    drawn = share(CHEATS, 24, Random(3))
    assert {case.type for case in drawn} == set(TaskType)
    assert len({ECOSYSTEMS[case.base] for case in drawn}) >= 4
    assert drawn == share(CHEATS, 24, Random(3)) != share(CHEATS, 24, Random(4))
