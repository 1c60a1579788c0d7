"""Answers of people that are kept, and settle the like when it is asked again.

They come after the policy: neither what a rule settles nor what a rule leaves to people is settled by one. Each holds
for no more than the key of whoever made it may decide.
"""

from datetime import timedelta

from pydantic import JsonValue

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import Forbidden
from agentvine.domain.event import EventKind
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.precedent import Precedent, Remember, likeness_of
from agentvine.domain.request import ControllerResponse, WorkerRequest
from agentvine.domain.work_order import WorkOrder
from agentvine.kit.clock import Clock
from agentvine.server.chronicle import Told, actor_of, tell_request
from agentvine.server.permits import hidden, known, not_found
from agentvine.server.reading import invalid
from agentvine.store import audit, precedents, requests
from agentvine.store.listings import Slice
from agentvine.store.unit import Unit


class Precedents:
    """Runs inside transactions."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def settles(self, unit: Unit, order: WorkOrder, request: WorkerRequest) -> ControllerResponse | None:
        """What was answered to the like of `request`, as an answer to it. What a person has to agree to at the level
        `human_required` is not approved by one."""
        likeness = likeness_of(request)
        now = self._clock.now()
        found = precedents.holding(unit, likeness, order, now) if likeness else None
        if found is None or _for_people(order, found.response):
            return None
        return found.response.model_copy(update={"made_by": f"precedent:{found.id}", "made_at": now})

    def keep(self, unit: Unit, order: WorkOrder, request: WorkerRequest, remember: Remember, key: Key) -> None:
        """Keep the answer to `request`, unless one that is kept reaches as far.

        Raises `InvalidInput`, `Forbidden` if the key's scope is narrower.
        """
        likeness, response = likeness_of(request), request.response
        if likeness is None or response is None:
            raise invalid("/remember", "whether a result may leave is decided each time; leave it out")
        if _for_people(order, response):
            raise invalid("/remember", "at the level human_required a person approves each time; leave it out")
        _permit(key, everywhere=remember.everywhere, any_type=remember.any_type)
        now = self._clock.now()
        made = Precedent(
            id=new_id("pre", now),
            created_at=now,
            created_by=actor_of(key),
            expires_at=now + timedelta(seconds=remember.for_seconds),
            request_id=request.id,
            kind=request.kind,
            type=None if remember.any_type else order.type,
            repository=None if remember.everywhere else order.repository,
            permission_level=key.scope.permission_level,
            likeness=likeness,
            message=request.message,
            response=response,
        )
        there = precedents.of_request(unit, request.id, likeness)
        if there is not None and there.holds(now) and _covers(there, made):
            return
        precedents.insert(unit, made)
        self._tell(unit, made, request, AuditKind.PRECEDENT_MADE, key)

    def visible(self, unit: Unit, precedent_id: str, key: Key) -> Precedent:
        """Raises `NotFound`, also if it reaches beyond the key's scope."""
        found = precedents.get(unit, known("precedent", precedent_id))
        if found is None:
            raise not_found("precedent", precedent_id)
        scope = key.scope
        if (scope.repositories and found.repository not in scope.repositories) or (
            scope.worker_types and found.type not in scope.worker_types
        ):
            raise hidden("precedent", precedent_id)
        return found

    def page(self, unit: Unit, part: Slice, *, everything: bool) -> list[Precedent]:
        """Those that hold, or all, newest first."""
        return precedents.page(unit, part, None if everything else self._clock.now())

    def forget(self, unit: Unit, precedent_id: str, key: Key) -> Precedent:
        """It settles nothing from now on. Again, it changes nothing. Raises `NotFound`."""
        found = self.visible(unit, precedent_id, key)
        request = requests.get(unit, found.request_id)
        if precedents.forget(unit, found.id, self._clock.now()) and request is not None:
            self._tell(unit, found, request, AuditKind.PRECEDENT_FORGOTTEN, key)
        return precedents.get(unit, found.id) or found

    def _tell(self, unit: Unit, precedent: Precedent, request: WorkerRequest, kind: AuditKind, key: Key) -> None:
        """Both an event and an entry of its own in the audit log: it decides in somebody's name."""
        now, actor = self._clock.now(), actor_of(key)
        data: dict[str, JsonValue] = {
            "precedent_id": precedent.id,
            "verdict": precedent.response.verdict,
            "type": precedent.type.value if precedent.type else None,
            "repository": precedent.repository,
            "expires_at": precedent.expires_at.isoformat() if precedent.expires_at else None,
        }
        tell_request(unit, EventKind(kind.value), now, request, Told(actor, data=data))
        audit.append(unit, audit.Draft(kind, now, actor, {"request_id": request.id, **data}))


def _covers(there: Precedent, made: Precedent) -> bool:
    """Whether one that is there already holds wherever the new one would."""
    return (
        there.type in {None, made.type}
        and there.repository in {None, made.repository}
        and there.permission_level.rank >= made.permission_level.rank
    )


def _for_people(order: WorkOrder, response: ControllerResponse) -> bool:
    return response.verdict == "approved" and order.permission_level is PermissionLevel.HUMAN_REQUIRED


def _permit(key: Key, *, everywhere: bool, any_type: bool) -> None:
    if everywhere and key.scope.repositories:
        raise Forbidden("this key is for some repositories; no answer of it is kept for all", needs={"scope": "all"})
    if any_type and key.scope.worker_types:
        raise Forbidden("this key is for some types; an answer of it is not kept for all", needs={"scope": "all"})
