"""One court for all cases of a process, and which cases there are in it."""

from random import Random

import pytest

from tests.proof.case import Case
from tests.proof.corpora import CHEATS, HONEST, share
from tests.proof.court import Court

_SEED = 20


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`cheat` and `honest` are all cases, or a share in which each type and each ecosystem has its part: of the cheats
    nine; of the honest runs every other one of the first of each kind, and a review."""
    for fixture, cases, number in (("cheat", CHEATS, 9), ("honest", HONEST, 14)):
        if fixture in metafunc.fixturenames:
            tried: tuple[Case, ...] = cases
            if not metafunc.config.getoption("--every-case"):
                tried = share(cases, number, Random(_SEED))
                tried = (*tried[::2], tried[-1]) if fixture == "honest" else tried
            metafunc.parametrize(fixture, tried, ids=lambda case: case.name)


@pytest.fixture(scope="session")
def court(tmp_path_factory: pytest.TempPathFactory) -> Court:
    """A host on which nothing is known yet."""
    return Court(tmp_path_factory.mktemp("proof"))
