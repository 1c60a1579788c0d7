"""Is it alive, does it take work?"""

from agentvine import __version__
from agentvine.domain.errors import Unavailable
from agentvine.server.api.endpoints import Api
from agentvine.server.services import Services
from agentvine.wire import administration as adm
from agentvine.wire import routes

api = Api("health")


@api.probe(routes.HEALTH)
async def health(services: Services) -> adm.Health:
    """How it goes. 200 as long as the process lives, for starting it anew mends neither a database nor a broker."""
    try:
        await services.check()
    except Unavailable as error:
        return adm.Health(status="down", version=__version__, degraded={"database": error.message})
    missing = services.degraded()
    return adm.Health(status="degraded" if missing else "ok", version=__version__, degraded=missing)


@api.probe(routes.READY)
async def ready(services: Services) -> adm.Health:
    """200 if requests should be sent here, else 503."""
    if services.waits.closing:
        raise Unavailable("the server is going down", retry_after=1)
    await services.check()
    return adm.Health(status="ok", version=__version__)
