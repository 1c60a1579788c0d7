"""Errands to forges, and what was made of issues and comments there.

Revision: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "errands",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("errand", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("ready_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("given_version", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("tries", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("unable", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("trouble", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_errands"),
        sa.UniqueConstraint("key", name="uq_errands_key"),
    )
    op.create_index("ix_errands_ready_at", "errands", ["ready_at", "id"])
    op.create_index("ix_errands_repository", "errands", ["repository"])
    op.create_index("ix_errands_worker_id", "errands", ["worker_id"])
    op.create_table(
        "intake",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address", "what", name="pk_intake"),
    )
    op.create_table(
        "intake_tasks",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("is_pull", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False, server_default=""),
        sa.Column("asked", sa.Text(), nullable=True),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", name="pk_intake_tasks"),
    )
    op.create_index("ix_intake_tasks_repository_id", "intake_tasks", ["repository_id", "asked"])
    op.create_table(
        "intake_looks",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("seen_to", sa.BigInteger(), nullable=False),
        sa.Column("users", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", name="pk_intake_looks"),
    )


def downgrade() -> None:
    op.drop_table("intake_looks")
    op.drop_index("ix_intake_tasks_repository_id", "intake_tasks")
    op.drop_table("intake_tasks")
    op.drop_table("intake")
    for index in ("worker_id", "repository", "ready_at"):
        op.drop_index(f"ix_errands_{index}", "errands")
    op.drop_table("errands")
