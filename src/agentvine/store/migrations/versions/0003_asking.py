"""Exact approvals, what happens to what nobody answers, precedents, comments, readers of events.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", sa.Column("call", sa.Text(), nullable=True))
    op.add_column("requests", sa.Column("unanswered", sa.Text(), nullable=False, server_default="decide"))
    op.add_column("requests", sa.Column("assistant", sa.Text(), nullable=True))
    op.add_column("requests", sa.Column("assistant_at", sa.BigInteger(), nullable=True))
    op.create_index("ix_requests_assistant_at", "requests", ["assistant_at"])
    op.create_index("ix_requests_created_at", "requests", ["created_at", "id"])
    op.add_column("executions", sa.Column("comments_heard", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("evidence", sa.Column("envelope", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "precedents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("forgotten_at", sa.BigInteger(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("permission", sa.BigInteger(), nullable=False),
        sa.Column("likeness", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_precedents"),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"], name="fk_precedents_request_id"),
    )
    op.create_index("ix_precedents_likeness", "precedents", ["likeness"])
    op.create_table(
        "comments",
        sa.Column("work_order_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("work_order_id", "number", name="pk_comments"),
        sa.ForeignKeyConstraint(["work_order_id"], ["work_orders.id"], name="fk_comments_work_order_id"),
    )
    op.create_table(
        "readers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("held_by", sa.Text(), nullable=True),
        sa.Column("held_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_readers"),
    )


def downgrade() -> None:
    for table in ("readers", "comments", "precedents"):
        op.drop_table(table)
    op.drop_column("evidence", "envelope")
    op.drop_column("executions", "comments_heard")
    op.drop_index("ix_requests_created_at", "requests")
    op.drop_index("ix_requests_assistant_at", "requests")
    for name in ("assistant_at", "assistant", "unanswered", "call"):
        op.drop_column("requests", name)
