"""How long until a checkout is ready for Claude, on a repository of 5,000 files and 50 MB, over HTTP.

The server is git's own http-backend on loopback. Each round fetches a commit that is new since the round before.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from statistics import median

from agentvine.kit.process import run
from agentvine.testing.git_server import GitServer
from agentvine.worker.folders import remove_folder
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirror
from agentvine.worker.spares import Spares
from agentvine.worker.workspace import Workspace
from bench.report import Figure

FILES = 5_000
BYTES_A_FILE = 10_000


async def measure(rounds: int) -> list[Figure]:
    """Interleaved rounds of `git clone --depth 1`, and of a workspace in line and from a spare."""
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as directory:
        where = Path(directory)
        print(f"making a repository of {FILES} files …", file=sys.stderr)
        tree = await _repository(where)
        async with GitServer(where) as server:
            return await _compare(where, tree, server.url("big.git"), rounds)


async def _compare(where: Path, tree: Path, url: str, rounds: int) -> list[Figure]:
    mirror = Mirror(Git(where / "git-home"), where / "mirrors", url)
    spares = Spares(where / "spares")
    clones, inline, from_spare = [], [], []
    first = await _seconds(_workspace(mirror, where / "first"))
    for number in range(rounds):
        await _commit(tree, number)
        clones.append(await _seconds(_clone(url, where / f"clone-{number}")))
        inline.append(await _seconds(_workspace(mirror, where / f"inline-{number}")))
        await spares.refill(mirror, await mirror.resolve("main"))
        await _commit(tree, number + rounds)
        from_spare.append(await _seconds(_workspace(mirror, where / f"spare-{number}", spares)))
        for leftover in ("clone", "inline", "spare"):
            await remove_folder(where / f"{leftover}-{number}")
    clone = median(clones)
    peer = "git clone --depth 1"
    return [
        Figure("first task: mirror and workspace", first, "s", (), None, clone, peer),
        Figure("second task: fetch and workspace in line", median(inline), "s", inline, "ratio <= 0.25", clone, peer),
        Figure(
            "second task: fetch, workspace from a spare", median(from_spare), "s", from_spare, "<= 0.25", clone, peer
        ),
        Figure(peer, clone, "s", clones),
    ]


async def _seconds(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _workspace(mirror: Mirror, where: Path, spares: Spares | None = None) -> None:
    await mirror.update()
    await Workspace.prepare(mirror, await mirror.resolve("main"), "agentvine/bench", where, spares=spares)


async def _clone(url: str, where: Path) -> None:
    await _git(where.parent, "clone", "--quiet", "--depth", "1", "--", url, str(where))


async def _repository(where: Path) -> Path:
    tree, noise = where / "tree", random.Random(7)
    await _git(where, "init", "--quiet", "--initial-branch=main", str(tree))
    for number in range(FILES):
        path = tree / f"pkg{number % 100:02}" / f"module{number:04}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(noise.randbytes(BYTES_A_FILE // 2).hex().encode())
    await _commit(tree, -1)
    await _git(where, "clone", "--quiet", "--bare", str(tree), str(where / "big.git"))
    await _git(where / "big.git", "repack", "-adq", "--write-bitmap-index")  # as hosts keep their repositories
    await _git(where / "big.git", "config", "http.receivepack", "true")
    await _git(tree, "remote", "add", "origin", str(where / "big.git"))
    return tree


async def _commit(tree: Path, number: int) -> None:
    """Change twenty files, as people do between two tasks."""
    for change in range(20):
        path = tree / f"pkg{change:02}" / f"changed{change}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"round = {number}\n" * 50)
    await _git(tree, "add", "--all")
    await _git(tree, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", f"round {number}")
    if number >= 0:
        await _git(tree, "push", "--quiet", "origin", "main")


async def _git(where: Path, *arguments: str) -> None:
    variables = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    done = await run(["git", *arguments], cwd=where, env=variables, timeout=120)
    if done.exit_code:
        raise SystemExit(f"git {arguments[0]}: {done.stderr[-500:]}")
