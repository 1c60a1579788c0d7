"""Pull requests of ours that are followed.

Revision: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "follow_ups",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("latest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", name="pk_follow_ups"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_follow_ups_task_id"),
    )
    op.create_index("ix_follow_ups_latest", "follow_ups", ["latest"])


def downgrade() -> None:
    op.drop_index("ix_follow_ups_latest", "follow_ups")
    op.drop_table("follow_ups")
