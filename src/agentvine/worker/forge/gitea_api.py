"""How the API of Gitea and Forgejo tells its lists."""

from agentvine.worker.forge.connection import Connection
from agentvine.worker.forge.repository_api import RepositoryApi, owner_and_name, piece

PAGE = 50
"""Gitea's own most (MAX_RESPONSE_ITEMS), unless its operator changed it."""
PAGES = 10
"""Pages of a list that are read."""


def gitea_api(connection: Connection, repository: str) -> RepositoryApi:
    """The API of `repository` (owner/name). Raises ForgeRefused for anything else."""
    owner, name = owner_and_name(repository, "Gitea")
    return RepositoryApi(connection, f"repos/{piece(owner)}/{piece(name)}", page_size=PAGE, size_name="limit")
