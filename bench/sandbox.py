"""What the sandbox costs: how long a command takes to start, and a test suite to run, inside against outside.

The suite has 300 tests by pytest: arithmetic, files, SQLite and processes of their own, in equal parts. Inside is a box
as verification opens one, outside the same command with the same environment and no sandbox, in the same checkout. In a
box temporary files lie in memory, so outside they do too: the disk would make the sandbox look faster than none.
"""

import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from statistics import median

from agentvine.testing.boxes import boxes_here
from agentvine.worker.access import Access
from agentvine.worker.box import Boxes, OpenBox
from agentvine.worker.checkout import Checkout
from agentvine.worker.settings import SandboxKind
from bench.report import Figure

_SUITE = """
import json, sqlite3, subprocess
import pytest

@pytest.mark.parametrize("number", range(75))
def test_arithmetic(number):
    assert sum(i * i for i in range(60_000)) == 71_998_200_010_000

@pytest.mark.parametrize("number", range(75))
def test_files(number, tmp_path):
    for name in range(50):
        (tmp_path / f"{name}.json").write_text(json.dumps(list(range(200))))
    assert sum(len(json.loads(path.read_text())) for path in tmp_path.iterdir()) == 10_000

@pytest.mark.parametrize("number", range(75))
def test_database(number, tmp_path):
    with sqlite3.connect(tmp_path / "db") as database:
        database.execute("CREATE TABLE t (a INTEGER)")
        database.executemany("INSERT INTO t VALUES (?)", ((i,) for i in range(2_000)))
        assert database.execute("SELECT sum(a) FROM t").fetchone() == (1_999_000,)

@pytest.mark.parametrize("number", range(75))
def test_processes(number):
    assert subprocess.run(["/bin/sh", "-c", "echo $((6 * 7))"], capture_output=True, text=True).stdout == "42\\n"
"""
_NOTHING = ("true",)
_TESTS = ("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider")
_STARTS = 15
_SECONDS = 120.0


async def measure(rounds: int) -> list[Figure]:
    """Interleaved rounds inside and outside."""
    with (
        tempfile.TemporaryDirectory(prefix="agentvine-bench-") as directory,
        tempfile.TemporaryDirectory(prefix="agentvine-bench-", dir="/dev/shm") as memory,
    ):
        where = Path(directory)
        tree, private = where / "tree", where / "private"
        tree.mkdir()
        private.mkdir(mode=0o700)
        (tree / "test_suite.py").write_text(_SUITE, encoding="utf-8")
        confined, open_air = await boxes_here(), await boxes_here(SandboxKind.NONE)
        checkout = Checkout(tree, "0" * 40, ())
        starts: dict[str, list[float]] = {"in": [], "out": []}
        suites: dict[str, list[float]] = {"in": [], "out": []}
        for _ in range(rounds):
            for name, boxes, scratch in (("out", open_air, memory), ("in", confined, "/tmp")):
                starts[name] += [await _start(boxes, checkout, private) for _ in range(_STARTS)]
                suites[name].append(await _suite(boxes, checkout, private, f"--basetemp={scratch}/suite"))
    peer = median(suites["out"])
    aim = "ratio <= 1.05"
    return [
        Figure("a box, and `true` in it", median(starts["in"]), "s", starts["in"], None, median(starts["out"]), "none"),
        Figure("a suite of 300 tests in a box", median(suites["in"]), "s", suites["in"], aim, peer, "no sandbox"),
        Figure("the suite, no sandbox", peer, "s", suites["out"]),
    ]


async def _start(boxes: Boxes, checkout: Checkout, private: Path) -> float:
    began = time.perf_counter()
    async with boxes.box(checkout, private, Access()) as box:
        await _must(box, checkout, _NOTHING)
    return time.perf_counter() - began


async def _suite(boxes: Boxes, checkout: Checkout, private: Path, scratch: str) -> float:
    async with boxes.box(checkout, private, Access()) as box:
        return await _seconds(_must(box, checkout, (*_TESTS, scratch)))


async def _must(box: OpenBox, checkout: Checkout, argv: Sequence[str]) -> None:
    done = await box(argv, cwd=checkout.path, timeout=_SECONDS)
    if done.exit_code != 0:
        raise RuntimeError(f"{argv} ended with {done.exit_code}:\n{done.stdout[-1000:]}\n{done.stderr[-1000:]}")


async def _seconds(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began
