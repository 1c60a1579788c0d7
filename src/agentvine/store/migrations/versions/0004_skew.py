"""How many setbacks an order had in a row; which claims of a worker are answered; what it and the server speak.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ADDED = (("work_orders", "setbacks", "0"), ("workers", "claims_answered", "0"), ("workers", "protocol", "1"))


def upgrade() -> None:
    for table, name, default in _ADDED:
        op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=False, server_default=default))


def downgrade() -> None:
    for table, name, _ in reversed(_ADDED):
        op.drop_column(table, name)
