"""What the three forges have in common, as far as we need it: one repository's pull requests and reviews.

The story that is told with these calls, the same for all of them, is in courier.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from agentvine.worker.forge.base import Proposal, Remark
from agentvine.worker.forge.difference import ChangedFile


class State(StrEnum):
    """Where a pull request stands."""

    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One, whatever the forge calls it."""

    number: int
    url: str
    state: State
    branch: str
    head_sha: str
    body: str
    ours: bool
    """True if its branch is in this repository, not in somebody's copy."""
    base_sha: str = ""
    start_sha: str = ""
    """What GitLab's positions need besides."""


@dataclass(frozen=True, slots=True)
class Place:
    """A remark on a line that the diff shows."""

    remark: Remark
    file: ChangedFile


@dataclass(frozen=True, slots=True)
class Draft:
    """A review as it shall be posted: texts are marked, harmless and bounded."""

    mark: str
    text: str
    places: Sequence[Place]
    head_sha: str


class AlreadyThere(Exception):
    """The forge says that there is one already."""


class Desk(Protocol):
    """Each call may raise Refusal, Unsure (only those that write) and ForgeProblem, besides what it says."""

    longest_title: int
    longest_text: int

    async def of_branch(self, branch: str) -> list[PullRequest]:
        """Every pull request of that branch of this repository, in any state."""
        ...

    async def recent(self) -> list[PullRequest]:
        """Those of this repository that were changed last, in any state: about a hundred."""
        ...

    async def open(self, proposal: Proposal, title: str, body: str) -> PullRequest:
        """A new one. Raises AlreadyThere."""
        ...

    async def rewrite(self, number: int, body: str) -> None:
        """Give it another text."""
        ...

    async def label(self, number: int, labels: Sequence[str]) -> None:
        """Add these labels."""
        ...

    async def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """Ask these people for a review."""
        ...

    async def renamed(self, branch: str) -> str | None:
        """What the branch is called now: the same, another name, or None if it is not there."""
        ...

    async def changed_files(self, pull: PullRequest) -> list[ChangedFile]:
        """What its diff shows."""
        ...

    async def posted(self, pull: PullRequest, mark: str) -> str | None:
        """The address of the review known by `mark`, if it was posted."""
        ...

    async def prepare(self, pull: PullRequest, draft: Draft) -> str:
        """See to it that exactly this is written down and not yet posted; gives a name for `post`.

        Raises AlreadyThere if this account has another unfinished review there.
        """
        ...

    async def post(self, pull: PullRequest, draft: Draft, name: str) -> str | None:
        """Post what was prepared; its address if the forge tells it at once."""
        ...
