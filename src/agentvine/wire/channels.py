"""What goes over the broker: one doorbell, one stream of requests, one stream of responses for each worker.

None of it is truth. A server that hears a ring looks at the store; a message is checked against the store before it is
acted on; everything sent here can be lost and is then found again at a slow fallback pace.
"""

from typing import Literal

from pydantic import Field

from agentvine.domain.base import Model
from agentvine.domain.ids import ExecutionId, RequestId, WorkerId, WorkOrderId
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.request import ControllerResponse
from agentvine.domain.worker_types import TaskType
from agentvine.wire.messages import NewRequest

DOORBELL = "agentvine:doorbell"
WORKER_REQUESTS = "agentvine:worker_requests"
CONTROLLER_GROUP = "controller"
RESPONSES_EXPIRE_SECONDS = 24 * 3600
STREAM_LENGTH = 10_000
"""About how many entries a stream keeps; older ones are found in the store."""


def controller_responses(worker_id: WorkerId) -> str:
    """The stream of responses for one worker."""
    return f"agentvine:controller_responses:{worker_id}"


class Ring(Model):
    """Something that somebody may wait for has happened."""

    kind: Literal["claimable", "cancelled", "event", "response", "drain", "transcript", "comment", "errand"]
    """transcript: an execution's transcript has grown, or has ended. comment: somebody said something of an order.
    errand: something is wanted of a forge."""
    type: TaskType | None = None
    """claimable: of which type."""
    count: int = Field(default=1, ge=1)
    """claimable: how many orders."""
    queue: str | None = None
    """claimable: in which queue; None: perhaps in any. What follows is likewise what a claimer has to have."""
    requires: tuple[str, ...] = ()
    permission_level: PermissionLevel | None = None
    repository: str | None = None
    work_order_id: WorkOrderId | None = None
    execution_id: ExecutionId | None = None
    further_execution_ids: tuple[ExecutionId, ...] = ()
    """transcript: of these as well."""
    worker_id: WorkerId | None = None
    request_id: RequestId | None = None
    sender: str = ""
    """Which server process rang, so that it can pass over its own ring."""


class RequestMessage(Model):
    """A request on its way to the controller."""

    worker_id: WorkerId
    execution_id: ExecutionId
    request: NewRequest


class ResponseMessage(Model):
    """A response on its way to the worker that waits for it."""

    request_id: RequestId
    response: ControllerResponse
