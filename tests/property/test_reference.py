"""The servers and their store, stepped against a model of the lifecycle that shares nothing with them."""

from pathlib import Path

import pytest

from agentvine.domain.retry import FailureReason
from agentvine.testing.databases import PostgresqlServer, sqlite_database
from tests.property.reference import REASONS
from tests.property.walks import STEPS, walk

STEPS_IN_ALL = 800
"""`python -m tests.property.stepping`, a part of `make chaos`, takes more."""


def test_the_reference_knows_every_reason() -> None:
    assert sorted(REASONS) == sorted(FailureReason)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_servers_do_as_the_reference_says(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "sqlite":
        url = sqlite_database(tmp_path)
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        url = server.fresh_database()
    done = await walk(url, 1, STEPS_IN_ALL)
    assert set(STEPS) <= set(done), "a step that is never taken tries nothing"
