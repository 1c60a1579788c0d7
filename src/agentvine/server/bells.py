"""Who waits for what, in this process. A ring wakes them; what they then do is look at the database.

Claims wait one behind the other, and a ring about one order wakes the first of them that could take it. A ring is never
swallowed: who was rung and leaves without having used it, because he was cancelled, may take nothing any more or has
found another order, hands it on. A claim of a worker that is told to drain is woken to leave. Readers of events,
transcripts and answers are all woken.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from agentvine.domain.permission import PermissionLevel
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.kit.doorbell import Doorbell
from agentvine.server.waits import idling
from agentvine.wire.channels import Ring

_GATHER_SECONDS = 0.05
_EVENTS = "events"
_ERRANDS = "errands"


class _Bell(Doorbell):
    """One at which a request waits."""

    async def wait(self, delay: float | None = None) -> bool:
        with idling():
            return await super().wait(delay)


@dataclass(frozen=True, slots=True)
class Appetite:
    """What a parked claim could take. `repositories` empty: of any."""

    type: TaskType
    queues: frozenset[str]
    specializations: frozenset[str]
    level: PermissionLevel
    repositories: frozenset[str] = frozenset()

    def suits(self, ring: Ring) -> bool:
        """True if the order that rang may be one for it."""
        return (
            (ring.queue is None or ring.queue in self.queues)
            and self.specializations.issuperset(ring.requires)
            and (ring.permission_level is None or ring.permission_level.rank <= self.level.rank)
            and (ring.repository is None or not self.repositories or ring.repository in self.repositories)
        )


class Parked:
    """A claim that waits. Made by `Bells.parked`."""

    def __init__(self, bells: "Bells", appetite: Appetite, worker_id: str | None) -> None:
        self.appetite = appetite
        self.worker_id = worker_id
        self.ring: Ring | None = None
        """Heard, and not looked after yet."""
        self._looking: Ring | None = None
        self._taken: WorkOrder | None = None
        self._bell = _Bell()
        self._bells = bells

    def look(self) -> None:
        """Call before each look: what rings from now on may have come too late for it."""
        self._looking, self.ring = self.ring, None
        self._bells.park(self)

    async def wait(self, seconds: float) -> None:
        """Until rung, at most so long."""
        if self.ring is None:
            await self._bell.wait(seconds)

    def hear(self, ring: Ring) -> None:
        self.ring = ring
        self._bell.ring()

    def wake(self) -> None:
        """Have it look, for no order's sake."""
        self._bell.ring()

    def took(self, order: WorkOrder) -> None:
        """The look found this one, which need not be the one that rang."""
        self._taken = order

    def unused(self, *, broken_off: bool) -> list[Ring]:
        """The rings that somebody else should hear now."""
        heard, looking, taken = self.ring, self._looking, self._taken
        if taken is None:
            return [ring for ring in (heard, looking if broken_off else None) if ring is not None]
        unused = []
        if heard is not None and heard.work_order_id != taken.id:
            unused.append(heard)
        if looking is not None and not _about(looking, taken):
            unused.append(looking)
        return unused


def _about(ring: Ring, order: WorkOrder) -> bool:
    """True if it rang for this order, or for any of its kind."""
    if ring.work_order_id is not None:
        return ring.work_order_id == order.id
    return ring.repository is None or ring.repository == order.repository


