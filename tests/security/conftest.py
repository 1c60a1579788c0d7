"""One look at this host for all tests of the sandbox."""

import pytest_asyncio

from agentvine.worker.sandbox.bubblewrap import Bubblewrap
from tests.security.boxes import find_sandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox() -> Bubblewrap:
    """Bubblewrap, as it works here."""
    return await find_sandbox()
