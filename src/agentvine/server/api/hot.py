"""All hot endpoints."""

from collections.abc import Sequence

from agentvine.server.api import errands, executions, health, queue, requests, work_orders, workers
from agentvine.server.api.endpoints import Api

HOT: Sequence[Api] = tuple(
    module.api for module in (queue, work_orders, workers, executions, requests, errands, health)
)