class Bells:
    """All who wait in this process. Use it in the event loop's thread."""

    def __init__(self, publish: Callable[[Ring], None] | None = None) -> None:
        """`publish` is handed each ring of this process, for the others; it must not block."""
        self.name = secrets.token_hex(4)
        self._publish = publish
        self._parked: dict[TaskType, dict[Parked, None]] = {type_: {} for type_ in TaskType}
        self._watching: dict[str, set[Doorbell]] = {}
        self._gathered: dict[str, Ring] = {}
        """What others are told of together, by its topic."""

    def announce(self, rings: Sequence[Ring]) -> None:
        """Ring for what this process has just committed. Any number of events is one ring."""
        event: Ring | None = None
        for ring in rings:
            if ring.kind == "event":
                event = ring
                continue
            self._ring(ring)
            if ring.kind == "transcript":
                self._gather(ring.execution_id or "", ring)
            else:
                self._tell_others(ring)
        if event is not None:
            self._ring(event)
            self._gather(_EVENTS, event)

    def hear(self, ring: Ring) -> None:
        """Ring for what another process has committed; one's own echo is passed over."""
        if ring.sender != self.name:
            self._ring(ring)

    def waiting_claims(self, type_: TaskType) -> int:
        """How many claims of a type are parked."""
        return len(self._parked[type_])

    @contextmanager
    def parked(self, appetite: Appetite, worker_id: str | None = None) -> Iterator[Parked]:
        """Wait here for an order: `look()`, look, `wait()`, again. Leave with the order (`took()`), or empty-handed.

        `worker_id`: for whom, so that it wakes when that worker is told to drain.
        """
        claim = Parked(self, appetite, worker_id)
        broken_off = True
        try:
            yield claim
            broken_off = False
        finally:
            self._parked[appetite.type].pop(claim, None)
            for ring in claim.unused(broken_off=broken_off):
                self._ring(ring)

    def park(self, claim: Parked) -> None:
        """Put a claim at the end of the line, unless it stands there."""
        self._parked[claim.appetite.type][claim] = None

    @contextmanager
    def events(self) -> Iterator[Doorbell]:
        """A bell that rings when events were written."""
        with self._watch(_EVENTS) as bell:
            yield bell

    @contextmanager
    def transcript(self, execution_id: str) -> Iterator[Doorbell]:
        """A bell that rings when this transcript grew or ended."""
        with self._watch(execution_id) as bell:
            yield bell

    @contextmanager
    def response(self, request_id: str) -> Iterator[Doorbell]:
        """A bell that rings when this request was answered."""
        with self._watch(request_id) as bell:
            yield bell

    @contextmanager
    def comments(self, work_order_id: str) -> Iterator[Doorbell]:
        """A bell that rings when somebody said something of this order."""
        with self._watch(work_order_id) as bell:
            yield bell

    @contextmanager
    def errands(self) -> Iterator[Doorbell]:
        """A bell that rings when something is wanted of a forge."""
        with self._watch(_ERRANDS) as bell:
            yield bell

    @contextmanager
    def _watch(self, topic: str) -> Iterator[Doorbell]:
        bell = _Bell()
        watchers = self._watching.setdefault(topic, set())
        watchers.add(bell)
        try:
            yield bell
        finally:
            watchers.discard(bell)
            if not watchers and self._watching.get(topic) is watchers:
                del self._watching[topic]

    def _ring(self, ring: Ring) -> None:
        if ring.kind == "claimable":
            self._wake_claims(ring)
        elif ring.kind == "drain" and ring.worker_id is not None:
            self._dismiss(ring.worker_id)
        topic = {
            "event": _EVENTS,
            "errand": _ERRANDS,
            "transcript": ring.execution_id,
            "response": ring.request_id,
            "comment": ring.work_order_id,
        }.get(ring.kind)
        for watched in (topic, *ring.further_execution_ids):
            for bell in tuple(self._watching.get(watched or "", ())):
                bell.ring()

    def _wake_claims(self, ring: Ring) -> None:
        line = self._parked[ring.type] if ring.type else {}
        chosen: list[Parked] = []
        for claim in line:
            if len(chosen) == ring.count:
                break
            if claim.appetite.suits(ring):
                chosen.append(claim)
        for claim in chosen:
            del line[claim]
            claim.hear(ring.model_copy(update={"count": 1}) if ring.count > 1 else ring)

    def _dismiss(self, worker_id: str) -> None:
        for line in self._parked.values():
            for claim in [one for one in line if one.worker_id == worker_id]:
                del line[claim]
                claim.wake()

    def _tell_others(self, ring: Ring) -> None:
        if self._publish is not None:
            self._publish(ring.model_copy(update={"sender": self.name}))

    def _gather(self, topic: str, ring: Ring) -> None:
        """Tell others at most once in a while: they read all that there is."""
        if self._publish is None:
            return
        if not self._gathered:
            asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._publish_gathered)
        self._gathered[topic] = ring

    def _publish_gathered(self) -> None:
        gathered, self._gathered = self._gathered, {}
        if (event := gathered.pop(_EVENTS, None)) is not None:
            self._tell_others(event)
        if gathered:
            first, *further = gathered
            self._tell_others(gathered[first].model_copy(update={"further_execution_ids": tuple(further)}))
