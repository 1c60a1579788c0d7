"""What is remembered of a pull request of ours, and what people are shown of it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from agentvine.domain.base import Line, Model, Moment, Text
from agentvine.domain.execution import Count, Execution
from agentvine.domain.forge import Checks, Ident, Number, Word
from agentvine.domain.ids import TaskId, WorkOrderId
from agentvine.domain.repository import BranchName, RepositoryUrl, Sha

_MOST_HEADS = 50

Cause = Literal["checks", "conflicts", "comments"]


class PullState(StrEnum):
    """Whether a pull request is still followed, and else why not."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"
    GONE = "gone"
    """The forge does not show it any more."""
    OFF = "off"
    """The repository's settings say that nothing follows."""


class SecondRun(Model):
    """A check of the present head that was asked to run once more."""

    name: Word
    id: Ident
    """Of the run that had failed; where the forge gives the second run another one, that tells them apart."""
    at: Moment
    refused: bool = False
    flaky: bool = False
    """It passed."""


class Heard(Model):
    """A comment that was passed on."""

    id: Ident
    thread: Ident | None = None
    task_id: TaskId | None = None
    """The task that was told, by its comment with this number."""
    number: Count = 0
    answered: bool = False


class PullFollowed(Model):
    """A pull request of ours, and what was done about it."""

    task_id: TaskId
    """The task that opened it."""
    repository: RepositoryUrl
    branch: BranchName
    url: str = ""
    latest: TaskId
    """The last task that delivered onto its branch."""
    heads: Annotated[tuple[Sha, ...], Field(min_length=1)]
    """What was delivered, the latest last."""
    state: PullState = PullState.OPEN
    number: Number | None = None
    seen_head: Sha | None = None
    checks: Checks = "none"
    conflicts: bool = False
    seen_at: Moment | None = None
    looks: Count = 0
    """Since the last push, without a verdict on what was pushed."""
    missing: Count = 0
    """How often in a row the forge did not show it."""
    tries: Count = 0
    """How often it was gone on with for checks, conflicts or bots since a person last had a say."""
    went_on: Count = 0
    """How many tasks were made, or reopened, to go on with it since somebody last delivered by hand."""
    second_runs: tuple[SecondRun, ...] = ()
    checks_handled: Sha | None = None
    """The head whose failed checks were passed on."""
    conflicts_handled: Sha | None = None
    gone_on: TaskId | None = None
    """The task that was made, or reopened, to go on with it; None once that, or another one, has delivered."""
    causes: tuple[Cause, ...] = ()
    """Why it was."""
    heard: tuple[Heard, ...] = ()
    stopped: str = ""
    """Why a person has to do something; empty while nothing of that kind is known."""

    @property
    def head(self) -> Sha:
        """What was delivered last."""
        return self.heads[-1]

    def delivered(self, task_id: TaskId, head: Sha, url: str | None) -> "PullFollowed":
        """It after another delivery onto its branch. One that changed nothing leaves what is known of its head."""
        same = {
            "latest": task_id,
            "url": url or self.url,
            "state": PullState.OPEN,
            "missing": 0,
            "gone_on": None,
            "causes": (),
        }
        if head == self.head:
            return self.model_copy(update=same)
        fresh = {
            "heads": (*self.heads, head)[-_MOST_HEADS:],
            "looks": 0,
            "second_runs": (),
            "checks": "none",
            "conflicts": False,
            "stopped": "",
        }
        return self.model_copy(update=same | fresh)


class PullShown(Model):
    """What people are shown of a pull request of ours."""

    task_id: TaskId
    url: str = ""
    state: PullState
    checks: Checks = "none"
    conflicts: bool = False
    head: Sha
    ours: bool = True
    """False: somebody else pushed onto its branch, and nothing happens by itself."""
    seen_at: Moment | None = None
    tries: Count = 0
    flaky: tuple[Word, ...] = ()
    """Checks of this head that failed, and passed when they ran again."""
    gone_on: TaskId | None = None
    """The task that goes on with it now."""
    causes: tuple[Cause, ...] = ()
    """Why it was gone on with last."""
    open_comments: Count = 0
    """Comments that were passed on and are not answered yet."""
    stopped: Line | None = None
    """Why a person has to do something."""


def shown(known: PullFollowed, gone_on: TaskId | None) -> PullShown:
    """It, for people."""
    head = known.seen_head or known.head
    return PullShown(
        task_id=known.task_id,
        url=known.url,
        state=known.state,
        checks=known.checks,
        conflicts=known.conflicts,
        head=head,
        ours=head in known.heads,
        seen_at=known.seen_at,
        tries=known.tries,
        flaky=tuple(one.name for one in known.second_runs if one.flaky),
        gone_on=gone_on,
        causes=known.causes,
        open_comments=sum(1 for one in known.heard if not one.answered),
        stopped=known.stopped or None,
    )


class Growing(Model):
    """The branch of its own, and the pull request, that a task lets grow which goes on with a delivered one."""

    work_order_id: WorkOrderId
    """Of the task that opened it: its pull request is known by this."""
    target: BranchName
    """Into which it is to be merged."""
    summary: Text = ""
    """What was said of the first delivery."""
    talked: Execution | None = None
    """The last execution before this task whose conversation can be gone on with. One that git alone did has none."""
    causes: tuple[Cause, ...] = ()
    """Why the server went on with it by itself; empty if a person asked for it."""
