"""What the contracts promise, kept across real HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.testing.control_plane import ControlPlaneSuite
from agentvine.testing.http import HttpSite, http_site


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[HttpSite]:
    async with http_site(sqlite_url, tmp_path) as site:
        yield site


class TestOverHttp(ControlPlaneSuite):
    pass
