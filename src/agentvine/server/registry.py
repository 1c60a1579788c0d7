"""Workers come and go. Runs inside transactions, as `Orders` does."""

from datetime import datetime

import agentvine
from agentvine.domain.errors import Forbidden
from agentvine.domain.event import EventKind
from agentvine.domain.key import Key, Role
from agentvine.domain.worker import Worker, WorkerStatus
from agentvine.kit.clock import Clock
from agentvine.server.chronicle import SERVER, actor_of
from agentvine.server.control_plane import Orders
from agentvine.server.holding import own_worker
from agentvine.server.permits import known, not_found, permit_type
from agentvine.server.sessions import digest_of, new_session
from agentvine.store import events, keys, work_orders, workers
from agentvine.store.unit import Unit
from agentvine.wire import messages as m
from agentvine.wire.channels import Ring
from agentvine.wire.protocol import agreed


class Registry:
    """Takes workers in and lets them go."""

    def __init__(self, orders: Orders, clock: Clock) -> None:
        self._orders = orders
        self._clock = clock

    def register(self, unit: Unit, new: m.Registration, key: Key, lease_seconds: float) -> m.Registered:
        """Make a worker known. Whatever ran under its id is gone, and so are its leases and its session."""
        permit_type(key, new.worker_type)
        protocol = agreed(new.protocol, new.oldest_protocol)
        now = self._clock.now()
        if self._check_takeover(unit, new.id, key, now):
            unit.ring(Ring(kind="drain", worker_id=new.id))  # wakes a claim of its earlier process
        session = new_session(new.id)
        self._lose_all(unit, new.id, "its worker was started again")
        worker = Worker(
            id=new.id,
            name=new.name,
            worker_type=new.worker_type,
            version=new.version,
            host=new.host,
            slots=new.config.max_concurrent_tasks,
            specializations=new.config.specializations,
            tools=new.config.tools,
            key_id=key.id,
            account=new.config.model_account,
            registered_at=now,
            seen_at=now,
        )
        workers.put(unit, worker, digest_of(session), protocol)
        data = {"name": worker.name, "type": worker.worker_type.value, "host": worker.host}
        fact = events.Fact(EventKind.WORKER_REGISTERED, now, actor_of(key), worker_id=worker.id, data=data)
        events.write(unit, fact)
        return m.Registered(
            worker=worker,
            server_version=agentvine.__version__,
            lease_seconds=lease_seconds,
            session=session,
            protocol=protocol,
        )

    def deregister(self, unit: Unit, worker_id: str, key: Key) -> None:
        """A worker leaves, or an admin sees it off. Harmless if it is unknown."""
        if workers.get(unit, known("worker", worker_id)) is None:
            return
        if key.scope.role is not Role.ADMIN:
            own_worker(unit, worker_id, key)
        for order in work_orders.held_by(unit, worker_id):
            self._orders.give_back_unstarted(unit, order, "its worker left before it had begun")
        self._lose_all(unit, worker_id, "its worker left")
        self.set_offline(unit, worker_id, "it deregistered", actor_of(key))

    def set_offline(self, unit: Unit, worker_id: str, why: str, actor: str = SERVER) -> None:
        """It is gone; told once."""
        if workers.set_offline(unit, worker_id):
            fact = events.Fact(
                EventKind.WORKER_OFFLINE, self._clock.now(), actor, worker_id=worker_id, data={"why": why}
            )
            events.write(unit, fact)

    def drain(self, unit: Unit, worker_id: str) -> Worker:
        """Have it finish what it does and leave. Raises `NotFound`."""
        worker = workers.get(unit, known("worker", worker_id))
        if worker is None:
            raise not_found("worker", worker_id)
        if worker.status is not WorkerStatus.OFFLINE:
            workers.set_draining(unit, worker_id)
            unit.ring(Ring(kind="drain", worker_id=worker_id))
        return worker

    def _lose_all(self, unit: Unit, worker_id: str, detail: str) -> None:
        for order in work_orders.held_by(unit, worker_id):
            self._orders.lose(unit, order, detail)

    def _check_takeover(self, unit: Unit, worker_id: str, key: Key, now: datetime) -> bool:
        """True if it has been there. Another key may only take over the id of a worker that is gone, or whose key is.

        Of two processes that register at once under a key the later one stays.
        """
        there = workers.get(unit, worker_id)
        if there is None:
            return False
        if there.key_id == key.id or there.status is WorkerStatus.OFFLINE:
            return True
        its_key = keys.get(unit, there.key_id)
        if its_key is not None and its_key.usable(now):
            raise Forbidden(f"a worker {worker_id} is there already, with another key", needs={"worker": worker_id})
        return True
