"""The port to a forge, and what can go wrong with one.

RepositoryProblem            worker/git_errors.py; `reason` says what follows (domain/retry.py)
└── ForgeProblem
    ├── ForgeUnavailable     try again, not before `retry_after` seconds if that is known
    └── ForgeRefused         a person has to mend something; the message says what
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from agentvine.domain.errand import LookAtIssue, LookAtPull, LookForWork, RunAgain, Say, WorkSeen
from agentvine.domain.forge import IssueSeen, PullSeen, Said
from agentvine.domain.retry import FailureReason
from agentvine.worker.git_errors import RepositoryProblem


@dataclass(frozen=True, slots=True)
class Proposal:
    """A pushed branch that wants to be merged."""

    repository: str
    branch: str
    target: str
    title: str
    text: str
    """Markdown: what was asked, and the evidence. Made harmless and bounded by the forge."""
    head_sha: str
    order: str = ""
    """The work order's id, which the pull request's text carries to be known by; empty: known by its branch."""
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    """User names; on GitHub `team/NAME` asks a team."""
    draft: bool = False

    @property
    def mark(self) -> str:
        """What its pull request is known by."""
        return mark_of(self.order, self.repository, self.branch)


@dataclass(frozen=True, slots=True)
class Remark:
    """What a review says of one line of the result."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Review:
    """What was found in a branch that has a pull request."""

    repository: str
    branch: str
    head_sha: str
    """The commit that was looked at."""
    text: str
    remarks: tuple[Remark, ...] = ()
    order: str = ""

    @property
    def mark(self) -> str:
        """What it is known by."""
        return mark_of(self.order, self.repository, f"{self.branch} {self.head_sha}")


def mark_of(order: str, *otherwise: str) -> str:
    """A name for hidden comments: the order's id, or one made of what else tells it apart."""
    if order and all(char.isalnum() or char == "_" for char in order):
        return order
    return hashlib.sha256("\n".join((order, *otherwise)).encode()).hexdigest()[:24]


class ForgeProblem(RepositoryProblem):
    """A forge did not do what was asked."""

    retry_after: float | None = None


class ForgeUnavailable(ForgeProblem):
    """It does not answer, fails, or wants to be left alone for `retry_after` seconds."""

    reason = FailureReason.FORGE_UNAVAILABLE

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ForgeRefused(ForgeProblem):
    """It said no, and would say so again."""

    def __init__(self, message: str, reason: FailureReason = FailureReason.PUSH_REJECTED) -> None:
        super().__init__(message)
        self.reason = reason


class Forge(Protocol):
    """Opens pull requests and posts reviews. Both may be called again after any failure: what is there is found."""

    async def propose(self, proposal: Proposal) -> str | None:
        """See to it that there is exactly one open pull request for the branch, and return its address.

        None where there are no pull requests: the branch is all there is. Raises ForgeProblem, GitFailed.
        """
        ...

    async def review(self, review: Review) -> str | None:
        """See to it that the branch's open pull request has exactly this one review, and return its address.

        Remarks on lines that are not in its diff go into the review's text. None where nothing can be reviewed: there
        are no pull requests, or none is open for the branch. Raises ForgeProblem, GitFailed.
        """
        ...

    @property
    def opens_pull_requests(self) -> bool:
        """False for a bare git remote."""
        ...


class Lookout(Protocol):
    """Sees what becomes of things on a forge, and answers there, for one repository. All calls may be made again.

    Each raises ForgeProblem and GitFailed. What is shown of a forge is bounded and stripped of NUL, never trusted.
    """

    async def pull(self, wanted: LookAtPull) -> PullSeen | None:
        """The newest pull request of that branch of this repository; None if it never had one."""
        ...

    async def work(self, wanted: LookForWork) -> WorkSeen:
        """Open issues with the label, and whatever issue or pull request was said something on since then.

        Of comments, those since then are there at least.
        """
        ...

    async def issue(self, wanted: LookAtIssue) -> IssueSeen | None:
        """One issue, or a pull request as one, with its comments."""
        ...

    async def say(self, wanted: Say) -> Said:
        """See to it that exactly one comment carries the mark, and that it has this text."""
        ...

    async def run_again(self, wanted: RunAgain) -> None:
        """Have a check run once more. Raises ForgeRefused where that is not possible."""
        ...
