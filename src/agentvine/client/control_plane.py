"""The worker's contract over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from agentvine.client.transport import APIClient, Call, to_json
from agentvine.domain.errand import ErrandResult
from agentvine.domain.errors import Superseded
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.domain.request import ControllerResponse, WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.errands import ErrandClaim, ErrandHeld, GivenErrand
from agentvine.wire.lending import HandedCredential

_Answer = TypeVar("_Answer")
_Said = TypeVar("_Said")
LEASE_TOKEN_HEADER = "X-Lease-Token"  # noqa: S105  a header's name


class _Spoken:
    """Calls that carry the session token, once there is one.

    A process that registers again ends its own session: a call that was on its way meanwhile is sent again with the new
    token. Only who was not the one to register is superseded.
    """

    def __init__(self, api: APIClient) -> None:
        self._api = api
        self._session = ""
        self._registering = asyncio.Lock()

    async def register(self, call: Call) -> m.Registered:
        async with self._registering:
            registered = await self._api.fetch(m.Registered, call)
            self._session = registered.session
        return registered

    async def fetch(self, answer: type[_Answer], call: Call) -> _Answer:
        return await self._in_session(lambda carrying: self._api.fetch(answer, carrying), call)

    async def fetch_if_any(self, answer: type[_Answer], call: Call) -> _Answer | None:
        return await self._in_session(lambda carrying: self._api.fetch_if_any(answer, carrying), call)

    async def send(self, call: Call) -> bytes:
        return await self._in_session(self._api.send, call)

    async def _in_session(self, say: Callable[[Call], Awaitable[_Said]], call: Call) -> _Said:
        while True:
            session = self._session
            try:
                return await say(_carrying(call, session))
            except Superseded:
                async with self._registering:  # perhaps it was us
                    if self._session == session:
                        raise


def _carrying(call: Call, session: str) -> Call:
    if not session:
        return call
    return replace(call, headers={**(call.headers or {}), routes.SESSION_HEADER: session})


class HTTPControlPlane:
    """Implements `wire.control_plane.ControlPlane`, which says what each method means.

    It remembers the session token of its last registration and sends it along.
    """

    def __init__(self, api: APIClient) -> None:
        self._api = api
        self._spoken = _Spoken(api)

    async def register(self, registration: m.Registration) -> m.Registered:
        return await self._spoken.register(Call(routes.REGISTER, {}, to_json(registration)))

    async def heartbeat(self, worker_id: str, beat: m.Heartbeat) -> m.HeartbeatReply:
        return await self._spoken.fetch(
            m.HeartbeatReply, Call(routes.HEARTBEAT, {"worker_id": worker_id}, to_json(beat))
        )

    async def deregister(self, worker_id: str) -> None:
        await self._spoken.send(Call(routes.DEREGISTER, {"worker_id": worker_id}))

    async def claim(self, ask: m.ClaimRequest) -> m.Claimed | None:
        return await self._spoken.fetch_if_any(
            m.Claimed, Call(routes.CLAIM, {}, to_json(ask), wait_seconds=ask.wait_seconds)
        )

    async def renew(self, renewal: m.Renewal) -> m.RenewalReply:
        return await self._spoken.fetch(m.RenewalReply, Call(routes.RENEW, {}, to_json(renewal)))

    async def start(self, work_order_id: str, held: m.Held) -> m.RenewedLease:
        return await self._spoken.fetch(m.RenewedLease, _of_order(routes.START, work_order_id, held))

    async def credential(self, work_order_id: str, held: m.Held) -> HandedCredential | None:
        return await self._spoken.fetch_if_any(HandedCredential, _of_order(routes.HAND_OUT, work_order_id, held))

    async def phase(self, execution_id: str, report: m.PhaseReport) -> None:
        await self._spoken.send(_of_execution(routes.PHASE, execution_id, report))

    async def comments(self, work_order_id: str, wanted: m.CommentsWanted) -> m.CommentPage:
        call = Call(
            routes.HEAR_COMMENTS,
            {"work_order_id": work_order_id},
            parameters=wanted.model_dump(),
            wait_seconds=wanted.wait_seconds,
        )
        return await self._spoken.fetch(m.CommentPage, call)

    async def add_transcript(self, execution_id: str, batch: m.TranscriptBatch) -> None:
        await self._spoken.send(_of_execution(routes.ADD_TRANSCRIPT, execution_id, batch))

    async def transcript(self, execution_id: str, after: int = 0, wait_seconds: float = 0.0) -> m.TranscriptPage:
        return await self._spoken.fetch(m.TranscriptPage, transcript_call(execution_id, after, wait_seconds))

    async def store_artifact(self, execution_id: str, token: int, name: str, content: bytes) -> None:
        await self._spoken.send(
            Call(
                routes.PUT_ARTIFACT,
                {"execution_id": execution_id, "name": name},
                content,
                content_type="application/octet-stream",
                headers={LEASE_TOKEN_HEADER: str(token)},
            )
        )

    async def artifact(self, execution_id: str, name: str) -> bytes:
        return await self._spoken.send(Call(routes.GET_ARTIFACT, {"execution_id": execution_id, "name": name}))

    async def add_evidence(self, execution_id: str, report: m.EvidenceReport) -> None:
        await self._spoken.send(_of_execution(routes.ADD_EVIDENCE, execution_id, report))

    async def evidence(self, execution_id: str) -> Evidence:
        return await self._spoken.fetch(Evidence, Call(routes.EVIDENCE, {"execution_id": execution_id}))

    async def deliver(self, work_order_id: str, intent: m.DeliveryIntent) -> Execution:
        return await self._spoken.fetch(Execution, _of_order(routes.DELIVER, work_order_id, intent))

    async def complete(self, work_order_id: str, completion: m.Completion) -> m.Completed:
        return await self._spoken.fetch(m.Completed, _of_order(routes.COMPLETE, work_order_id, completion))

    async def fail(self, work_order_id: str, report: m.FailureReport) -> WorkOrder:
        return await self._spoken.fetch(WorkOrder, _of_order(routes.FAIL, work_order_id, report))

    async def release(self, work_order_id: str, surrender: m.Surrender) -> WorkOrder:
        return await self._spoken.fetch(WorkOrder, _of_order(routes.RELEASE, work_order_id, surrender))

    async def park(self, work_order_id: str, parking: m.Parking) -> WorkerRequest:
        return await self._spoken.fetch(WorkerRequest, _of_order(routes.PARK, work_order_id, parking))

    async def ask(self, execution_id: str, request: m.NewRequest) -> WorkerRequest:
        asking = m.Asking.model_construct(execution_id=execution_id, request=request)  # the server judges the id
        return await self._spoken.fetch(WorkerRequest, Call(routes.ASK, {}, to_json(asking)))

    async def response(self, request_id: str, wait_seconds: float = 0.0) -> ControllerResponse | None:
        return await self._spoken.fetch_if_any(
            ControllerResponse,
            Call(
                routes.RESPONSE,
                {"request_id": request_id},
                parameters={"wait_seconds": wait_seconds},
                wait_seconds=wait_seconds,
            ),
        )

    async def claim_errand(self, ask: ErrandClaim) -> GivenErrand | None:
        return await self._spoken.fetch_if_any(
            GivenErrand, Call(routes.CLAIM_ERRAND, {}, to_json(ask), wait_seconds=ask.wait_seconds)
        )

    async def errand_credential(self, errand_id: str, held: ErrandHeld) -> HandedCredential | None:
        call = Call(routes.ERRAND_CREDENTIAL, {"errand_id": errand_id}, to_json(held))
        return await self._spoken.fetch_if_any(HandedCredential, call)

    async def end_errand(self, errand_id: str, result: ErrandResult) -> None:
        await self._spoken.send(Call(routes.END_ERRAND, {"errand_id": errand_id}, to_json(result)))


def transcript_call(execution_id: str, after: int, wait_seconds: float) -> Call:
    """Asked by workers and people alike."""
    return Call(
        routes.TRANSCRIPT,
        {"execution_id": execution_id},
        parameters={"after": after, "wait_seconds": wait_seconds},
        wait_seconds=wait_seconds,
    )


def _of_order(route: routes.Route, work_order_id: str, message: m.Held) -> Call:
    return Call(route, {"work_order_id": work_order_id}, to_json(message))


def _of_execution(route: routes.Route, execution_id: str, message: m.Held) -> Call:
    return Call(route, {"execution_id": execution_id}, to_json(message))
