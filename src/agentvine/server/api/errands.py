"""Errands: given out to workers, and what they bring back."""

from agentvine.domain.errand import ErrandResult
from agentvine.server.api.endpoints import Api
from agentvine.wire import routes
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.errands import ErrandClaim, GivenErrand

api = Api("errands")


@api.hot(routes.CLAIM_ERRAND, waits=True)
async def claim_errand(plane: ControlPlane, ask: ErrandClaim) -> GivenErrand | None:
    """Something to do at a forge; 204 if there was nothing within the time to wait."""
    return await plane.claim_errand(ask)


@api.hot(routes.END_ERRAND)
async def end_errand(plane: ControlPlane, result: ErrandResult, errand_id: str) -> None:
    """What came of an errand."""
    await plane.end_errand(errand_id, result)
