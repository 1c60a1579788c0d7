"""The queue: claiming from it, and keeping what was claimed."""

from agentvine.server.api.endpoints import Api
from agentvine.server.metrics import Metrics
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.control_plane import ControlPlane

api = Api("queue")


def _count_claim(metrics: Metrics, _: m.ClaimRequest, claimed: m.Claimed | None) -> None:
    if claimed is not None:
        metrics.claims.inc()


@api.hot(routes.CLAIM, waits=True, counted=_count_claim)
async def claim(plane: ControlPlane, ask: m.ClaimRequest) -> m.Claimed | None:
    """The best order for this worker; 204 if there was none within the time to wait."""
    return await plane.claim(ask)


@api.hot(routes.RENEW)
async def renew(plane: ControlPlane, renewal: m.Renewal) -> m.RenewalReply:
    """Keep leases: one line for each one asked about, never refused for a lost one."""
    return await plane.renew(renewal)
