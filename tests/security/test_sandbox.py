"""Attempts to get out of a box, made from inside of one by real bubblewrap. Each must fail closed."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from agentvine.worker.sandbox.base import Sandbox
from agentvine.worker.sandbox.bubblewrap import Bubblewrap
from agentvine.worker.sandbox.unconfined import Unconfined
from tests.security.boxes import SOON, interpreter, left_of, place, tempting_host
from tests.security.probes import PROBES, Probe, assault

BARE = [probe for probe in PROBES if probe.bare]


def named(probe: Probe) -> str:
    return probe.name


async def _try(sandbox: Sandbox, probes: Sequence[Probe], parent: Path) -> dict[str, str]:
    """Make the attempts in one box. Returns what each of them said, by name."""
    where = place(parent)
    program = where.workspace / "assault.py"
    async with tempting_host(parent, where) as host:
        program.write_text(assault(probes, host.facts))
        async with sandbox.box(where.spec()) as box:
            done = await box.run(interpreter(program.name), cwd=where.workspace, timeout=SOON)
        assert Path(f"/proc/{host.sentinel}").exists()
    assert not left_of(where)
    assert not list(where.private.iterdir())
    assert done.exit_code == 0, done
    told: dict[str, str] = json.loads(done.stdout)
    return told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inside(sandbox: Bubblewrap, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return await _try(sandbox, PROBES, tmp_path_factory.mktemp("in"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def without(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return await _try(Unconfined(), BARE, tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("probe", PROBES, ids=named)
def test_the_box_holds(probe: Probe, inside: dict[str, str]) -> None:
    assert inside[probe.name].startswith("HELD")


@pytest.mark.parametrize("probe", BARE, ids=named)
def test_the_attempt_would_succeed_without_a_box(probe: Probe, without: dict[str, str]) -> None:
    assert without[probe.name].startswith("ESCAPED")


def test_the_attempts_are_many_and_have_names_of_their_own() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES) >= 80
