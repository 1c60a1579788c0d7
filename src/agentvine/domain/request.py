"""The conversation between a worker and the controller."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from agentvine.domain.base import Line, Model, Moment, Text
from agentvine.domain.ids import ExecutionId, RequestId, TaskId, WorkOrderId


class RequestKind(StrEnum):
    CLARIFICATION = "clarification"
    APPROVAL = "approval"


class RequestStatus(StrEnum):
    """Open until answered; expired or withdrawn (its order ended) when no answer can matter any more."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Unanswered(StrEnum):
    """What becomes of a request that nobody answers in time."""

    DECIDE = "decide"
    """Claude is told to decide itself and to say so."""
    DENY = "deny"
    """Claude is told that nobody agreed, and goes on without."""
    FAIL = "fail"
    """The order fails."""


Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""


class ToolUse(Model):
    """The exact call that somebody has to agree to. Another input is another call."""

    tool: Line
    input: dict[str, JsonValue]
    rule: Line
    """What makes it sensitive: names of rules, with commas between them."""
    rules_whole: bool = True
    """False: it breaks more rules than `rule` names."""
    digest: Digest
    """Over tool, input, all paths and all rules; the approval is for this and for nothing else."""
    leaves: Annotated[dict[str, str | None], Field(max_length=2000)] = {}
    """The files as the call leaves them, where that is known: the git blob by path, None for one that is deleted. A
    mode other than 100644 stands before the blob."""
    paths: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    """The files that the call names, or that a result changes, as far as known: relative to the root of the repository
    where they are in it."""
    paths_whole: bool = True
    """False: it names more files than `paths` lists."""


class WorkerRequest(Model):
    """What a worker wants to know or to be allowed. The worker makes the id: sent twice, it is stored once."""

    id: RequestId
    task_id: TaskId
    work_order_id: WorkOrderId
    execution_id: ExecutionId
    kind: RequestKind
    message: Text
    context: Text = ""
    """What a person needs in order to decide: for a delivery, the evidence in words."""
    options: Annotated[tuple[Line, ...], Field(max_length=20)] = ()
    call: ToolUse | None = None
    """For an approval: the call that waits. None: the delivery of the whole result."""
    created_at: Moment
    expires_at: Moment
    unanswered: Unanswered = Unanswered.DECIDE
    """What happens at `expires_at`."""
    status: RequestStatus = RequestStatus.OPEN
    response: "ControllerResponse | None" = None


class ControllerResponse(Model):
    """The answer to a request. The first one stands."""

    verdict: Literal["answer", "approved", "denied"]
    message: Text = ""
    changed_input: dict[str, JsonValue] | None = None
    """With an approval: the input with which the call is to be made instead."""
    made_by: Line
    """`key:<id>` for a person's key, `policy:<rule>`, `precedent:<id>`, `assistant:<model>`, `forge:<user>` for a reply
    on the forge: always one of them."""
    made_at: Moment
    valid_until: Moment | None = None
    """Until when an approval holds; after that the same call asks again."""
