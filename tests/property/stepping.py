"""Servers on one database, stepped against the reference: after each step every order has to be what that says.

A walk (walks.py) is drawn from a seed. Here as many are taken, and as long, as is said:

    python -m tests.property.stepping --database postgresql --walks 20 --steps 2000 --seed 7
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from agentvine.testing.databases import postgresql_server, sqlite_database
from tests.property.walks import walk


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.property.stepping", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first walk; each further one has the next")
    parser.add_argument("--walks", type=int, default=10, help="how many databases are lived through")
    parser.add_argument("--steps", type=int, default=1000, help="how many steps each walk has")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    given = parser.parse_args()

    def walk_on(kind: str, fresh_url: Callable[[], str]) -> None:
        total: Counter[str] = Counter()
        for number in range(given.seed, given.seed + given.walks):
            say(f"{kind}: seed {number}, {given.steps} steps")
            total += asyncio.run(walk(fresh_url(), number, given.steps))
        say(f"{kind}: as the reference says after each of them; " + ", ".join(f"{a} {b}" for a, b in total.items()))

    with TemporaryDirectory(prefix="agentvine-walks-") as folder:
        if given.database != "postgresql":
            walk_on("SQLite", lambda: sqlite_database(Path(folder)))
        if given.database != "sqlite":
            with postgresql_server(Path(folder) / "data") as server:
                walk_on("PostgreSQL", server.fresh_database)
    return 0


if __name__ == "__main__":
    sys.exit(main())
