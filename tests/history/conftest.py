"""Which of the histories are tried."""

import pytest

from tests.history.histories import HISTORIES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All with `--every-case`, else the first."""
    if "history" in metafunc.fixturenames:
        tried = HISTORIES if metafunc.config.getoption("--every-case") else HISTORIES[:1]
        metafunc.parametrize("history", tried, ids=lambda history: history.name)
