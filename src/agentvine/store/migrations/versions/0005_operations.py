"""When a model is not to be asked, and under which account workers ask; which artifacts have a content.

Revision: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("account", sa.Text(), nullable=False, server_default="default"))
    op.create_index("ix_artifacts_sha256", "artifacts", ["sha256"])
    op.create_table(
        "model_limits",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("told_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_model_limits"),
    )


def downgrade() -> None:
    op.drop_table("model_limits")
    op.drop_index("ix_artifacts_sha256", "artifacts")
    op.drop_column("workers", "account")
