"""Webhooks of forges: the one way in that a signature opens and no key."""

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from agentvine.domain.forge import ForgeKind
from agentvine.server.api.operations import Operations, Serving
from agentvine.server.refusals import plain_refusal
from agentvine.server.webhooks import NotJson
from agentvine.wire import routes

api = Operations("webhooks")
_KINDS = {kind.value: kind for kind in ForgeKind if kind is not ForgeKind.NONE}


@api.route(routes.WEBHOOK, status=204, response_class=Response)
async def webhook(request: Request, serving: Serving, forge: str) -> Response:
    """A forge (github, gitlab, gitea or forgejo) says that something has happened: it is looked at earlier. Nothing
    else that it says is believed."""
    kind = _KINDS.get(forge)
    if kind is None or serving.webhooks is None:
        return plain_refusal(404, f"webhooks are taken from {', '.join(_KINDS)}")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return plain_refusal(415, "have the forge send webhooks as application/json")
    try:
        async with asyncio.timeout(serving.webhooks.body_seconds):
            body = await request.body()
        await serving.webhooks.take(kind, dict(request.headers), body)
    except TimeoutError:
        return plain_refusal(408, "the body did not arrive in time", {"Connection": "close"})
    except NotJson as error:
        return plain_refusal(400, str(error))
    except ClientDisconnect:
        return Response(status_code=400)
    return Response(status_code=204)
