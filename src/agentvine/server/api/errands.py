"""Errands: given out to workers, and what they bring back."""

from starlette.requests import Request
from starlette.responses import Response

from agentvine.domain.errand import ErrandResult
from agentvine.server.api.endpoints import Api, Plane, Serving
from agentvine.server.api.repositories import handed
from agentvine.server.privacy import check_private, not_to_be_kept
from agentvine.wire import routes
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.errands import ErrandClaim, ErrandHeld, GivenErrand
from agentvine.wire.lending import HandedCredential

api = Api("errands")


@api.hot(routes.CLAIM_ERRAND, waits=True)
async def claim_errand(plane: ControlPlane, ask: ErrandClaim) -> GivenErrand | None:
    """Something to do at a forge; 204 if there was nothing within the time to wait."""
    return await plane.claim_errand(ask)


@api.route(routes.ERRAND_CREDENTIAL, responses={204: {"description": "None is kept"}}, response_model=HandedCredential)
async def errand_credential(
    request: Request, serving: Serving, plane: Plane, errand_id: str, held: ErrandHeld
) -> Response:
    """What is kept for the repository of an errand, for the worker that has it."""
    check_private(request.scope, serving)
    return not_to_be_kept(handed(await plane.errand_credential(errand_id, held)))


@api.hot(routes.END_ERRAND)
async def end_errand(plane: ControlPlane, result: ErrandResult, errand_id: str) -> None:
    """What came of an errand."""
    await plane.end_errand(errand_id, result)
