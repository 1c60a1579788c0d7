"""The conversation between a worker and the controller."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

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
    created_at: Moment
    expires_at: Moment
    status: RequestStatus = RequestStatus.OPEN
    response: "ControllerResponse | None" = None


class ControllerResponse(Model):
    """The answer to a request. The first one stands."""

    verdict: Literal["answer", "approved", "denied"]
    message: Text = ""
    made_by: Line
    """`key:<id>` for a person's key, `policy:<rule>` for a rule: always one of them."""
    made_at: Moment
