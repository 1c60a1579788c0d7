"""What happens to whoever takes too much: it is refused, or the whole box ends with the name of the limit."""

import dataclasses
import stat
from pathlib import Path

import pytest

from agentvine.kit.process import ProcessTimeout
from agentvine.worker.sandbox.bubblewrap import Bubblewrap
from agentvine.worker.sandbox.cgroup import ControlGroups
from agentvine.worker.sandbox.limits import Limit, LimitExceeded, Limits
from tests.security.boxes import SOON, left_of, place, python, sh

MIB = 1 << 20
SMALL = Limits(memory_bytes=256 * MIB, processes=60, disk_bytes=20 * MIB, files=2000, file_size_bytes=8 * MIB)

FORK_BOMB = """
import os, signal
while True:
    try:
        if os.fork() == 0:
            signal.pause()
    except OSError:
        pass
"""
MEMORY = """
kept = []
while True:
    kept.append(bytearray(b"x") * (1 << 24))
"""
SHARED_OUT = """
import os, signal, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(b"x") * (60 << 20)
        signal.pause()
signal.pause()
"""


@pytest.fixture(params=["control groups", "watch"])
def limited(request: pytest.FixtureRequest, sandbox: Bubblewrap) -> Bubblewrap:
    """The sandbox as it is here, and as it is where no control groups can be used."""
    if request.param == "watch":
        return dataclasses.replace(sandbox, groups=ControlGroups(()))
    if not sandbox.groups.controllers:
        pytest.skip("this user may not make control groups here")
    return sandbox


@pytest.mark.parametrize(
    ("limit", "program"),
    [(Limit.PROCESSES, FORK_BOMB), (Limit.MEMORY, SHARED_OUT)],
    ids=["a fork bomb", "memory, by many"],
)
async def test_too_much_together_ends_the_box(limited: Bubblewrap, limit: Limit, program: str, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with limited.box(where.spec(limits=SMALL)) as box:
        with pytest.raises(LimitExceeded) as ended:
            await python(box, where, program)
    assert ended.value.breach.limit is limit
    assert not left_of(where)


async def test_memory_of_one_process_is_refused_or_ends_the_box(limited: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with limited.box(where.spec(limits=SMALL)) as box:
        try:
            done = await python(box, where, MEMORY)
        except LimitExceeded as ended:
            assert ended.breach.limit is Limit.MEMORY
        else:
            assert "MemoryError" in done.stderr
    assert not left_of(where)


@pytest.mark.parametrize(
    ("limit", "script"),
    [
        (Limit.DISK, "for i in $(seq 10); do head -c 5000000 /dev/zero > file$i; done; sleep 30"),
        (Limit.FILES, "for i in $(seq 3000); do : > f$i; done; sleep 30"),
        (Limit.OUTPUT, "yes"),
        (Limit.OUTPUT, "trap '' PIPE; while :; do echo to the other one >&2; done"),
    ],
    ids=["disk", "files", "output", "complaints"],
)
async def test_too_much_of_other_things_ends_the_box(
    sandbox: Bubblewrap, limit: Limit, script: str, tmp_path: Path
) -> None:
    where = place(tmp_path)
    limits = dataclasses.replace(SMALL, output_bytes=MIB)
    async with sandbox.box(where.spec(limits=limits)) as box:
        with pytest.raises(LimitExceeded) as ended:
            await sh(box, where, script)
    assert ended.value.breach.limit is limit
    assert not left_of(where)


async def test_a_directory_in_a_directory_without_end(sandbox: Bubblewrap, tmp_path: Path) -> None:
    program = "import os, time\nfor _ in range(400):\n    os.mkdir('d'); os.chdir('d')\ntime.sleep(30)"
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        with pytest.raises(LimitExceeded) as ended:
            await python(box, where, program)
    assert ended.value.breach.limit is Limit.FILES


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("head -c 20000000 /dev/zero > big; stat -c %s big; exit 9", "8388608"),
        ("head -c 20000000 /dev/zero > /tmp/big; df --output=used -B1 /tmp | tail -1; exit 9", ""),
        ("head -c 90000000 /dev/zero > /dev/shm/big || echo full; exit 9", "full"),
        ("head -c 20000000 /dev/zero > ~/big || echo full; exit 9", "full"),
    ],
    ids=["a large file", "scratch", "shared memory", "home"],
)
async def test_what_has_a_size_is_full_at_some_point(
    sandbox: Bubblewrap, script: str, complaint: str, tmp_path: Path
) -> None:
    where = place(tmp_path)
    limits = dataclasses.replace(SMALL, scratch_bytes=4 * MIB, disk_bytes=100 * MIB)
    async with sandbox.box(where.spec(limits=limits)) as box:
        done = await sh(box, where, script)
    assert done.exit_code == 9
    assert complaint in done.stdout
    assert all(int(word) <= 8 * MIB for word in done.stdout.split() if word.isdigit())


async def test_open_files_have_a_limit(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec(limits=Limits(open_files=32))) as box:
        done = await python(box, where, "print(len([open('/dev/null') for _ in range(40)]))")
    assert "Too many open files" in done.stderr


async def test_time_has_a_limit_and_what_was_said_is_kept(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    said, seconds = "", 1.5
    while not said and seconds < 60:  # on a busy machine a box may take longer than that to begin
        async with sandbox.box(where.spec()) as box:
            with pytest.raises(ProcessTimeout) as ended:
                await box.run(["sh", "-c", "echo begun; sleep 300"], cwd=where.workspace, timeout=seconds)
        assert ended.value.argv[0] == "sh"
        said, seconds = ended.value.completed.stdout, seconds * 5
    assert said == "begun\n"
    assert not left_of(where)


async def test_output_is_read_and_only_a_part_of_it_is_kept(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        done = await box.run(
            ["sh", "-c", "yes | head -c 3000000"], cwd=where.workspace, timeout=SOON, output_limit=1000
        )
    assert done.truncated
    assert len(done.raw) < 1100


async def test_no_core_is_dumped(sandbox: Bubblewrap, tmp_path: Path) -> None:
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        done = await sh(box, where, "ulimit -c; sh -c 'kill -SEGV $$'; ls")
    assert done.stdout == "0\n"


async def test_what_is_exact_and_what_is_only_watched_is_said(limited: Bubblewrap) -> None:
    exact, watched = limited.confinement.split("exact: ")[1].split("; watched: ")
    assert "disk" in watched
    assert ("memory" in exact) == bool(limited.groups.controllers)
    assert ("memory" in watched) != ("memory" in exact)


async def test_nobody_else_gets_at_what_a_box_leaves(sandbox: Bubblewrap, tmp_path: Path) -> None:
    """A file with the bit that lends its owner's rights belongs to the box's user, never to the worker as root."""
    where = place(tmp_path)
    async with sandbox.box(where.spec()) as box:
        await sh(box, where, "cp /bin/sh shell; chmod 4755 shell")
    left = (where.workspace / "shell").stat()
    assert left.st_uid != 0 or not left.st_mode & stat.S_ISUID
