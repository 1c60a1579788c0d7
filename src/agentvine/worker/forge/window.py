"""What the forges have in common for whoever looks at them, and answers there: one repository, seen from outside.

What is made of these calls, the same for all of them, is in watch.py.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agentvine.domain.forge import IssueSeen, PullHead, PullSeen

_LONGEST_BRANCH = 500
"""More than any branch may have with which we work."""


@dataclass(frozen=True, slots=True)
class Note:
    """A comment that may be ours. `place` is what its forge needs to find it again."""

    id: str
    url: str
    author: str
    body: str
    place: str = ""
    at: datetime | None = None
    """When it was written or last changed."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where something is said. `is_pull` matters where issues and pull requests are numbered apart."""

    number: int
    is_pull: bool = False
    thread: str | None = None


def head_of(branch: str, *, own: bool) -> PullHead:
    """Where a pull request comes from: its branch to the letter, for another name is another branch. Of one that is too
    long to be used, as much as shows that."""
    return PullHead(branch=branch[:_LONGEST_BRANCH], own=own)


class Window(Protocol):
    """Each call may raise Refusal and ForgeProblem, those that write Unsure as well."""

    longest_text: int

    async def account(self) -> str | None:
        """The name of the account that we use; None where the token may not ask for it."""
        ...

    async def pull(self, branch: str, url: str) -> PullSeen | None:
        """As in `Lookout`. `url` may be empty."""
        ...

    async def work(self, label: str | None, since: datetime) -> list[IssueSeen]:
        """As in `Lookout`."""
        ...

    async def issue(self, number: int, *, is_pull: bool) -> IssueSeen | None:
        """As in `Lookout`; None only if the repository itself is there."""
        ...

    async def head(self, number: int) -> PullHead:
        """Where that pull request comes from."""
        ...

    async def notes(self, spot: Spot) -> list[Note]:
        """What was said where an answer may stand: on the issue and, if one is named, in threads. Oldest first."""
        ...

    async def add(self, spot: Spot, text: str) -> Note:
        """Say something new: in the thread, if one is named and still there, else on the issue."""
        ...

    async def change(self, spot: Spot, note: Note, text: str) -> Note:
        """Give it another text; it as it is then."""
        ...

    async def remove(self, spot: Spot, note: Note) -> None:
        """Take it away."""
        ...

    async def under_way(self, check: str) -> bool:
        """Whether a check runs again, or did since. Raises Refusal with 404 for one that is unknown."""
        ...

    async def start(self, check: str) -> None:
        """Have it run again."""
        ...
