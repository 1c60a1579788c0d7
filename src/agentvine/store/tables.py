"""The schema. Only migrations and their test use it: what the product says to a database is SQL, in its own modules.

Common to all tables: moments are microseconds since 1970 in UTC (BIGINT), structured values are JSON (TEXT), truth
values are 0 or 1. Nothing here is specific to one database but the partial indexes, which both have.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from agentvine.store import tables_forge  # noqa: F401 - declares its part
from agentvine.store.columns import id_column, metadata, number, refers, text_column

__all__ = ["metadata"]

tasks = Table(
    "tasks",
    metadata,
    id_column(),
    text_column("work_order_id"),
    number("created_at"),
    text_column("created_by"),
    text_column("type"),
    text_column("repository"),
    number("permission"),
    text_column("asked"),
    UniqueConstraint("work_order_id"),
)

needs = Table(
    "needs",
    metadata,
    refers("task_id", "tasks.id"),
    refers("needed_id", "tasks.id"),
    PrimaryKeyConstraint("task_id", "needed_id"),
    Index("ix_needs_needed_id", "needed_id", "task_id"),
)

submissions = Table(
    "submissions",
    metadata,
    text_column("key_id"),
    text_column("idempotency_key"),
    text_column("digest"),
    text_column("task_id"),  # no foreign key: the row comes first, so that the second of two at once waits for it
    number("created_at"),
    PrimaryKeyConstraint("key_id", "idempotency_key"),
)

work_orders = Table(
    "work_orders",
    metadata,
    id_column(),
    refers("task_id", "tasks.id"),
    text_column("type"),
    text_column("repository"),
    text_column("branch"),
    number("permission"),
    text_column("queue"),
    number("priority"),
    text_column("requires"),
    Column("budget_usd", Float, nullable=False),
    number("max_attempts"),
    number("created_at"),
    number("updated_at"),
    text_column("status"),
    number("claimable"),
    number("blocked_by"),
    Column("not_before", BigInteger),
    number("front"),
    number("attempts"),
    number("forgiven"),
    number("workers_lost"),
    number("lease_token"),
    Column("lease_worker", Text),
    Column("lease_execution", Text),
    Column("lease_expires", BigInteger),
    Column("request_id", Text),
    Column("last_execution_id", Text),
    Column("failure", Text),
    Column("spent_usd", Float, nullable=False),
    number("setbacks", default=0),
    UniqueConstraint("task_id"),
)
"""`claimable` is 1 exactly while a claim may choose the order, so that the index below holds nothing else: neither what
is over nor what is blocked or delayed, however much that is. The claim reads its best row from it without sorting, and
passes over rows that do not fit by what stands in the index itself."""

Index(
    "ix_work_orders_claimable",
    work_orders.c.type,
    work_orders.c.queue,
    work_orders.c.front.desc(),
    work_orders.c.priority.desc(),
    work_orders.c.created_at,
    work_orders.c.id,
    work_orders.c.permission,
    work_orders.c.requires,
    work_orders.c.repository,
    sqlite_where=text("claimable = 1"),
    postgresql_where=text("claimable = 1"),
)
Index(
    "ix_work_orders_delayed",
    work_orders.c.status,
    work_orders.c.claimable,
    work_orders.c.not_before,
    sqlite_where=text("status = 'pending' AND claimable = 0 AND not_before IS NOT NULL"),
    postgresql_where=text("status = 'pending' AND claimable = 0 AND not_before IS NOT NULL"),
)
Index(
    "ix_work_orders_running",
    work_orders.c.status,  # constant here, but SQLite's planner prefers the index with more equalities
    work_orders.c.repository,
    sqlite_where=text("status = 'running'"),
    postgresql_where=text("status = 'running'"),
)
Index(
    "ix_work_orders_failed",
    work_orders.c.status,
    work_orders.c.id,
    sqlite_where=text("status = 'failed'"),
    postgresql_where=text("status = 'failed'"),
)
Index(
    "ix_work_orders_waiting",
    work_orders.c.status,
    work_orders.c.id,
    sqlite_where=text("status = 'waiting'"),
    postgresql_where=text("status = 'waiting'"),
)

executions = Table(
    "executions",
    metadata,
    id_column(),
    refers("work_order_id", "work_orders.id"),
    text_column("task_id"),
    text_column("type"),
    text_column("worker_id"),
    text_column("key_id"),
    number("attempt"),
    number("lease_token"),
    text_column("phase"),
    Column("outcome", Text),
    Column("failure", Text),
    number("started_at"),
    Column("ended_at", BigInteger),
    text_column("usage", default="{}"),
    Column("base_sha", Text),
    Column("head_sha", Text),
    Column("session_id", Text),
    Column("delivery", Text),
    text_column("artifacts", default="[]"),
    number("verified", default=0),
    text_column("summary", default=""),
    number("comments_heard", default=0),
    UniqueConstraint("work_order_id", "lease_token"),
    sqlite_with_rowid=False,
)

evidence = Table(
    "evidence",
    metadata,
    refers("execution_id", "executions.id"),
    text_column("content"),
    text_column("envelope", default=""),
)
evidence.append_constraint(PrimaryKeyConstraint(evidence.c.execution_id))

transcripts = Table(
    "transcripts",
    metadata,
    refers("execution_id", "executions.id"),
    number("number"),
    text_column("entry"),
    PrimaryKeyConstraint("execution_id", "number"),
)

artifacts = Table(
    "artifacts",
    metadata,
    refers("execution_id", "executions.id"),
    text_column("name"),
    text_column("sha256"),
    number("size"),
    number("stored_at"),
    PrimaryKeyConstraint("execution_id", "name"),
    Index("ix_artifacts_sha256", "sha256"),
)

workers = Table(
    "workers",
    metadata,
    id_column(),
    text_column("name"),
    text_column("worker_type"),
    text_column("version"),
    text_column("host"),
    number("slots"),
    text_column("specializations"),
    text_column("tools"),
    text_column("key_id"),
    text_column("status"),
    text_column("current_tasks"),
    text_column("metrics"),
    number("registered_at"),
    number("seen_at"),
    Column("note", Text),
    number("draining"),
    Column("session", Text),
    number("claims_answered", default=0),
    number("protocol", default=1),
    text_column("account", default="default"),
)

model_limits = Table(
    "model_limits",
    metadata,
    Column("account", Text, primary_key=True),
    number("until"),
    number("told_at"),
    text_column("told_by"),
    text_column("why"),
)
"""Until when the workers of an account with the model get no orders, because its limit is used up."""

requests = Table(
    "requests",
    metadata,
    id_column(),
    text_column("task_id"),
    refers("work_order_id", "work_orders.id"),
    refers("execution_id", "executions.id"),
    text_column("kind"),
    text_column("message"),
    text_column("context"),
    text_column("options"),
    number("created_at"),
    number("expires_at"),
    text_column("status"),
    Column("response", Text),
    Column("call", Text),
    text_column("unanswered", default="decide"),
    Column("assistant", Text),
    Column("assistant_at", BigInteger),
    Index("ix_requests_work_order_id", "work_order_id"),
    Index("ix_requests_status", "status", "created_at", "id"),
    Index("ix_requests_created_at", "created_at", "id"),
    Index("ix_requests_assistant_at", "assistant_at"),
)

precedents = Table(
    "precedents",
    metadata,
    id_column(),
    number("created_at"),
    text_column("created_by"),
    Column("expires_at", BigInteger),
    Column("forgotten_at", BigInteger),
    refers("request_id", "requests.id"),
    text_column("kind"),
    Column("type", Text),
    Column("repository", Text),
    number("permission"),
    text_column("likeness"),
    text_column("message"),
    text_column("response"),
    Index("ix_precedents_likeness", "likeness"),
)
"""`likeness` is a digest of what a request must have in common with the one that was answered; type and repository are
where it holds, NULL for everywhere; `permission` is the rank of the highest level at which it does."""

comments = Table(
    "comments",
    metadata,
    refers("work_order_id", "work_orders.id"),
    number("number"),
    number("at"),
    text_column("author"),
    text_column("text"),
    PrimaryKeyConstraint("work_order_id", "number"),
)

readers = Table(
    "readers",
    metadata,
    Column("name", Text, primary_key=True),
    number("position"),
    Column("held_by", Text),
    Column("held_until", BigInteger),
)
"""How far those have read who follow the events on the server's side, such as the notifiers. Of several servers one
reads for each name: `held_by`, until it was not heard of up to `held_until`."""

rounds = Table("rounds", metadata, Column("name", Text, primary_key=True), number("at"))
"""When a server last looked whose time is over, by its wall clock; written only while orders run."""

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    number("at"),
    text_column("kind"),
    Column("task_id", Text),
    Column("work_order_id", Text),
    Column("execution_id", Text),
    Column("worker_id", Text),
    text_column("actor"),
    text_column("data"),
    Index("ix_events_task_id", "task_id", "seq"),
)

keys = Table(
    "keys",
    metadata,
    id_column(),
    text_column("name"),
    text_column("prefix"),
    text_column("digest"),
    text_column("scope"),
    number("created_at"),
    text_column("created_by"),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("former_prefix", Text),
    Column("former_digest", Text),
    Column("former_until", BigInteger),
    UniqueConstraint("prefix"),
    Index("ix_keys_former_prefix", "former_prefix"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    number("at"),
    text_column("kind"),
    text_column("actor"),
    number("events_to"),
    text_column("data"),
    text_column("previous"),
    text_column("hash"),
)
"""A trigger refuses to change or delete its rows."""
