"""What the server counts."""

import asyncio

from starlette.responses import Response

from agentvine.server import metrics
from agentvine.server.api.operations import Desk, Operations, Serving
from agentvine.wire import routes

api = Operations("health")


@api.route(routes.METRICS, response_class=Response)
async def prometheus(services: Serving, desk: Desk) -> Response:
    """Counters and gauges in Prometheus' text format."""
    queue = await desk.queue()
    exposition = await asyncio.to_thread(services.metrics.exposition, queue)  # tens of ms
    return Response(exposition, media_type=metrics.CONTENT_TYPE)
