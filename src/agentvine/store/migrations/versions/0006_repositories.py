"""What operators say of repositories, the spellings of their addresses, and what they cost by day.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "repositories",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_repositories"),
        sa.UniqueConstraint("address", name="uq_repositories_address"),
    )
    op.create_table(
        "repository_spellings",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("url", name="pk_repository_spellings"),
    )
    op.create_index("ix_repository_spellings_repository_id", "repository_spellings", ["repository_id"])
    op.create_table(
        "repository_days",
        sa.Column("repository_id", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("spent_usd", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "day", name="pk_repository_days"),
    )


def downgrade() -> None:
    op.drop_table("repository_days")
    op.drop_index("ix_repository_spellings_repository_id", "repository_spellings")
    op.drop_table("repository_spellings")
    op.drop_table("repositories")
