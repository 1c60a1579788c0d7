"""What the contracts promise, on both databases, called directly."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.testing.control_plane import ControlPlaneSuite
from agentvine.testing.site import InProcessSite, in_process_site


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(database_url, tmp_path) as site:
        yield site


class TestInProcess(ControlPlaneSuite):
    pass
