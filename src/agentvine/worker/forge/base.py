"""The port to a forge."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Proposal:
    """A pushed branch that wants to be merged."""

    repository: str
    branch: str
    target: str
    title: str
    text: str
    """Markdown: what was asked, and the evidence."""
    head_sha: str


class Forge(Protocol):
    """Opens pull requests."""

    async def propose(self, proposal: Proposal) -> str | None:
        """See to it that there is exactly one open pull request for the branch, and return its address.

        None where there are no pull requests: the branch is all there is. Raises RepositoryProblem.
        """
        ...

    @property
    def opens_pull_requests(self) -> bool:
        """False for a bare git remote."""
        ...
