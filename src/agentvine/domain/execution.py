"""One worker's attempt at a work order."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Line, Model, Moment, SessionName
from agentvine.domain.ids import ExecutionId, TaskId, WorkerId, WorkOrderId
from agentvine.domain.repository import BranchName, Sha
from agentvine.domain.retry import GOES_ON, Failure
from agentvine.domain.worker_types import TaskType

Count = Annotated[int, Field(ge=0, le=2**53)]
Dollars = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class Phase(StrEnum):
    """What an execution is doing; only ever moves down this list."""

    CLAIMED = "claimed"
    PREPARING = "preparing"
    WORKING = "working"
    VERIFYING = "verifying"
    DELIVERING = "delivering"


class Outcome(StrEnum):
    """How an execution ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    RELEASED = "released"
    PARKED = "parked"
    LOST = "lost"
    CANCELLED = "cancelled"


class Usage(Model):
    """What the model's side cost so far. Sums up over runs with `+`."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    turns: Count = 0
    cost_usd: Dollars = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields})


class Delivery(Model):
    """What leaves the worker. Journaled as an intent before the push, and complete when the remote was read back."""

    kind: str = Field(pattern="^(push|pull_request|branch|report)$")
    """push: onto the task's branch; pull_request, branch: an own branch, with or without a forge; report: a review."""
    branch: BranchName
    old_sha: Sha | None = None
    """What the remote branch was seen at; None: it did not exist."""
    new_sha: Sha
    url: Line | None = None
    """Where a person can look at it, if the forge said so."""


class Execution(Model):
    """An attempt, running or over. The server's copy is the truth; a worker only reports."""

    id: ExecutionId
    work_order_id: WorkOrderId
    task_id: TaskId
    type: TaskType
    worker_id: WorkerId
    attempt: int
    lease_token: int
    phase: Phase = Phase.CLAIMED
    outcome: Outcome | None = None
    failure: Failure | None = None
    started_at: Moment
    ended_at: Moment | None = None
    usage: Usage = Usage()
    base_sha: Sha | None = None
    head_sha: Sha | None = None
    session_id: SessionName | None = None
    """Claude Code's name for the conversation, needed to go on with it."""
    delivery: Delivery | None = None
    artifacts: tuple[str, ...] = ()
    """Names of what the server keeps for this execution: bundle, diff, evidence …"""
    comments_heard: Count = 0
    """Up to which comment its agent was told what people said of the order."""

    @property
    def broken_off(self) -> bool:
        """Whether the next attempt goes on with its conversation, which was interrupted and not judged.

        A conversation in which the agent fails before the model has said anything is not gone on with: it may be what
        makes the agent fail.
        """
        if self.session_id is None:
            return False
        if self.outcome is Outcome.FAILED and self.failure is not None:
            reason = self.failure.reason
            return reason in GOES_ON and (self.usage.turns > 0 or reason.value.startswith("model_"))
        return self.outcome in {Outcome.RELEASED, Outcome.LOST}
