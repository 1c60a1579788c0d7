"""Heartbeats: kept in memory, written together once a second. What a server loses when it dies comes again soon."""

from collections.abc import Mapping
from dataclasses import dataclass

from agentvine.domain.errors import AgentVineError, Forbidden, Unauthenticated, Unavailable
from agentvine.domain.key import Key, WorkerKey
from agentvine.domain.worker import Worker
from agentvine.kit.clock import Clock
from agentvine.kit.doorbell import Doorbell, pause
from agentvine.kit.logs import logger
from agentvine.server.permits import known, permit_worker
from agentvine.server.sessions import superseded
from agentvine.store import work_orders, workers
from agentvine.store.database import Database
from agentvine.store.unit import Unit
from agentvine.store.workers import Sighting
from agentvine.wire import messages as m

_TOGETHER_SECONDS = 1.0
_log = logger("heartbeats")


@dataclass(slots=True)
class _Known:
    """What this process remembers of a worker. Another process may know better."""

    key_id: str
    session: str
    """The digest of its session token."""
    draining: bool = False


class Heartbeats:
    """Those of all workers that speak with this server process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._beats: dict[str, Sighting] = {}
        self._bell = Doorbell()

    async def take(self, worker_id: str, key: Key, beat: m.Heartbeat) -> m.HeartbeatReply:
        """Note a heartbeat, and say what is wanted of the worker.

        Raises `Forbidden` if it is another's, `Unauthenticated` without its session, `Superseded` with an old one.
        """
        permit_worker(key, worker_id)
        worker = await self._worker(worker_id, key)
        if worker is None:
            return m.HeartbeatReply(commands=(m.Command(kind="register"),))
        self._beats[worker_id] = Sighting(
            worker_id, self._clock.now(), beat.status, beat.current_tasks, beat.metrics, beat.note
        )
        self._bell.ring()
        commands = [m.Command(kind="drain")] if worker.draining else []
        strangers = await self._not_held(worker_id, beat.current_tasks)
        commands.extend(m.Command(kind="cancel", work_order_id=work_order_id) for work_order_id in strangers)
        return m.HeartbeatReply(commands=tuple(commands))

    def registered(self, worker: Worker, session: str) -> None:
        """A worker began anew, in a session with this digest."""
        self._known[worker.id] = _Known(worker.key_id, session)
        self._beats.pop(worker.id, None)

    def deregistered(self, worker_id: str) -> None:
        """A worker left."""
        self._known.pop(worker_id, None)
        self._beats.pop(worker_id, None)

    def drain(self, worker_id: str) -> None:
        """Tell this worker to leave, with its next heartbeat."""
        if worker_id in self._known:
            self._known[worker_id].draining = True

    async def run(self) -> None:
        """Write what has come, once a second, until cancelled. Survives trouble with the database."""
        while True:
            await self._bell.wait()
            await pause(_TOGETHER_SECONDS)
            try:
                await self.flush()
            except Unavailable as error:
                _log.warning("heartbeats not written", why=error.message)
                self._bell.ring()
            except Exception:  # noqa: BLE001  the outermost guard of this loop
                _log.exception("heartbeats not written")

    async def flush(self) -> None:
        """Write what has come. If that fails it is kept for the next time."""
        beats, self._beats = self._beats, {}
        if not beats:
            return

        try:
            draining = await self._write(beats)
        except AgentVineError:
            self._beats = beats | self._beats
            raise
        except Exception:
            if len(beats) == 1:
                raise
            _log.exception("heartbeats could not be written together; each is written by itself")
            draining = await self._write_each(beats)
        for worker_id, worker in self._known.items():
            worker.draining = worker_id in draining

    async def _write(self, beats: Mapping[str, Sighting]) -> set[str]:
        """Write them in one transaction. Returns who is to drain."""

        def work(unit: Unit) -> tuple[str, ...]:
            workers.see(unit, (beats[worker_id] for worker_id in sorted(beats)))
            return workers.draining(unit)

        return set(await self._database.write(work))

    async def _write_each(self, beats: Mapping[str, Sighting]) -> set[str]:
        """One that the database does not take must not silence the others."""
        draining: set[str] = set()
        for worker_id, beat in beats.items():
            try:
                draining = await self._write({worker_id: beat})
            except AgentVineError:
                raise
            except Exception:  # noqa: BLE001  it is given up, with its traceback; the next one comes soon
                _log.exception("a heartbeat is given up", worker_id=worker_id)
        return draining

    async def _worker(self, worker_id: str, key: Key) -> _Known | None:
        there = self._known.get(worker_id)
        session = key.session if isinstance(key, WorkerKey) else None
        if there is None or there.key_id != key.id or there.session != session:
            known("worker", worker_id)
            claimer = await self._database.read(lambda unit: workers.claimer(unit, worker_id))
            if claimer is None:
                return None
            if claimer.key_id != key.id:
                raise Forbidden("another key registered this worker", needs={"worker": worker_id})
            if session is None:
                raise Unauthenticated("send the session token that the registration gave")
            if claimer.session != session:
                raise superseded(worker_id)
            there = self._known[worker_id] = _Known(claimer.key_id, session, claimer.draining)
        return there

    async def _not_held(self, worker_id: str, current: tuple[str, ...]) -> list[str]:
        if not current:
            return []
        return await self._database.read(lambda unit: work_orders.not_held(unit, worker_id, current))
