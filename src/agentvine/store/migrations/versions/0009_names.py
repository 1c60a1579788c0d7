"""Since when users are named in the settings of a repository, and addresses in which the case of letters says nothing.

Revision: 0009
"""

import json
from collections.abc import Mapping, Set
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

from agentvine.domain.repository_settings import address_of  # as the addresses that are kept were made

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KINDS = {"github", "gitlab", "gitea", "forgejo"}
_HOSTS = {"github.com", "gitlab.com", "codeberg.org", "gitea.com"}
_RANKS = {"human_required": 0, "supervised": 1, "autonomous": 2}
_Oldest = tuple[str, int | None]
"""The id of the oldest of those that are one, and the rank of its highest level."""

_SPELL = "INSERT INTO repository_spellings (url, repository_id) VALUES (:url, :id) ON CONFLICT (url) DO NOTHING"
_LOWER = (
    """UPDATE tasks SET permission = :rank WHERE permission > :rank AND repository = :url
       AND id IN (SELECT task_id FROM work_orders WHERE status IN ('pending', 'waiting', 'failed'))""",
    """UPDATE work_orders SET permission = :rank WHERE permission > :rank AND repository = :url
       AND status IN ('pending', 'waiting', 'failed')""",
)


def upgrade() -> None:
    op.add_column("repositories", sa.Column("named", sa.Text(), nullable=True))
    op.add_column("repositories", sa.Column("folded", sa.Text(), nullable=True))
    op.create_index("ix_repositories_folded", "repositories", ["folded"])
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, address, settings, created_at FROM repositories ORDER BY id")).all()
    oldest: dict[str, _Oldest] = {}
    for row in rows:
        said = _said(row.settings)
        caseless = said.get("forge") in _KINDS or urlsplit(row.address).hostname in _HOSTS
        folded = row.address.lower() if caseless and row.address.isascii() else None
        connection.execute(
            sa.text("UPDATE repositories SET folded = :folded, named = :named WHERE id = :id"),
            {"id": row.id, "folded": folded, "named": json.dumps(_named(said, row.created_at))},
        )
        if folded is not None:
            oldest.setdefault(folded, (row.id, _RANKS.get(said.get("permission_level") or "")))
    if oldest:
        _find_spellings(connection, {row.address for row in rows}, oldest)


def _find_spellings(connection: sa.Connection, exact: Set[str], oldest: Mapping[str, _Oldest]) -> None:
    """Let the orders that name one in another case belong to it, with the level that it says."""
    for url in connection.execute(sa.text("SELECT DISTINCT repository FROM tasks ORDER BY repository")).scalars().all():
        address = address_of(url)
        found = oldest.get(address.lower())
        if found is None or address in exact:
            continue
        repository_id, rank = found
        connection.execute(sa.text(_SPELL), {"url": url, "id": repository_id})
        for lower in _LOWER if rank is not None else ():
            connection.execute(sa.text(lower), {"url": url, "rank": rank})


def _said(settings: str) -> dict[str, Any]:
    try:
        said = json.loads(settings)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _named(said: Mapping[str, Any], created_at: int) -> dict[str, int]:
    """Since when users are named, as far as anybody knows: whole seconds, as forges tell them."""
    users = (user for part in ("intake", "follow_up") for user in said.get(part, {}).get("users", ()))
    return {user.lower(): created_at - created_at % 1_000_000 for user in users}


def downgrade() -> None:
    op.drop_index("ix_repositories_folded", "repositories")
    op.drop_column("repositories", "folded")
    op.drop_column("repositories", "named")
