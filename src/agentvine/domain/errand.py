"""What the server wants of a forge. Workers run its errands: they hold the tokens and reach the forges, the server not.

An errand either looks, or says how the forge is to look afterwards. So it may be run twice, by two workers at once, and
again after a lost answer. What comes back is what the forge shows at that moment, never what somebody told of it: a
webhook only makes us look earlier.
"""

from typing import Annotated, Literal

from pydantic import Field

from agentvine.domain.base import Line, Model, Moment
from agentvine.domain.forge import Body, Ident, IssueSeen, Number, PullSeen, Said, Word
from agentvine.domain.ids import WorkerId
from agentvine.domain.repository import BranchName, RepositoryUrl


class LookAtPull(Model):
    """How a pull request of ours stands. Result: `PullSeen`, or nothing if there is none any more."""

    kind: Literal["look_at_pull"] = "look_at_pull"
    repository: RepositoryUrl
    branch: BranchName
    url: str = ""
    """Its address, where that is known."""


class LookForWork(Model):
    """Issues with `label`, and issues and pull requests on which something was said after `since`.

    Result: `WorkSeen`.
    """

    kind: Literal["look_for_work"] = "look_for_work"
    repository: RepositoryUrl
    label: Line | None = None
    since: Moment
    users: Annotated[tuple[Word, ...], Field(max_length=200)] | None = None
    """Whose comments count; None: an earlier server does not tell."""
    heads_from: Number = 1
    """The pull request from which on it is asked first where they come from: one look cannot ask it of all."""


class LookAtIssue(Model):
    """One issue, or a pull request as an issue. Result: `IssueSeen`, or nothing if there is none any more."""

    kind: Literal["look_at_issue"] = "look_at_issue"
    repository: RepositoryUrl
    number: Number
    is_pull: bool = False
    """Which of the two, where issues and pull requests are numbered apart (GitLab)."""


class Say(Model):
    """Have exactly one comment that carries `mark`, with this text. Result: `Said`.

    In `thread` it answers there, if the forge has threads; else it stands on the issue or pull request by itself.
    """

    kind: Literal["say"] = "say"
    repository: RepositoryUrl
    number: Number
    is_pull: bool = False
    """Which of the two, where issues and pull requests are numbered apart (GitLab)."""
    thread: Ident | None = None
    mark: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,100}$")]
    text: Body


class RunAgain(Model):
    """Have a failed check run once more. Result: nothing; a refusal is an error."""

    kind: Literal["run_again"] = "run_again"
    repository: RepositoryUrl
    check: Ident


Errand = Annotated[LookAtPull | LookForWork | LookAtIssue | Say | RunAgain, Field(discriminator="kind")]


class WorkSeen(Model):
    """What somebody may want to be worked on. Issues that both were labelled and talked about are here once."""

    issues: Annotated[tuple[IssueSeen, ...], Field(max_length=500)] = ()


class ErrandResult(Model):
    """What a worker brings back. At most one of `pull`, `issue`, `work`, `said` is there; `error` says why not."""

    worker_id: WorkerId
    pull: PullSeen | None = None
    issue: IssueSeen | None = None
    work: WorkSeen | None = None
    said: Said | None = None
    error: Annotated[str, Field(max_length=2000)] = ""
    """For people: what to mend, or what the forge said."""
    for_good: bool = False
    """Whether a person has to mend something before another try can come to anything."""
    unable: bool = False
    """Whether it is this worker that cannot, having no forge or no token for the repository: another one may."""
    retry_after_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
