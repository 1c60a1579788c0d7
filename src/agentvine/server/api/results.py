"""Executions, and what is kept of them."""

from typing import Annotated

from fastapi import Header, Request
from starlette.responses import PlainTextResponse, Response

from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.server.api.operations import After, Desk, Operations, Plane, Serving, WaitSeconds
from agentvine.server.bodies import read_body
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire import routes

api = Operations("executions")
_BYTES = "application/octet-stream"
_RAW = {"content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}}}
_LeaseToken = Annotated[int, Header(ge=1, le=2**53, alias="X-Lease-Token")]


@api.route(routes.PUT_ARTIFACT, status=204, openapi_extra={"requestBody": {"required": True, **_RAW}})
async def put_artifact(
    plane: Plane, request: Request, execution_id: str, name: str, x_lease_token: _LeaseToken
) -> Response:
    """Keep the raw body under a name; again replaces it."""
    await plane.store_artifact(execution_id, x_lease_token, name, await read_body(request.receive))
    return Response(status_code=204)


@api.route(routes.GET_ARTIFACT, response_class=Response, responses={200: {"description": "The bytes", **_RAW}})
async def get_artifact(plane: Plane, execution_id: str, name: str) -> Response:
    """What was stored under the name."""
    return Response(await plane.artifact(execution_id, name), media_type=_BYTES)


@api.route(routes.EXECUTION)
async def execution(desk: Desk, execution_id: str) -> Execution:
    """An execution."""
    return await desk.execution(execution_id)


@api.route(routes.TRANSCRIPT)
async def transcript(
    plane: Plane,
    services: Serving,
    request: Request,
    execution_id: str,
    after: After = 0,
    wait_seconds: WaitSeconds = 0.0,
) -> m.TranscriptPage:
    """Entries from number `after` on, at most a thousand; waits for some if there are none yet."""
    async with services.waits.enter(request.scope, request.receive):
        return await plane.transcript(execution_id, after, wait_seconds)


@api.route(routes.DIFF, response_class=PlainTextResponse)
async def diff(desk: Desk, execution_id: str, draft: bool = False) -> PlainTextResponse:
    """The result as a unified diff; as a draft, what had been changed when something was asked last."""
    return PlainTextResponse(await desk.diff(execution_id, draft), media_type="text/x-diff")


@api.route(routes.EVIDENCE)
async def evidence(plane: Plane, execution_id: str) -> Evidence:
    """What the verification found out."""
    return await plane.evidence(execution_id)


@api.route(routes.STATEMENT, response_class=PlainTextResponse)
async def statement(desk: Desk, execution_id: str) -> PlainTextResponse:
    """The evidence as an in-toto statement in a DSSE envelope, signed when it was recorded."""
    return PlainTextResponse(await desk.statement(execution_id), media_type="application/vnd.in-toto+dsse")


@api.route(routes.SIGNING_KEY)
async def signing_key(desk: Desk) -> adm.SigningKeyInfo:
    """By which key this server signs evidence."""
    return await desk.signing_key()
