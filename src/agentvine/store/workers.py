"""Registered workers."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from agentvine.domain.worker import Metrics, Worker, WorkerStatus
from agentvine.domain.worker_types import WorkerType
from agentvine.store.rows import build, json_text, micros, moment, moment_or_none, strings
from agentvine.store.unit import Row, Unit

_OFFLINE = WorkerStatus.OFFLINE.value


@dataclass(frozen=True, slots=True)
class Claimer:
    """What a claim needs to know of a worker."""

    id: str
    worker_type: WorkerType
    key_id: str
    specializations: tuple[str, ...]
    draining: bool
    key_revoked: bool = False
    key_expires_at: datetime | None = None
    execution_known: bool = False
    """There is an execution of the id under which it claims."""
    session: str | None = None
    """The digest of its session token."""

    def key_usable(self, now: datetime) -> bool:
        """True while the key with which it registered is neither revoked nor expired."""
        return not self.key_revoked and (self.key_expires_at is None or now < self.key_expires_at)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a heartbeat said, and when it came."""

    worker_id: str
    at: datetime
    status: WorkerStatus
    current_tasks: tuple[str, ...]
    metrics: Metrics
    note: str | None


def put(unit: Unit, worker: Worker, session: str | None = None) -> None:
    """Keep a worker, in place of one with its id. `session`: the digest of its session token."""
    unit.run(
        """INSERT INTO workers (id, name, worker_type, version, host, slots, specializations, tools, key_id, status,
               current_tasks, metrics, registered_at, seen_at, note, draining, session)
           VALUES (:id, :name, :worker_type, :version, :host, :slots, :specializations, :tools, :key_id, :status,
               '[]', '{}', :registered_at, :seen_at, NULL, 0, :session)
           ON CONFLICT (id) DO UPDATE SET
               name = excluded.name, worker_type = excluded.worker_type, version = excluded.version,
               host = excluded.host, slots = excluded.slots, specializations = excluded.specializations,
               tools = excluded.tools, key_id = excluded.key_id, status = excluded.status, current_tasks = '[]',
               metrics = '{}', registered_at = excluded.registered_at, seen_at = excluded.seen_at, note = NULL,
               draining = 0, session = excluded.session""",
        id=worker.id,
        name=worker.name,
        worker_type=worker.worker_type.value,
        version=worker.version,
        host=worker.host,
        slots=worker.slots,
        specializations=json_text(worker.specializations),
        tools=json_text(worker.tools),
        key_id=worker.key_id,
        status=worker.status.value,
        registered_at=micros(worker.registered_at),
        seen_at=micros(worker.seen_at),
        session=session,
    )


def get(unit: Unit, worker_id: str) -> Worker | None:
    row = unit.one("SELECT * FROM workers WHERE id = :id", id=worker_id)
    return _worker(row) if row else None


_CLAIMER = """
    SELECT w.worker_type, w.key_id, w.specializations, w.draining, w.session, k.revoked_at, k.expires_at,
           e.id AS execution_id
    FROM workers w LEFT JOIN keys k ON k.id = w.key_id LEFT JOIN executions e ON e.id = :execution_id
    WHERE w.id = :id"""


def claimer(unit: Unit, worker_id: str, execution_id: str = "") -> Claimer | None:
    """What a claim under this execution id needs to know, and no more."""
    row = unit.one(_CLAIMER, id=worker_id, execution_id=execution_id)
    if row is None:
        return None
    return Claimer(
        worker_id,
        WorkerType(row["worker_type"]),
        row["key_id"],
        strings(row["specializations"]),
        bool(row["draining"]),
        row["revoked_at"] is not None,
        moment_or_none(row["expires_at"]),
        row["execution_id"] is not None,
        row["session"],
    )


def everyone(unit: Unit) -> tuple[Worker, ...]:
    """All workers, those lately registered first."""
    rows = unit.all("SELECT * FROM workers ORDER BY registered_at DESC, id LIMIT 10000")
    return tuple(_worker(row) for row in rows)


def see(unit: Unit, sightings: Iterable[Sighting]) -> None:
    """Keep what heartbeats said. Of a worker that has left meanwhile, nothing."""
    unit.run_for_each(
        """UPDATE workers SET status = :status, current_tasks = :current_tasks, metrics = :metrics, note = :note,
               seen_at = :at
           WHERE id = :id AND seen_at <= :at""",
        [
            {
                "id": sighting.worker_id,
                "status": sighting.status.value,
                "current_tasks": json_text(sighting.current_tasks),
                "metrics": sighting.metrics.model_dump_json(),
                "note": sighting.note,
                "at": micros(sighting.at),
            }
            for sighting in sightings
        ],
    )


def set_offline(unit: Unit, worker_id: str) -> bool:
    """True if it was not offline before."""
    return bool(
        unit.run(
            "UPDATE workers SET status = :offline, current_tasks = '[]' WHERE id = :id AND status <> :offline",
            id=worker_id,
            offline=_OFFLINE,
        )
    )


def set_draining(unit: Unit, worker_id: str) -> None:
    """It is to take no new orders."""
    unit.run("UPDATE workers SET draining = 1 WHERE id = :id", id=worker_id)


def draining(unit: Unit) -> tuple[str, ...]:
    """The ids of those that have been asked to leave and have not."""
    rows = unit.all("SELECT id FROM workers WHERE draining = 1 AND status <> :offline", offline=_OFFLINE)
    return tuple(row["id"] for row in rows)


def silent(unit: Unit, since: datetime) -> tuple[str, ...]:
    """The ids of those that are not offline and were last seen before `since`."""
    rows = unit.all(
        "SELECT id FROM workers WHERE status <> :offline AND seen_at < :since ORDER BY id",
        offline=_OFFLINE,
        since=micros(since),
    )
    return tuple(row["id"] for row in rows)


def _worker(row: Row) -> Worker:
    return build(
        Worker,
        {
            "id": row["id"],
            "name": row["name"],
            "worker_type": WorkerType(row["worker_type"]),
            "version": row["version"],
            "host": row["host"],
            "slots": row["slots"],
            "specializations": strings(row["specializations"]),
            "tools": strings(row["tools"]),
            "key_id": row["key_id"],
            "status": WorkerStatus(row["status"]),
            "current_tasks": strings(row["current_tasks"]),
            "metrics": Metrics.model_validate_json(row["metrics"]),
            "registered_at": moment(row["registered_at"]),
            "seen_at": moment(row["seen_at"]),
            "note": row["note"],
        },
    )
