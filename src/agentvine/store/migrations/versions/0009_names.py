"""Since when users are named in the settings of a repository, and addresses in which the case of letters says nothing.

Revision: 0009
"""

import json
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KINDS = {"github", "gitlab", "gitea", "forgejo"}
_HOSTS = {"github.com", "gitlab.com", "codeberg.org", "gitea.com"}


def upgrade() -> None:
    op.add_column("repositories", sa.Column("named", sa.Text(), nullable=True))
    op.add_column("repositories", sa.Column("folded", sa.Text(), nullable=True))
    op.create_index("ix_repositories_folded", "repositories", ["folded"])
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT id, address, settings FROM repositories")).fetchall():
        caseless = _forge(row.settings) in _KINDS or urlsplit(row.address).hostname in _HOSTS
        if caseless and row.address.isascii():
            connection.execute(
                sa.text("UPDATE repositories SET folded = :folded WHERE id = :id"),
                {"id": row.id, "folded": row.address.lower()},
            )


def _forge(settings: str) -> str | None:
    try:
        said = json.loads(settings)
    except ValueError:
        return None
    return said.get("forge") if isinstance(said, dict) else None


def downgrade() -> None:
    op.drop_index("ix_repositories_folded", "repositories")
    op.drop_column("repositories", "folded")
    op.drop_column("repositories", "named")
