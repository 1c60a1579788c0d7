"""Why nobody takes an order that could be claimed."""

from typing import Annotated, Literal

from pydantic import Field

from agentvine.domain.base import Line, Model
from agentvine.domain.worker_types import WorkerType

Obstacle = Literal["worker", "key", "capability", "model", "slot", "repository", "budget"]
"""What is missing: a worker of its type, one whose key reaches it, one with all that it asks for, one whose model may
be asked, one with a free slot; or its repository has as many running as may, or has cost what it may in a day."""


class WaitsFor(Model):
    """One thing that keeps an order waiting."""

    reason: Obstacle
    detail: Line
    """For people: what it is, and what ends it."""


class HeldBack(Model):
    """Pending orders of one type and repository that nobody takes."""

    type: WorkerType
    repository: str
    orders: Annotated[int, Field(ge=1)]
    waits_for: tuple[WaitsFor, ...]
