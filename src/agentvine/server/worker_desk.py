"""The workers' side of the server: `wire.control_plane.ControlPlane`, for real.

`ControlPlaneService` is what all keys share; `acting_as(key)` gives one key's view. Here is what is not a transaction:
who may speak, waiting, and files. What is one stands in `control_plane.py`, `conversation.py` and `reports.py`.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random, SystemRandom
from typing import TypeVar

from pydantic import JsonValue

from agentvine.domain.errand import ErrandResult
from agentvine.domain.errors import AgentVineError, Forbidden, TooLarge, Unavailable
from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Execution
from agentvine.domain.key import Key, WorkerKey
from agentvine.domain.request import ControllerResponse, WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.kit import failpoints
from agentvine.kit.clock import Clock
from agentvine.kit.signing import SigningKey
from agentvine.server.bells import Appetite, Bells
from agentvine.server.comments import Comments
from agentvine.server.control_plane import ClaimAnswered, Orders, WorkerLeaving
from agentvine.server.controller import PolicyInForce
from agentvine.server.conversation import Conversations
from agentvine.server.errand_desk import ErrandDesk
from agentvine.server.errands import Errands
from agentvine.server.follow_up import FollowUps
from agentvine.server.heartbeats import Heartbeats
from agentvine.server.holding import held_now, live_execution, own_worker
from agentvine.server.intake import Intake
from agentvine.server.model_limits import LimitsInForce
from agentvine.server.permits import permit, permit_order
from agentvine.server.precedents import Precedents
from agentvine.server.reading import Reading, check_artifact_name, clamped
from agentvine.server.registry import Registry
from agentvine.server.reports import Reports
from agentvine.server.repositories import Repositories, Safe
from agentvine.server.sessions import Sessions, digest_of
from agentvine.server.terms import Terms
from agentvine.store import events, repositories, requests
from agentvine.store.artifacts import ArtifactFolder
from agentvine.store.database import Database, database_out_of_reach
from agentvine.store.executions import Artifact
from agentvine.store.repositories import Known
from agentvine.store.rows import build
from agentvine.store.unit import Unit
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.channels import RequestMessage, ResponseMessage
from agentvine.wire.errands import ErrandClaim, ErrandHeld, GivenErrand
from agentvine.wire.lending import HandedCredential

T = TypeVar("T")
_FEW_PARKED = 100
_BRIEF = frozenset({"claim", "start", "renew", "phase", "complete"})
"""Operations that a fleet makes all the time, and that touch a few rows each."""


class ControlPlaneService:
    """The use cases of a server process, and what they share. Everything it is made of is given to it."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        bells: Bells,
        terms: Terms,
        artifacts: ArtifactFolder,
        random: Random | None = None,
        policy: PolicyInForce | None = None,
        signing: SigningKey | None = None,
        safe: Safe | None = None,
    ) -> None:
        """`random` draws where in their backoff retries fall, and when parked claims look without being rung.

        `policy` settles requests; without one all of them go to people. `signing` signs evidence; without one a key
        does that which ends with this process; so it is with `safe`, which keeps the secrets of repositories.
        """
        self.database = database
        self.clock = clock
        self.bells = bells
        self.terms = terms
        self.artifacts = artifacts
        self.random = random or SystemRandom()
        self.orders = Orders(clock, terms, self.random)
        self.policy = policy or PolicyInForce()
        self.precedents = Precedents(clock)
        self.conversations = Conversations(self.orders, clock, self.policy, self.precedents, terms)
        self.signing = signing or SigningKey.generate()
        self.reports = Reports(clock, self.signing)
        self.repositories = Repositories(database, clock, safe or Safe())
        self.comments = Comments(clock)
        self.errands = Errands(clock, self.random)
        self.follow_ups = FollowUps(clock, self.orders, self.comments, self.errands)
        self.intake = Intake(clock, self.errands, self.conversations)
        self.repositories.when_changed(self.intake.changed)
        self.registry = Registry(self.orders, clock)
        self.heartbeats = Heartbeats(database, clock)
        self.sessions = Sessions(database, clock)
        self.limits = LimitsInForce(database, clock)
        self.reading = Reading(database, bells, terms, artifacts, clock)
        database.listen(bells.announce)

    def acting_as(self, key: Key) -> "WorkerDesk":
        """The contract, bound to a key."""
        return WorkerDesk(self, key)

    async def take_request(self, message: RequestMessage) -> WorkerRequest:
        """Store a request that came through the broker, where anybody could have put it.

        Raises `NotFound`, `Forbidden` or `LeaseLost` if the database knows nothing of such an execution: drop it then.
        """
        return await self.database.write(lambda unit: self.conversations.take(unit, message))

    async def answer(self, request_id: str, reply: m.Reply, made_by: str, key: Key | None = None) -> WorkerRequest:
        """Answer a request in the name of a person, `key:<id>`. Only what is answered with a `key` is remembered."""
        response = ControllerResponse(
            verdict=reply.verdict,
            message=reply.message,
            changed_input=reply.changed_input,
            made_by=made_by,
            made_at=self.clock.now(),
        )
        remembered = (reply.remember, key) if reply.remember is not None and key is not None else None
        return await failpoints.committed(
            "answer",
            self.database.write,
            lambda unit: self.conversations.answer(unit, request_id, response, made_by, remembered),
            database_out_of_reach,
        )

    async def response_message(self, request_id: str) -> ResponseMessage | None:
        """What to put on the stream of the worker that asked; None while there is no answer."""
        request = await self.database.read(lambda unit: requests.get(unit, request_id))
        if request is None or request.response is None:
            return None
        return ResponseMessage(request_id=request.id, response=request.response)

    async def latest_event(self) -> int:
        """The number of the newest event, 0 if there is none."""
        return await self.database.read(events.newest)

    async def check(self) -> None:
        """Raises `Unavailable` unless the database answers."""
        await self.database.read(lambda unit: unit.one("SELECT 1 AS one"))


