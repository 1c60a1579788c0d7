"""How long a person waits for the inbox when ten thousand orders wait for an answer.

One order asks and is parked by way of the server; the others are rows made after its pattern. Each round runs the
command as a process, beside one that shows a single line: what it takes beyond that is the inbox.
"""

import os
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from agentvine.cli.context import Context, write_context
from agentvine.client.control_plane import HTTPControlPlane
from agentvine.client.transport import APIClient
from agentvine.kit.process import run
from bench.questions import claimed_by, parked_question
from bench.report import Figure
from bench.site import Site, running_site

_WAITING = 10_000
_OTHERS = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_WAITING - 1})"
_NEW_ID = "substr({0}, 1, length({0}) - 5) || printf('%05d', n.i)"
_OWN = {
    "tasks": ("id", "work_order_id"),
    "work_orders": ("id", "task_id", "request_id"),
    "requests": ("id", "task_id", "work_order_id"),
}
"""The columns in which each row differs from the pattern."""


async def measure(rounds: int) -> list[Figure]:
    """Interleaved rounds of the inbox and of a command that shows one line."""
    inboxes: list[float] = []
    ones: list[float] = []
    async with running_site() as site:
        await _fill(site)
        write_context(Context(f"http://{site.host}:{site.port}", site.keys.admin, site.data), site.data / "context")
        for _ in range(rounds):
            inboxes.append(await _seconds(site, "inbox", f"and {_WAITING - 20} more"))
            ones.append(await _seconds(site, "workers", "bugfix"))
    name = f"`agentvine inbox`, {_WAITING:,} waiting"
    return [Figure(name, median(inboxes), "s", inboxes, "< 1 s", median(ones), "`agentvine workers`")]


async def _seconds(site: Site, command: str, expected: str) -> float:
    argv = [sys.executable, "-m", "agentvine", command]
    variables = {"PATH": os.environ["PATH"], "HOME": str(site.data), "AGENTVINE_CONTEXT": str(site.data / "context")}
    began = time.perf_counter()
    done = await run(argv, cwd=site.data, env=variables, timeout=60)
    taken = time.perf_counter() - began
    if done.exit_code or expected not in done.stdout + done.stderr:
        raise SystemExit(f"agentvine {command}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return taken


async def _fill(site: Site) -> None:
    async with APIClient(f"http://{site.host}:{site.port}", site.keys.worker, patience=30) as api:
        plane = HTTPControlPlane(api)
        await parked_question(plane, await claimed_by(site, plane))
    _clone(site.data / "agentvine.db")


def _clone(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=30)) as database:
        for table, own in _OWN.items():
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            values = [_NEW_ID.format(column) if column in own else f'"{column}"' for column in columns]
            names = ", ".join(f'"{column}"' for column in columns)
            database.execute(f"{_OTHERS} INSERT INTO {table} ({names}) SELECT {', '.join(values)} FROM {table}, n")
        database.commit()
