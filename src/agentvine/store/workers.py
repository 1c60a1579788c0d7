"""Registered workers."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from agentvine.domain.model_limit import begins, spread_of
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
    claims_answered: int = 0
    """Up to this number its claims got nothing, and will."""
    protocol: int = 1
    model_from: datetime | None = None
    """When it may use the model again, if its account had a limit that was used up."""

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


def put(unit: Unit, worker: Worker, session: str | None = None, protocol: int = 1) -> None:
    """Keep a worker, in place of one with its id. `session`: the digest of its session token; its claims begin anew."""
    unit.run(
        """INSERT INTO workers (id, name, worker_type, version, host, slots, specializations, tools, key_id, status,
               current_tasks, metrics, registered_at, seen_at, note, draining, session, claims_answered, protocol,
               account)
           VALUES (:id, :name, :worker_type, :version, :host, :slots, :specializations, :tools, :key_id, :status,
               '[]', '{}', :registered_at, :seen_at, NULL, 0, :session, 0, :protocol,
               :account)
           ON CONFLICT (id) DO UPDATE SET
               name = excluded.name, worker_type = excluded.worker_type, version = excluded.version,
               host = excluded.host, slots = excluded.slots, specializations = excluded.specializations,
               tools = excluded.tools, key_id = excluded.key_id, status = excluded.status, current_tasks = '[]',
               metrics = '{}', registered_at = excluded.registered_at, seen_at = excluded.seen_at, note = NULL,
               draining = 0, session = excluded.session, claims_answered = 0, protocol = excluded.protocol,
               account = excluded.account""",
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
        protocol=protocol,
        account=worker.account,
    )


def get(unit: Unit, worker_id: str) -> Worker | None:
    """A worker; None if there is none of that id."""
    row = unit.one("SELECT * FROM workers WHERE id = :id", id=worker_id)
    return _worker(row) if row else None


_CLAIMER = """
    SELECT w.worker_type, w.key_id, w.specializations, w.draining, w.session, w.claims_answered, w.protocol,
           k.revoked_at, k.expires_at, e.id AS execution_id, l.until, l.told_at
    FROM workers w LEFT JOIN keys k ON k.id = w.key_id LEFT JOIN executions e ON e.id = :execution_id
         LEFT JOIN model_limits l ON l.account = w.account
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
        row["claims_answered"],
        row["protocol"],
        _model_from(worker_id, row),
    )


def _model_from(worker_id: str, row: Row) -> datetime | None:
    if row["until"] is None:
        return None
    until = moment(row["until"])
    return begins(until, spread_of(until, moment(row["told_at"])), worker_id)


def claims_answered(unit: Unit, worker_id: str) -> int:
    """As `Claimer.claims_answered`; nobody changes it before this transaction ends."""
    row = unit.one("SELECT claims_answered FROM workers WHERE id = :id FOR NO KEY UPDATE", id=worker_id)
    return int(row["claims_answered"]) if row else 0


def answer_claims(unit: Unit, worker_id: str, number: int) -> None:
    """Up to this number its claims get nothing from now on."""
    unit.run(
        "UPDATE workers SET claims_answered = :number WHERE id = :id AND claims_answered < :number",
        id=worker_id,
        number=number,
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


def set_all_offline(unit: Unit) -> None:
    """Nobody was heard of yet. Whoever speaks again is there again."""
    unit.run("UPDATE workers SET status = :offline, current_tasks = '[]'", offline=_OFFLINE)


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
            "account": row["account"],
            "note": row["note"],
        },
    )
