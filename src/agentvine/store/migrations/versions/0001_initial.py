"""The first schema.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False, default: sa.TextClause | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable, server_default=default)


def _number(name: str, *, nullable: bool = False, default: sa.TextClause | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable, server_default=default)


def _partial_index(name: str, table: str, columns: list[str | sa.TextClause], condition: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


def upgrade() -> None:
    _tasks()
    _needs()
    _submissions()
    _work_orders()
    _executions()
    _evidence()
    _transcripts()
    _artifacts()
    _workers()
    _requests()
    _events()
    _keys()


def _tasks() -> None:
    op.create_table(
        "tasks",
        _text("id"),
        _text("work_order_id"),
        _number("created_at"),
        _text("created_by"),
        _text("type"),
        _text("repository"),
        _number("permission"),
        _text("asked"),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.UniqueConstraint("work_order_id", name="uq_tasks_work_order_id"),
    )


def _needs() -> None:
    op.create_table(
        "needs",
        _text("task_id"),
        _text("needed_id"),
        sa.ForeignKeyConstraint(["needed_id"], ["tasks.id"], name="fk_needs_needed_id"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_needs_task_id"),
        sa.PrimaryKeyConstraint("task_id", "needed_id", name="pk_needs"),
    )
    op.create_index("ix_needs_needed_id", "needs", ["needed_id", "task_id"])


def _submissions() -> None:
    op.create_table(
        "submissions",
        _text("key_id"),
        _text("idempotency_key"),
        _text("digest"),
        _text("task_id"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key", name="pk_submissions"),
    )


def _work_orders() -> None:
    op.create_table(
        "work_orders",
        _text("id"),
        _text("task_id"),
        _text("type"),
        _text("repository"),
        _text("branch"),
        _number("permission"),
        _text("queue"),
        _number("priority"),
        _text("requires"),
        sa.Column("budget_usd", sa.Float(), nullable=False),
        _number("max_attempts"),
        _number("created_at"),
        _number("updated_at"),
        _text("status"),
        _number("claimable"),
        _number("blocked_by"),
        _number("not_before", nullable=True),
        _number("front"),
        _number("attempts"),
        _number("forgiven"),
        _number("workers_lost"),
        _number("lease_token"),
        _text("lease_worker", nullable=True),
        _text("lease_execution", nullable=True),
        _number("lease_expires", nullable=True),
        _text("request_id", nullable=True),
        _text("last_execution_id", nullable=True),
        _text("failure", nullable=True),
        sa.Column("spent_usd", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_work_orders_task_id"),
        sa.PrimaryKeyConstraint("id", name="pk_work_orders"),
        sa.UniqueConstraint("task_id", name="uq_work_orders_task_id"),
    )
    _partial_index(
        "ix_work_orders_claimable",
        "work_orders",
        [
            "type",
            "queue",
            sa.text("front DESC"),
            sa.text("priority DESC"),
            "created_at",
            "id",
            "permission",
            "requires",
            "repository",
        ],
        "claimable = 1",
    )
    _partial_index(
        "ix_work_orders_delayed",
        "work_orders",
        ["status", "claimable", "not_before"],
        "status = 'pending' AND claimable = 0 AND not_before IS NOT NULL",
    )
    _partial_index("ix_work_orders_running", "work_orders", ["status", "repository"], "status = 'running'")
    _partial_index("ix_work_orders_failed", "work_orders", ["status", "id"], "status = 'failed'")
    _partial_index("ix_work_orders_waiting", "work_orders", ["status", "id"], "status = 'waiting'")


def _executions() -> None:
    op.create_table(
        "executions",
        _text("id"),
        _text("work_order_id"),
        _text("task_id"),
        _text("type"),
        _text("worker_id"),
        _text("key_id"),
        _number("attempt"),
        _number("lease_token"),
        _text("phase"),
        _text("outcome", nullable=True),
        _text("failure", nullable=True),
        _number("started_at"),
        _number("ended_at", nullable=True),
        _text("usage", default=sa.text("'{}'")),
        _text("base_sha", nullable=True),
        _text("head_sha", nullable=True),
        _text("session_id", nullable=True),
        _text("delivery", nullable=True),
        _text("artifacts", default=sa.text("'[]'")),
        _number("verified", default=sa.text("0")),
        _text("summary", default=sa.text("''")),
        sa.ForeignKeyConstraint(["work_order_id"], ["work_orders.id"], name="fk_executions_work_order_id"),
        sa.PrimaryKeyConstraint("id", name="pk_executions"),
        sa.UniqueConstraint("work_order_id", "lease_token", name="uq_executions_work_order_id_lease_token"),
        sqlite_with_rowid=False,
    )


def _evidence() -> None:
    op.create_table(
        "evidence",
        _text("execution_id"),
        _text("content"),
        sa.ForeignKeyConstraint(["execution_id"], ["executions.id"], name="fk_evidence_execution_id"),
        sa.PrimaryKeyConstraint("execution_id", name="pk_evidence"),
    )


def _transcripts() -> None:
    op.create_table(
        "transcripts",
        _text("execution_id"),
        _number("number"),
        _text("entry"),
        sa.ForeignKeyConstraint(["execution_id"], ["executions.id"], name="fk_transcripts_execution_id"),
        sa.PrimaryKeyConstraint("execution_id", "number", name="pk_transcripts"),
    )


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        _text("execution_id"),
        _text("name"),
        _text("sha256"),
        _number("size"),
        _number("stored_at"),
        sa.ForeignKeyConstraint(["execution_id"], ["executions.id"], name="fk_artifacts_execution_id"),
        sa.PrimaryKeyConstraint("execution_id", "name", name="pk_artifacts"),
    )


def _workers() -> None:
    op.create_table(
        "workers",
        _text("id"),
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
        _text("note", nullable=True),
        _number("draining"),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )


def _requests() -> None:
    op.create_table(
        "requests",
        _text("id"),
        _text("task_id"),
        _text("work_order_id"),
        _text("execution_id"),
        _text("kind"),
        _text("message"),
        _text("context"),
        _text("options"),
        _number("created_at"),
        _number("expires_at"),
        _text("status"),
        _text("response", nullable=True),
        sa.ForeignKeyConstraint(["execution_id"], ["executions.id"], name="fk_requests_execution_id"),
        sa.ForeignKeyConstraint(["work_order_id"], ["work_orders.id"], name="fk_requests_work_order_id"),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index("ix_requests_status", "requests", ["status", "created_at", "id"])
    op.create_index("ix_requests_work_order_id", "requests", ["work_order_id"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        _number("at"),
        _text("kind"),
        _text("task_id", nullable=True),
        _text("work_order_id", nullable=True),
        _text("execution_id", nullable=True),
        _text("worker_id", nullable=True),
        _text("actor"),
        _text("data"),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_index("ix_events_task_id", "events", ["task_id", "seq"])


def _keys() -> None:
    op.create_table(
        "keys",
        _text("id"),
        _text("name"),
        _text("prefix"),
        _text("digest"),
        _text("scope"),
        _number("created_at"),
        _text("created_by"),
        _number("expires_at", nullable=True),
        _number("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("prefix", name="uq_keys_prefix"),
    )


def downgrade() -> None:
    for table in (
        "keys",
        "events",
        "requests",
        "workers",
        "artifacts",
        "transcripts",
        "evidence",
        "executions",
        "work_orders",
        "submissions",
        "needs",
        "tasks",
    ):
        op.drop_table(table)
