"""What operators say of repositories."""

from starlette.requests import Request
from starlette.responses import Response

from agentvine.domain.repository_settings import Repository
from agentvine.server.api.operations import Cursor, Desk, Limit, Operations, Plane, Serving
from agentvine.server.privacy import check_private, not_to_be_kept
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.errands import ErrandHeld
from agentvine.wire.lending import HandedCredential

api = Operations("repositories")


@api.route(routes.REPOSITORIES)
async def repositories(desk: Desk, cursor: Cursor = None, limit: Limit = 50) -> m.Page[Repository]:
    """What operators have said of repositories, the one added last first. Secrets are never shown."""
    return await desk.repositories(cursor, limit)


@api.route(routes.ADD_REPOSITORY, status=201)
async def add_repository(desk: Desk, new: adm.NewRepository, response: Response) -> adm.SavedRepository:
    """Make a repository known. A webhook's secret is in the answer and is never shown again."""
    not_to_be_kept(response)
    return await desk.add_repository(new)


@api.route(routes.REPOSITORY)
async def repository(desk: Desk, repository_id: str) -> Repository:
    """A repository."""
    return await desk.repository(repository_id)


@api.route(routes.CHANGE_REPOSITORY)
async def change_repository(
    desk: Desk, repository_id: str, changes: adm.RepositoryChanges, response: Response
) -> adm.SavedRepository:
    """Say something else of a repository, or keep another secret for it."""
    not_to_be_kept(response)
    return await desk.change_repository(repository_id, changes)


@api.route(routes.REMOVE_REPOSITORY)
async def remove_repository(desk: Desk, repository_id: str) -> Repository:
    """Forget a repository and its secrets."""
    return await desk.remove_repository(repository_id)


@api.route(routes.HAND_OUT, responses={204: {"description": "None is kept"}}, response_model=HandedCredential)
async def hand_out(request: Request, serving: Serving, plane: Plane, work_order_id: str, held: m.Held) -> Response:
    """What is kept for the repository of an order, for the worker that holds it."""
    check_private(request.scope, serving)
    return not_to_be_kept(handed(await plane.credential(work_order_id, held)))


@api.route(routes.ERRAND_CREDENTIAL, responses={204: {"description": "None is kept"}}, response_model=HandedCredential)
async def errand_credential(
    request: Request, serving: Serving, plane: Plane, errand_id: str, held: ErrandHeld
) -> Response:
    """What is kept for the repository of an errand, for the worker that has it."""
    check_private(request.scope, serving)
    return not_to_be_kept(handed(await plane.errand_credential(errand_id, held)))


def handed(credential: HandedCredential | None) -> Response:
    """A credential as an answer."""
    if credential is None:
        return Response(status_code=204)
    return Response(credential.model_dump_json(), media_type="application/json")