class WorkerDesk:
    """`ControlPlane` for one key. What the methods do is said there."""

    def __init__(self, service: ControlPlaneService, key: Key) -> None:
        self._service = service
        self._key = key

    async def register(self, registration: m.Registration) -> m.Registered:
        permit(self._key, routes.REGISTER)
        registry, key = self._service.registry, self._key
        registered = await self._write(
            lambda unit: registry.register(unit, registration, key, self._service.terms.lease_seconds), "register"
        )
        digest = digest_of(registered.session)
        self._service.heartbeats.registered(registered.worker, digest)
        self._service.sessions.began(registration.id)
        self._key = WorkerKey.of(key, registration.id, digest)
        return registered

    async def heartbeat(self, worker_id: str, beat: m.Heartbeat) -> m.HeartbeatReply:
        permit(self._key, routes.HEARTBEAT)
        return await self._service.heartbeats.take(worker_id, self._key, beat)

    async def deregister(self, worker_id: str) -> None:
        permit(self._key, routes.DEREGISTER)
        await self._write(lambda unit: self._service.registry.deregister(unit, worker_id, self._key))
        await self._errands.left(worker_id)
        self._service.heartbeats.deregistered(worker_id)

    async def claim(self, ask: m.ClaimRequest) -> m.Claimed | None:
        permit(self._key, routes.CLAIM)
        try:
            claimed = await self._look_for_order(ask)
            if claimed is None and ask.wait_seconds > 0:
                claimed = await self._wait_for_order(ask)
        except (WorkerLeaving, ClaimAnswered):
            return None
        if claimed is None and ask.number:
            return await self._write(lambda unit: self._service.orders.answer_with_nothing(unit, ask, self._key))
        return claimed

    async def _look_for_order(self, ask: m.ClaimRequest) -> m.Claimed | None:
        orders, key = self._service.orders, self._key
        return await self._write(lambda unit: orders.claim(unit, ask, key), "claim")

    async def _wait_for_order(self, ask: m.ClaimRequest) -> m.Claimed | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + clamped(ask.wait_seconds)
        with self._service.bells.parked(await self._appetite(ask), ask.worker_id) as parked:
            while True:
                parked.look()
                claimed = await self._look_for_order(ask)
                if claimed is not None:
                    parked.took(claimed.order)
                    return claimed
                if (left := deadline - loop.time()) <= 0:
                    return None
                await parked.wait(min(left, self._recheck_seconds(parked.appetite)))

    async def _appetite(self, ask: m.ClaimRequest) -> Appetite:
        scope = self._key.scope
        claimer = await self._service.database.read(lambda unit: own_worker(unit, ask.worker_id, self._key))
        return Appetite(
            claimer.worker_type,
            frozenset(ask.queue_names),
            frozenset(claimer.specializations),
            scope.permission_level,
            frozenset(scope.repositories),
        )

    def _recheck_seconds(self, appetite: Appetite) -> float:
        """However many are parked, together they look unrung about as often as a few would."""
        crowd = max(self._service.bells.waiting_claims(appetite.type) / _FEW_PARKED, 1.0)
        return self._service.terms.claim_recheck_seconds * crowd * self._service.random.uniform(0.75, 1.25)

    async def renew(self, renewal: m.Renewal) -> m.RenewalReply:
        permit(self._key, routes.RENEW)
        return await self._write(lambda unit: self._service.orders.renew(unit, renewal, self._key), "renew")

    async def start(self, work_order_id: str, held: m.Held) -> m.RenewedLease:
        permit(self._key, routes.START)
        return await self._write(
            lambda unit: self._service.orders.start(unit, work_order_id, held.token, self._key), "start"
        )

    async def credential(self, work_order_id: str, held: m.Held) -> HandedCredential | None:
        permit(self._key, routes.HAND_OUT)

        def look(unit: Unit) -> tuple[WorkOrder, Known | None]:
            order = held_now(unit, work_order_id, held.token, self._key)
            permit_order(self._key, order)
            return order, repositories.of(unit, order.repository)

        order, known = await self._service.database.read(look)
        if known is None:
            return None
        worker_id = order.lease.worker_id if order.lease else ""
        to: dict[str, JsonValue] = {"work_order_id": order.id, "worker_id": worker_id}
        return await self._service.repositories.credential(known, to, self._key)

    async def phase(self, execution_id: str, report: m.PhaseReport) -> None:
        permit(self._key, routes.PHASE)
        await self._write(lambda unit: self._service.reports.phase(unit, execution_id, report, self._key), "phase")

    async def comments(self, work_order_id: str, wanted: m.CommentsWanted) -> m.CommentPage:
        permit(self._key, routes.HEAR_COMMENTS)
        return await self._service.reading.comments(work_order_id, wanted, self._key)

    async def add_transcript(self, execution_id: str, batch: m.TranscriptBatch) -> None:
        permit(self._key, routes.ADD_TRANSCRIPT)
        await self._write(
            lambda unit: self._service.reports.transcript(unit, execution_id, batch, self._key), "transcript"
        )

    async def transcript(self, execution_id: str, after: int = 0, wait_seconds: float = 0.0) -> m.TranscriptPage:
        permit(self._key, routes.TRANSCRIPT)
        return await self._service.reading.transcript(execution_id, after, wait_seconds, self._key)

    async def store_artifact(self, execution_id: str, token: int, name: str, content: bytes) -> None:
        permit(self._key, routes.PUT_ARTIFACT)
        check_artifact_name(name)
        if len(content) > m.LARGEST_ARTIFACT:
            raise TooLarge("the artifact is too large", limit=m.LARGEST_ARTIFACT)
        await self._write(lambda unit: live_execution(unit, execution_id, token, self._key))
        try:
            digest = await asyncio.to_thread(self._service.artifacts.store, content)
        except OSError as error:
            raise Unavailable(f"the artifact could not be stored: {error.strerror}", retry_after=5.0) from error
        await failpoints.reached("artifact.after_file")
        artifact = Artifact(name, digest, len(content))
        await self._write(
            lambda unit: self._service.reports.artifact(unit, execution_id, token, artifact, self._key), "artifact"
        )

    async def artifact(self, execution_id: str, name: str) -> bytes:
        permit(self._key, routes.GET_ARTIFACT)
        return await self._service.reading.artifact(execution_id, name, self._key)

    async def add_evidence(self, execution_id: str, report: m.EvidenceReport) -> None:
        permit(self._key, routes.ADD_EVIDENCE)
        await self._write(
            lambda unit: self._service.reports.evidence(unit, execution_id, report, self._key), "evidence"
        )

    async def evidence(self, execution_id: str) -> Evidence:
        permit(self._key, routes.EVIDENCE)
        return await self._service.reading.evidence(execution_id, self._key)

    async def deliver(self, work_order_id: str, intent: m.DeliveryIntent) -> Execution:
        permit(self._key, routes.DELIVER)
        return await self._write(
            lambda unit: self._service.reports.deliver(unit, work_order_id, intent, self._key), "deliver"
        )

    async def complete(self, work_order_id: str, completion: m.Completion) -> m.Completed:
        permit(self._key, routes.COMPLETE)

        def write(unit: Unit) -> m.Completed:
            order = self._service.orders.complete(unit, work_order_id, completion, self._key)
            self._service.follow_ups.delivered(unit, order, completion)
            return build(m.Completed, {**order.__dict__, "next": self._next(unit, completion.next)})

        return await self._write(write, "complete")

    def _next(self, unit: Unit, ask: m.ClaimRequest | None) -> m.Claimed | None:
        """What comes after a completion, which stands if there is nothing for the worker, for whatever reason.

        Raises `Forbidden`, and takes the completion back, for a claim that no worker of ours would make.
        """
        if ask is None:
            return None
        orders, key = self._service.orders, self._key
        try:
            claimed = orders.claim(unit, ask, key)
            return claimed if claimed is not None or not ask.number else orders.answer_with_nothing(unit, ask, key)
        except Forbidden:
            raise
        except (WorkerLeaving, ClaimAnswered, AgentVineError):
            return None

    async def fail(self, work_order_id: str, report: m.FailureReport) -> WorkOrder:
        permit(self._key, routes.FAIL)
        return await self._write(lambda unit: self._service.orders.fail(unit, work_order_id, report, self._key), "fail")

    async def release(self, work_order_id: str, surrender: m.Surrender) -> WorkOrder:
        permit(self._key, routes.RELEASE)
        return await self._write(
            lambda unit: self._service.orders.release(unit, work_order_id, surrender, self._key), "release"
        )

    async def park(self, work_order_id: str, parking: m.Parking) -> WorkerRequest:
        permit(self._key, routes.PARK)
        return await self._write(
            lambda unit: self._service.conversations.park(unit, work_order_id, parking, self._key), "park"
        )

    async def ask(self, execution_id: str, request: m.NewRequest) -> WorkerRequest:
        permit(self._key, routes.ASK)
        return await self._write(
            lambda unit: self._service.conversations.ask(unit, execution_id, request, self._key), "ask"
        )

    async def response(self, request_id: str, wait_seconds: float = 0.0) -> ControllerResponse | None:
        permit(self._key, routes.REQUEST)
        return await self._service.reading.response(request_id, wait_seconds, self._key)

    async def claim_errand(self, ask: ErrandClaim) -> GivenErrand | None:
        return await self._errands.claim(ask)

    async def errand_credential(self, errand_id: str, held: ErrandHeld) -> HandedCredential | None:
        known = await self._errands.held(errand_id, held)
        if known is None:
            return None
        to: dict[str, JsonValue] = {"errand_id": errand_id, "worker_id": held.worker_id}
        return await self._service.repositories.credential(known, to, self._key)

    async def end_errand(self, errand_id: str, result: ErrandResult) -> None:
        await self._errands.end(errand_id, result)

    @property
    def _errands(self) -> ErrandDesk:
        service = self._service
        return ErrandDesk(service.database, service.clock, service.bells, service.errands, self._key)

    async def _write(self, work: Callable[[Unit], T], operation: str | None = None) -> T:
        write = partial(self._service.database.write, brief=operation in _BRIEF)
        if operation is None:
            return await write(work)
        return await failpoints.committed(operation, write, work, database_out_of_reach)
