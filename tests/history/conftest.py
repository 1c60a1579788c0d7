"""Which histories there are."""

import pytest

from tests.history.histories import HISTORIES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All of them."""
    if "history" in metafunc.fixturenames:
        metafunc.parametrize("history", HISTORIES, ids=lambda history: history.name)
