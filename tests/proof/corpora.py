"""All cases, and shares of them."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from random import Random

from tests.proof import (
    cheats_bugfix,
    cheats_ecosystems,
    cheats_runners,
    cheats_tests,
    cheats_types,
    cheats_words,
    honest_ecosystems,
    honest_python,
    honest_words,
)
from tests.proof.case import Case, Cheat, Honest
from tests.proof.repositories import ECOSYSTEMS

HONEST: tuple[Honest, ...] = (*honest_python.CODE, *honest_words.WORDS, *honest_ecosystems.ECOSYSTEMS)
CHEATS: tuple[Cheat, ...] = (
    *cheats_tests.TESTS_CHEATED,
    *cheats_runners.RUNNERS,
    *cheats_bugfix.BUGFIX,
    *cheats_types.TYPES,
    *cheats_words.WORDS,
    *cheats_ecosystems.ECOSYSTEMS,
)


def share(cases: Sequence[Case], number: int, random: Random) -> tuple[Case, ...]:
    """`number` of the cases: as many of each type in each ecosystem as there is room for, of the rarest first, drawn by
    `random`."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.type, ECOSYSTEMS[case.base]), []).append(case)
    for group in groups.values():
        random.shuffle(group)
    drawn = chain.from_iterable(zip_longest(*sorted(groups.values(), key=len)))
    return tuple(case for case in drawn if case is not None)[:number]
