"""One worker's heartbeat that the database does not take silences nobody else."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from agentvine.domain.worker import WorkerStatus
from agentvine.testing.cast import a_worker
from agentvine.testing.site import in_process_site
from agentvine.wire import messages as m

NUL = "PostgreSQL stores no \0"


async def test_a_bad_heartbeat_is_given_up_alone(postgresql_url: str, tmp_path: Path) -> None:
    async with in_process_site(postgresql_url, tmp_path) as site:
        good, bad = await a_worker(site, "wrk_good"), await a_worker(site, "wrk_bad")
        await bad.plane.heartbeat(bad.id, m.Heartbeat.model_construct(status=WorkerStatus.IDLE, note=NUL))
        await good.plane.heartbeat(good.id, m.Heartbeat(status=WorkerStatus.BUSY))

        await site.control.heartbeats.flush()

        desk = await site.front_desk()
        assert (await desk.worker(good.id)).status is WorkerStatus.BUSY
        assert (await desk.worker(bad.id)).status is WorkerStatus.INITIALIZING


def test_the_wire_takes_no_such_heartbeat() -> None:
    with pytest.raises(ValidationError):
        m.Heartbeat(status=WorkerStatus.IDLE, note=NUL)
