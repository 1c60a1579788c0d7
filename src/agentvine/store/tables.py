"""The schema. Only migrations and their test use it: what the product says to a database is SQL, in its own modules.

Common to all tables: moments are microseconds since 1970 in UTC (BIGINT), structured values are JSON (TEXT), truth
values are 0 or 1. Nothing here is specific to one database but the partial indexes, which both have.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def _text(name: str, *, default: str | None = None) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=None if default is None else text(f"'{default}'"))


def _number(name: str, *, default: int | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=None if default is None else text(str(default)))


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _refers(name: str, target: str) -> Column[str]:
    return Column(name, Text, ForeignKey(target), nullable=False)


tasks = Table(
    "tasks",
    metadata,
    _id(),
    _text("work_order_id"),
    _number("created_at"),
    _text("created_by"),
    _text("type"),
    _text("repository"),
    _number("permission"),
    _text("asked"),
    UniqueConstraint("work_order_id"),
)

needs = Table(
    "needs",
    metadata,
    _refers("task_id", "tasks.id"),
    _refers("needed_id", "tasks.id"),
    PrimaryKeyConstraint("task_id", "needed_id"),
    Index("ix_needs_needed_id", "needed_id", "task_id"),
)

submissions = Table(
    "submissions",
    metadata,
    _text("key_id"),
    _text("idempotency_key"),
    _text("digest"),
    _text("task_id"),  # no foreign key: the row comes first, so that the second of two at once waits for it
    _number("created_at"),
    PrimaryKeyConstraint("key_id", "idempotency_key"),
)

work_orders = Table(
    "work_orders",
    metadata,
    _id(),
    _refers("task_id", "tasks.id"),
    _text("type"),
    _text("repository"),
    _text("branch"),
    _number("permission"),
    _text("queue"),
    _number("priority"),
    _text("requires"),
    Column("budget_usd", Float, nullable=False),
    _number("max_attempts"),
    _number("created_at"),
    _number("updated_at"),
    _text("status"),
    _number("claimable"),
    _number("blocked_by"),
    Column("not_before", BigInteger),
    _number("front"),
    _number("attempts"),
    _number("forgiven"),
    _number("workers_lost"),
    _number("lease_token"),
    Column("lease_worker", Text),
    Column("lease_execution", Text),
    Column("lease_expires", BigInteger),
    Column("request_id", Text),
    Column("last_execution_id", Text),
    Column("failure", Text),
    Column("spent_usd", Float, nullable=False),
    _number("setbacks", default=0),
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
    _id(),
    _refers("work_order_id", "work_orders.id"),
    _text("task_id"),
    _text("type"),
    _text("worker_id"),
    _text("key_id"),
    _number("attempt"),
    _number("lease_token"),
    _text("phase"),
    Column("outcome", Text),
    Column("failure", Text),
    _number("started_at"),
    Column("ended_at", BigInteger),
    _text("usage", default="{}"),
    Column("base_sha", Text),
    Column("head_sha", Text),
    Column("session_id", Text),
    Column("delivery", Text),
    _text("artifacts", default="[]"),
    _number("verified", default=0),
    _text("summary", default=""),
    _number("comments_heard", default=0),
    UniqueConstraint("work_order_id", "lease_token"),
    sqlite_with_rowid=False,
)

evidence = Table(
    "evidence", metadata, _refers("execution_id", "executions.id"), _text("content"), _text("envelope", default="")
)
evidence.append_constraint(PrimaryKeyConstraint(evidence.c.execution_id))

transcripts = Table(
    "transcripts",
    metadata,
    _refers("execution_id", "executions.id"),
    _number("number"),
    _text("entry"),
    PrimaryKeyConstraint("execution_id", "number"),
)

artifacts = Table(
    "artifacts",
    metadata,
    _refers("execution_id", "executions.id"),
    _text("name"),
    _text("sha256"),
    _number("size"),
    _number("stored_at"),
    PrimaryKeyConstraint("execution_id", "name"),
    Index("ix_artifacts_sha256", "sha256"),
)

workers = Table(
    "workers",
    metadata,
    _id(),
    _text("name"),
    _text("worker_type"),
    _text("version"),
    _text("host"),
    _number("slots"),
    _text("specializations"),
    _text("tools"),
    _text("key_id"),
    _text("status"),
    _text("current_tasks"),
    _text("metrics"),
    _number("registered_at"),
    _number("seen_at"),
    Column("note", Text),
    _number("draining"),
    Column("session", Text),
    _number("claims_answered", default=0),
    _number("protocol", default=1),
    _text("account", default="default"),
)

model_limits = Table(
    "model_limits",
    metadata,
    Column("account", Text, primary_key=True),
    _number("until"),
    _number("told_at"),
    _text("told_by"),
    _text("why"),
)
"""Until when the workers of an account with the model get no orders, because its limit is used up."""

requests = Table(
    "requests",
    metadata,
    _id(),
    _text("task_id"),
    _refers("work_order_id", "work_orders.id"),
    _refers("execution_id", "executions.id"),
    _text("kind"),
    _text("message"),
    _text("context"),
    _text("options"),
    _number("created_at"),
    _number("expires_at"),
    _text("status"),
    Column("response", Text),
    Column("call", Text),
    _text("unanswered", default="decide"),
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
    _id(),
    _number("created_at"),
    _text("created_by"),
    Column("expires_at", BigInteger),
    Column("forgotten_at", BigInteger),
    _refers("request_id", "requests.id"),
    _text("kind"),
    Column("type", Text),
    Column("repository", Text),
    _number("permission"),
    _text("likeness"),
    _text("message"),
    _text("response"),
    Index("ix_precedents_likeness", "likeness"),
)
"""`likeness` is a digest of what a request must have in common with the one that was answered; type and repository are
where it holds, NULL for everywhere; `permission` is the rank of the highest level at which it does."""

repositories = Table(
    "repositories",
    metadata,
    _id(),
    _text("address"),
    _text("settings"),
    _number("created_at"),
    _text("created_by"),
    _number("updated_at"),
    Column("credential", Text),
    Column("secret", Text),
    Column("webhook", Text),
    Column("trouble", Text),
    UniqueConstraint("address"),
)
"""What operators say of repositories. `address` is the normal form of theirs; `credential` says what kind is kept, and
`secret` and `webhook` are sealed."""

repository_spellings = Table(
    "repository_spellings",
    metadata,
    Column("url", Text, primary_key=True),
    _text("repository_id"),  # no foreign key, here and below: what is removed meanwhile must not fail an order's end
    Index("ix_repository_spellings_repository_id", "repository_id"),
)
"""Under which addresses orders name a repository that the server knows, each as it was written."""

repository_days = Table(
    "repository_days",
    metadata,
    _text("repository_id"),
    _number("day"),
    Column("spent_usd", Float, nullable=False),
    PrimaryKeyConstraint("repository_id", "day"),
)
"""What executions that ended on a day (counted from 1970, UTC) have cost."""

errands = Table(
    "errands",
    metadata,
    _id(),
    _text("key"),
    _text("repository"),
    _text("errand"),
    _number("due"),
    _number("not_before", default=0),
    _number("ready_at"),
    _number("version", default=1),
    Column("worker_id", Text),
    _number("given_version", default=0),
    _number("tries", default=0),
    _text("unable", default="[]"),
    _text("trouble", default=""),
    UniqueConstraint("key"),
    Index("ix_errands_ready_at", "ready_at", "id"),
    Index("ix_errands_repository", "repository"),
    Index("ix_errands_worker_id", "worker_id"),
)
"""What the server wants of forges. `ready_at` is when somebody may take it: the later of `due` and `not_before`, or, of
one that `worker_id` has, the end of that worker's time. `version` grows with each wish, and `given_version` is the one
that the worker was given."""

intake = Table(
    "intake",
    metadata,
    _text("address"),
    _text("what"),
    _text("task_id"),
    _number("at"),
    PrimaryKeyConstraint("address", "what"),
)
"""What was made of issues and comments on forges. Never removed, so that nothing is made of them again."""

intake_tasks = Table(
    "intake_tasks",
    metadata,
    Column("task_id", Text, primary_key=True),
    _text("repository_id"),
    _number("number"),
    _number("is_pull"),
    _text("said", default=""),
    Column("asked", Text),
    Column("asked_at", BigInteger),
    Index("ix_intake_tasks_repository_id", "repository_id", "asked"),
)
"""The status comments of tasks from forges: what each is to say, and which request it shows since when."""

intake_looks = Table(
    "intake_looks", metadata, Column("repository_id", Text, primary_key=True), _number("seen_to"), _text("users")
)
"""Up to when everything on the forge was seen, and whose words counted then."""

follow_ups = Table(
    "follow_ups",
    metadata,
    Column("task_id", Text, ForeignKey("tasks.id"), primary_key=True),
    _text("latest"),
    _text("state"),
    _text("content"),
    Index("ix_follow_ups_latest", "latest"),
)
"""Pull requests of ours that are followed, by the task that opened them. `latest` is the task that delivered last."""

comments = Table(
    "comments",
    metadata,
    _refers("work_order_id", "work_orders.id"),
    _number("number"),
    _number("at"),
    _text("author"),
    _text("text"),
    PrimaryKeyConstraint("work_order_id", "number"),
)

readers = Table(
    "readers",
    metadata,
    Column("name", Text, primary_key=True),
    _number("position"),
    Column("held_by", Text),
    Column("held_until", BigInteger),
)
"""How far those have read who follow the events on the server's side, such as the notifiers. Of several servers one
reads for each name: `held_by`, until it was not heard of up to `held_until`."""

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _number("at"),
    _text("kind"),
    Column("task_id", Text),
    Column("work_order_id", Text),
    Column("execution_id", Text),
    Column("worker_id", Text),
    _text("actor"),
    _text("data"),
    Index("ix_events_task_id", "task_id", "seq"),
)

keys = Table(
    "keys",
    metadata,
    _id(),
    _text("name"),
    _text("prefix"),
    _text("digest"),
    _text("scope"),
    _number("created_at"),
    _text("created_by"),
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
    _number("at"),
    _text("kind"),
    _text("actor"),
    _number("events_to"),
    _text("data"),
    _text("previous"),
    _text("hash"),
)
"""A trigger refuses to change or delete its rows."""
