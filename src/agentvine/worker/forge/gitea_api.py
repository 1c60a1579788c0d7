"""How the API of Gitea and Forgejo tells its lists."""

from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.connection import Connection
from agentvine.worker.forge.repository_api import RepositoryApi, owner_and_name, piece
from agentvine.worker.forge.shown import Text

PAGE = 50
"""Gitea's own most (MAX_RESPONSE_ITEMS), unless its operator changed it."""
PAGES = 10
"""Pages of a list that are read."""


class Head(Value):
    """Where a pull request comes from."""

    label: Text = ""
    ref: Text = ""
    sha: Text = ""
    repo_id: int = 0

    @property
    def branch(self) -> str:
        """Its name. Once it was deleted, as after a merge, `ref` is that of the pull request (refs/pull/7/head)."""
        return self.label if self.label and self.ref.startswith("refs/pull/") else self.ref


def gitea_api(connection: Connection, repository: str) -> RepositoryApi:
    """The API of `repository` (owner/name). Raises ForgeRefused for anything else."""
    owner, name = owner_and_name(repository, "Gitea")
    return RepositoryApi(connection, f"repos/{piece(owner)}/{piece(name)}", page_size=PAGE, size_name="limit")
