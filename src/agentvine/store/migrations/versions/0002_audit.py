"""The audit log, secrets that overlap, workers' sessions.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQLITE = """
CREATE TRIGGER audit_stays_{verb} BEFORE {verb} ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END"""
_POSTGRESQL = (
    """
CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is only added to'; END $$""",
    """
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()""",
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("events_to", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(_SQLITE.format(verb=verb))
    else:
        for statement in _POSTGRESQL:
            op.execute(statement)
    op.add_column("workers", sa.Column("session", sa.Text(), nullable=True))
    op.add_column("keys", sa.Column("former_prefix", sa.Text(), nullable=True))
    op.add_column("keys", sa.Column("former_digest", sa.Text(), nullable=True))
    op.add_column("keys", sa.Column("former_until", sa.BigInteger(), nullable=True))
    op.create_index("ix_keys_former_prefix", "keys", ["former_prefix"])


def downgrade() -> None:
    op.drop_index("ix_keys_former_prefix", "keys")
    for name in ("former_until", "former_digest", "former_prefix"):
        op.drop_column("keys", name)
    op.drop_column("workers", "session")
    op.drop_table("audit")  # no trigger stops that
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_stays()")
