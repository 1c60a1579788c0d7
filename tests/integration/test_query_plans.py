"""The statements of the hot path find their rows by an index, whatever else is in the tables."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from agentvine.domain.execution import Usage
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key, Role, Scope
from agentvine.domain.request import RequestStatus
from agentvine.server.control_plane import Orders
from agentvine.server.inbox import inbox_of
from agentvine.server.registry import Registry
from agentvine.server.submission import Submissions
from agentvine.server.terms import Terms
from agentvine.store import listings, repositories
from agentvine.store.sqlite_connection import SqliteUnit, connect
from agentvine.store.unit import for_sqlite
from agentvine.testing.cast import PUSHED, a_task, registration
from agentvine.testing.clock import ManualClock
from agentvine.wire import messages as m


class ListeningUnit(SqliteUnit):
    """Remembers what was executed."""

    heard: dict[str, Mapping[str, object]]

    def _execute(self, sql: str, parameters: Mapping[str, object]) -> sqlite3.Cursor:
        self.heard[sql] = parameters
        return super()._execute(sql, parameters)


def journey(unit: ListeningUnit) -> None:
    """Submit, claim (with something in the way), start, renew, complete."""
    clock = ManualClock()
    now = clock.now()
    key = Key(
        id=new_id("key", now),
        name="test",
        prefix="av_0123456789",
        scope=Scope(role=Role.WORKER),
        created_at=now,
        created_by="server",
    )
    orders, submissions = Orders(clock, Terms()), Submissions(clock)
    Registry(orders, clock).register(unit, registration("wrk_one"), key, 45.0)
    unit.heard.clear()
    needed = submissions.submit(unit, a_task(), "once", key)
    submissions.submit(unit, a_task("beyond it", priority=5, specializations=("rust",)), None, key)
    submissions.submit(unit, a_task("later", needs=(needed.id,)), None, key)
    claimed = orders.claim(unit, m.ClaimRequest(worker_id="wrk_one", execution_id=new_id("exe", now)), key)
    assert claimed is not None
    orders.start(unit, claimed.order.id, 1, key)
    lease = m.LeaseRef(work_order_id=claimed.order.id, token=1)
    orders.renew(unit, m.Renewal(worker_id="wrk_one", leases=(lease,)), key)
    orders.complete(unit, claimed.order.id, m.Completion(token=1, delivery=PUSHED, usage=Usage()), key)
    orders.promote_due(unit)
    unit.finish()


def look_at_requests(unit: ListeningUnit) -> None:
    """The inbox, in each of its views, for those who see everything and for those who do not."""
    for status in (None, *RequestStatus):
        listings.requests(unit, status, 0, listings.Slice(limit=50))
    part = listings.Slice(50, "req_1", ("https://git.example/team/project.git",), ("test",))
    listings.requests(unit, RequestStatus.OPEN, 1, part)
    inbox_of(unit, 0, listings.Slice(limit=50))


def check_plans(unit: ListeningUnit, connection: sqlite3.Connection) -> None:
    for sql, parameters in unit.heard.items():
        statement = for_sqlite(sql)
        values = [parameters[name] for name in statement.names]
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement.text}", values).fetchall()
        for *_, step in plan:
            assert not step.startswith("SCAN") or "json_each" in step or "CONSTANT" in step, (sql, step)
            assert "TEMP B-TREE" not in step, (sql, step)


def test_none_reads_a_whole_table(sqlite_url: str) -> None:
    with closing(connect(Path(sqlite_url.removeprefix("sqlite:///")))) as connection:
        unit = ListeningUnit(connection)
        unit.heard = {}
        connection.execute("BEGIN IMMEDIATE")
        journey(unit)
        connection.execute("COMMIT")
        assert len(unit.heard) > 15
        check_plans(unit, connection)


def test_the_inbox_reads_no_more_than_it_shows(sqlite_url: str) -> None:
    with closing(connect(Path(sqlite_url.removeprefix("sqlite:///")))) as connection:
        unit = ListeningUnit(connection)
        unit.heard = {}
        look_at_requests(unit)
        assert len(unit.heard) > 1 + len(RequestStatus)
        check_plans(unit, connection)


def test_what_a_day_costs_is_read_at_one_moment(sqlite_url: str) -> None:
    """Else an order that ends between two statements would be missed, or counted twice."""
    with closing(connect(Path(sqlite_url.removeprefix("sqlite:///")))) as connection:
        unit = ListeningUnit(connection)
        unit.heard = {}
        repositories.day(unit, "repo_1", ManualClock().now())
        assert len(unit.heard) == 1
        check_plans(unit, connection)
