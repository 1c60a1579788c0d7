"""A registered worker process."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agentvine.domain.base import Line, Model, Moment, Note
from agentvine.domain.ids import WorkerId, WorkOrderId
from agentvine.domain.model_limit import DEFAULT_ACCOUNT
from agentvine.domain.task import Specialization
from agentvine.domain.worker_types import WorkerType

_Number = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


class WorkerStatus(StrEnum):
    """What a worker says of itself; `offline` is said by the server, of one that deregistered or fell silent."""

    INITIALIZING = "initializing"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    ERROR = "error"
    OFFLINE = "offline"


class Metrics(Model):
    """Resources of the worker and of all that it started."""

    cpu_percent: _Number = 0.0
    """100 is one core."""
    memory_mb: _Number = 0.0
    disk_usage_gb: _Number = 0.0
    """Of its workspace directory."""
    uptime_seconds: _Number = 0.0


class Worker(Model):
    """What the server knows of a worker."""

    id: WorkerId
    name: Line
    worker_type: WorkerType
    version: Line
    host: Line = "unknown"
    slots: Annotated[int, Field(ge=1, le=1000)] = 1
    specializations: tuple[Specialization, ...] = ()
    tools: tuple[str, ...] = ()
    key_id: str
    """The key with which it registered; no other key may speak for it."""
    status: WorkerStatus = WorkerStatus.INITIALIZING
    current_tasks: tuple[WorkOrderId, ...] = ()
    metrics: Metrics = Metrics()
    registered_at: Moment
    seen_at: Moment
    """When it last sent a heartbeat."""
    account: str = DEFAULT_ACCOUNT
    """Of which account it uses the model; what has a limit in common."""
    note: Note | None = None
    """Why it is in `error`, if it is."""
