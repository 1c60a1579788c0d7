"""What the machine can do at most: the same durable work with nothing around it."""

import sqlite3
import time
from pathlib import Path

_SCHEMA = """
CREATE TABLE orders (id TEXT PRIMARY KEY, status TEXT, token INTEGER, worker TEXT, updated INTEGER);
CREATE INDEX ready ON orders (id) WHERE status = 'pending';
CREATE TABLE events (seq INTEGER PRIMARY KEY, kind TEXT, id TEXT, at INTEGER);
"""


def sqlite_pairs(directory: Path, seconds: float) -> float:
    """Claim and complete with an event each, two durable commits a pair, one connection: pairs a second."""
    database = sqlite3.connect(directory / "limit.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.executescript(_SCHEMA)
    database.executemany(
        "INSERT INTO orders VALUES (?, 'pending', 0, NULL, 0)", [(f"wo_{number:08}",) for number in range(40_000)]
    )
    pairs, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        database.execute("BEGIN IMMEDIATE")
        (order,) = database.execute("SELECT id FROM orders WHERE status = 'pending' ORDER BY id LIMIT 1").fetchone()
        _change(database, order, "pending", "running")
        database.execute("BEGIN IMMEDIATE")
        _change(database, order, "running", "completed")
        pairs += 1
    rate = pairs / (time.perf_counter() - began)
    database.close()
    return rate


def _change(database: sqlite3.Connection, order: str, old: str, new: str) -> None:
    database.execute(
        "UPDATE orders SET status = ?, token = token + 1, updated = 1 WHERE id = ? AND status = ?", (new, order, old)
    )
    database.execute("INSERT INTO events (kind, id, at) VALUES (?, ?, 1)", (new, order))
    database.execute("COMMIT")
