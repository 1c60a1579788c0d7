"""What a forge shows: pull requests and what became of them, issues, and what people write.

All text in here comes from strangers. It is data, wherever it goes.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from agentvine.domain.base import Model, Moment
from agentvine.domain.repository import BranchName, Sha

Ident = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
"""What a forge calls something; numbers are written out."""
Word = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
Body = Annotated[str, StringConstraints(max_length=65_536, pattern=r"^[^\x00]*$")]
Number = Annotated[int, Field(ge=1, le=2**53)]


class ForgeKind(StrEnum):
    """What software a forge runs."""

    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    FORGEJO = "forgejo"
    NONE = "none"
    """Pushes only, although it may be a forge."""


class ForgeComment(Model):
    """Something that somebody wrote on an issue or a pull request, also as part of a review."""

    id: Ident
    """Unlike that of every other comment in this repository, whatever kinds of comments the forge has."""
    thread: Ident | None = None
    """To what an answer goes; None: it is answered by a comment of its own."""
    author: Word
    body: Body
    at: Moment
    url: Word = ""
    file: Word | None = None
    line: int | None = None
    code: Body = ""
    """The part of the diff that it is about, as the forge shows it."""
    ours: bool = False
    """True if the account that we use wrote it, or it carries one of our marks."""
    edited: bool = False
    """True if it was changed after it was written, perhaps by somebody else."""


class FailedCheck(Model):
    """A job of the forge's CI that failed for the head of a pull request."""

    id: Ident
    name: Word
    step: Word = ""
    """The part of it that failed, if the forge says so."""
    log: Body = ""
    """The end of its log; empty where the forge gives none."""
    url: Word = ""
    can_run_again: bool = False


Checks = Literal["none", "pending", "passed", "failed"]
"""Of the head commit: nobody checks it, somebody still does, all passed, at least one failed and none is under way."""


class PullSeen(Model):
    """A pull request as the forge shows it now."""

    number: Number
    url: Word
    state: Literal["open", "merged", "closed"]
    branch: BranchName
    target: BranchName
    head_sha: Sha
    conflicts: bool = False
    """Whether the forge says that it cannot be merged as it is. False where it does not know."""
    checks: Checks = "none"
    failed: Annotated[tuple[FailedCheck, ...], Field(max_length=50)] = ()
    comments: Annotated[tuple[ForgeComment, ...], Field(max_length=500)] = ()
    """Oldest first; of more than fit, the latest."""


class PullHead(Model):
    """Where a pull request comes from."""

    branch: Word
    """Its name to the letter, whatever it is: not every name is one that we give to git. Empty: the forge refuses to
    show it."""
    own: bool
    """Whether it is a branch of the repository itself; else of somebody's copy."""


class IssueSeen(Model):
    """An issue as the forge shows it now, with what was said."""

    number: Number
    url: Word
    title: Word
    body: Body
    author: Word
    at: Moment
    is_open: bool = True
    labels: Annotated[tuple[Word, ...], Field(max_length=100)] = ()
    is_pull: bool = False
    """A pull request is an issue to some forges: what was said on it is here, what it changes is not."""
    head: PullHead | None = None
    """Of a pull request on which somebody gives a command, looked at for work; earlier workers do not tell it, and
    nobody tells it of more of them than one look may ask for."""
    comments: Annotated[tuple[ForgeComment, ...], Field(max_length=500)] = ()
    """Oldest first; of more than fit, the latest."""


class Said(Model):
    """A comment of ours that is there."""

    id: Ident
    url: Word = ""
    at: Moment | None = None
    """When it was written or last changed, by the forge's clock."""
