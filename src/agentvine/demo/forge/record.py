"""What the forge keeps."""

import itertools
from dataclasses import dataclass, field
from datetime import datetime

OWNER, NAME = "acme", "purse"
BOT = "agentvine-bot"
"""Whose token the workers have."""


@dataclass
class Comment:
    """Something said on an issue or a pull request."""

    id: int
    author: str
    body: str
    created_at: datetime
    updated_at: datetime


@dataclass
class Remark:
    """Something said on a line of a pull request, as a part of a review."""

    id: int
    author: str
    body: str
    path: str
    line: int
    hunk: str
    commit: str
    at: datetime


@dataclass
class Review:
    """`state` is a word of Gitea's: PENDING, COMMENT, APPROVED or REQUEST_CHANGES."""

    id: int
    author: str
    body: str
    state: str
    commit: str
    at: datetime
    remarks: list[Remark] = field(default_factory=list)


@dataclass
class Job:
    """What the forge's CI does for a commit. `state`: pending, success or failure, of the latest attempt."""

    id: int
    sha: str
    name: str
    step: str
    at: datetime
    attempt: int = 1
    state: str = "pending"
    log: str = ""

    @property
    def words(self) -> str:
        """How it stands, in a few words."""
        lines = [line.strip("= ") for line in self.log.splitlines() if line.strip("= ")]
        return "running" if self.state == "pending" else lines[-1] if lines else self.state


@dataclass
class Pull:
    """What a pull request has beyond an issue. `head_sha` stays what it was once it is merged."""

    branch: str
    target: str
    head_sha: str
    base_sha: str
    mergeable: bool = True
    merged_sha: str | None = None
    merged_at: datetime | None = None
    reviewers: list[str] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)

    @property
    def merged(self) -> bool:
        return self.merged_sha is not None


@dataclass
class Issue:
    """An issue, or a pull request: they share their numbers."""

    number: int
    author: str
    title: str
    body: str
    created_at: datetime
    updated_at: datetime
    labels: list[str] = field(default_factory=list)
    is_open: bool = True
    comments: list[Comment] = field(default_factory=list)
    pull: Pull | None = None


@dataclass
class Record:
    """All of one repository."""

    issues: dict[int, Issue] = field(default_factory=dict)
    labels: list[str] = field(default_factory=lambda: ["agentvine", "bug"])
    jobs: list[Job] = field(default_factory=list)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(101))

    def next_id(self) -> int:
        """For comments, reviews, remarks and checks: no two are alike."""
        return next(self._ids)

    def label_id(self, name: str) -> int:
        """The id of a label."""
        return self.labels.index(name) + 1

    @property
    def pulls(self) -> list[tuple[Issue, Pull]]:
        """The pull requests, the one that was changed last first."""
        found = [(issue, issue.pull) for issue in self.issues.values() if issue.pull is not None]
        return sorted(found, key=lambda one: one[0].updated_at, reverse=True)

    def open_pull(self, branch: str, target: str | None = None) -> tuple[Issue, Pull] | None:
        """The open pull request of a branch."""
        fitting = (
            (issue, pull)
            for issue, pull in self.pulls
            if issue.is_open and pull.branch == branch and target in {None, pull.target}
        )
        return next(fitting, None)

    def comment(self, comment_id: int) -> tuple[Issue, Comment] | None:
        """A comment, and what it stands on."""
        found = ((issue, one) for issue in self.issues.values() for one in issue.comments if one.id == comment_id)
        return next(found, None)

    def remark(self, remark_id: int) -> tuple[Issue, Review, Remark] | None:
        """Something said on a line, and where."""
        found = (
            (issue, review, remark)
            for issue, pull in self.pulls
            for review in pull.reviews
            for remark in review.remarks
            if remark.id == remark_id
        )
        return next(found, None)

    def jobs_of(self, sha: str) -> list[Job]:
        """What was done for a commit."""
        return [job for job in self.jobs if job.sha == sha]
