"""How many orders a second can be claimed and completed, durably, over HTTP."""

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from agentvine.kit.process import run
from bench.limits import sqlite_pairs
from bench.report import Figure
from bench.site import Site, running_site, sharing_site

_SECONDS = 2.0
_MOST_PER_SECOND = 3000
_SERVERS = 2


async def measure(rounds: int) -> list[Figure]:
    """Interleaved rounds of the limit, one connection and sixteen, and sixteen at two server processes."""
    limits, ones, sixteens, apart, shared = [], [], [], [], []
    async with running_site() as site, sharing_site(_SERVERS) as two:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as directory:
                limits.append(sqlite_pairs(Path(directory), _SECONDS))
            ones.append(await _pairs(site, 1, "together"))
            sixteens.append(await _pairs(site, 16, "together"))
            apart.append(await _pairs(site, 16, "apart"))
            shared.append(await _pairs(two, 16, "together"))
    limit = median(limits)
    return [
        Figure("claim+complete, 1 worker", median(ones), "pairs/s", ones, aim=None, against=limit, peer="raw SQLite"),
        Figure("claim+complete, 16 workers", median(sixteens), "pairs/s", sixteens, ">= 1500", limit, "raw SQLite"),
        Figure("16 workers, two server processes", median(shared), "pairs/s", shared, None, limit, "raw SQLite"),
        Figure("16 workers, each pair in two requests", median(apart), "pairs/s", apart, None, limit, "raw SQLite"),
        Figure("raw SQLite, one connection, two commits a pair", limit, "pairs/s", limits),
    ]


async def _pairs(site: Site, connections: int, how: str) -> float:
    await site.fill(int(_MOST_PER_SECOND * _SECONDS))
    argv = [sys.executable, "-m", "bench.load", site.host, str(site.port), str(connections), str(_SECONDS), how]
    secret = json.dumps({"worker_key": site.keys.worker}).encode()
    done = await run(argv, cwd=Path.cwd(), env={"PATH": os.environ["PATH"]}, timeout=60, stdin=secret)
    if done.exit_code:
        raise SystemExit(f"the load generator failed: {done.stderr[-1000:]}")
    result = json.loads(done.stdout)
    return float(result["pairs"] / result["seconds"])
