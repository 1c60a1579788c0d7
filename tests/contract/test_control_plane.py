"""What the contracts promise, on both databases, called directly."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.server.terms import Terms
from agentvine.testing.control_plane import ControlPlaneSuite
from agentvine.testing.site import InProcessSite, in_process_site

RUNG = Terms(claim_recheck_seconds=100.0, watch_recheck_seconds=100.0)
"""Who waits is woken, or waits too long."""


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(database_url, tmp_path, RUNG) as site:
        yield site


class TestInProcess(ControlPlaneSuite):
    pass
