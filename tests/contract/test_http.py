"""What the contracts promise, kept across real HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.server.terms import Terms
from agentvine.testing.control_plane import ControlPlaneSuite
from agentvine.testing.http import HttpSite, http_site

RUNG = Terms(claim_recheck_seconds=100.0, watch_recheck_seconds=100.0)
"""Who waits is woken, or waits too long."""


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[HttpSite]:
    async with http_site(sqlite_url, tmp_path, RUNG) as site:
        yield site


class TestOverHttp(ControlPlaneSuite):
    pass
