"""Is it alive, does it take work, what does it count?"""

from starlette.responses import Response

from agentvine import __version__
from agentvine.domain.errors import Unavailable
from agentvine.server import metrics
from agentvine.server.api.endpoints import Api, Desk, Serving
from agentvine.wire import administration as adm
from agentvine.wire import routes

api = Api("health")


@api.route(routes.HEALTH)
async def health(services: Serving) -> adm.Health:
    """How it goes. 200 as long as the process lives, for starting it anew mends neither a database nor a broker."""
    try:
        await services.check()
    except Unavailable as error:
        return adm.Health(status="down", version=__version__, degraded={"database": error.message})
    missing = services.degraded()
    return adm.Health(status="degraded" if missing else "ok", version=__version__, degraded=missing)


@api.route(routes.READY)
async def ready(services: Serving) -> adm.Health:
    """200 if requests should be sent here, else 503."""
    if services.waits.closing:
        raise Unavailable("the server is going down", retry_after=1)
    await services.check()
    return adm.Health(status="ok", version=__version__)


@api.route(routes.METRICS, response_class=Response)
async def prometheus(services: Serving, desk: Desk) -> Response:
    """Counters and gauges in Prometheus' text format."""
    exposition = services.metrics.exposition(await desk.queue(), len(services.waits))
    return Response(exposition, media_type=metrics.CONTENT_TYPE)
