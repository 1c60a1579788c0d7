"""Sending workers home: some, those of a host, all; and waiting until they are gone."""

import json
from pathlib import Path

from agentvine.domain.worker_types import TaskType
from agentvine.testing.eventually import eventually
from agentvine.wire import messages as m
from tests.integration.town import Town, running_town


async def arrive(town: Town, name: str, host: str) -> None:
    await town.plane.register(
        m.Registration(id=name, name=name, worker_type=TaskType.BUGFIX, version="0.1.0", host=host)
    )


async def test_workers_are_sent_home_by_name_by_host_and_all(tmp_path: Path) -> None:
    async with running_town(tmp_path) as town:
        await arrive(town, "wrk_one", "build-1")
        await arrive(town, "wrk_two", "build-2")
        assert "the hosts are: build-1, build-2" in await town.refused("drain", "--host", "elsewhere", code=2)
        assert "say --all" in await town.refused("drain", code=2)
        assert "say --all" in await town.refused("drain", "wrk_one", "--all", code=2)
        told = json.loads(await town.ok("drain", "--host", "build-1", "--json"))
        assert [each["id"] for each in told] == ["wrk_one"]
        still = await town.cli("drain", "wrk_one", "--wait", "--timeout", "0.1")
        assert still.exit_code == 3, still.stderr
        heard: list[str] = []
        waiting = await town.background("drain", "--all", "--wait", heard=heard)
        await eventually(lambda: len(heard) == 2)
        for name in ("wrk_two", "wrk_one"):
            await _left(town, name)
        assert await waiting.wait() == 0
        assert sum("has left" in line for line in heard) == 2
        assert await town.json("drain", "--all", "--wait") == []


async def _left(town: Town, name: str) -> None:
    """It deregisters: a process that registers anew under the id and goes is, for whoever waits, gone as well."""
    await arrive(town, name, "build-3")
    await town.plane.deregister(name)
