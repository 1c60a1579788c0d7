"""Executions and what belongs to them: evidence and the list of artifacts."""

from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from agentvine.domain.evidence import Evidence
from agentvine.domain.execution import Delivery, Execution, Outcome, Phase, Usage
from agentvine.domain.lifecycle import Claim
from agentvine.domain.retry import Failure
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.store.rows import build, json_text, micros, model_or_none, model_text, moment, moment_or_none, strings
from agentvine.store.unit import Row, Unit

_TYPES = MappingProxyType({type_.value: type_ for type_ in TaskType})
_PHASES = MappingProxyType({phase.value: phase for phase in Phase})
NOTHING_USED = Usage()


@dataclass(frozen=True, slots=True)
class Kept:
    """An execution, and what the server keeps about it besides."""

    execution: Execution
    key_id: str
    """The key of the worker that runs it."""
    verified: bool
    """Its result is stored and passed verification."""
    summary: str


def first_record(order: WorkOrder, claim: Claim) -> Execution:
    """The execution that begins with the claim of `order`, which is as it was before."""
    return build(
        Execution,
        {
            "id": claim.execution_id,
            "work_order_id": order.id,
            "task_id": order.task_id,
            "type": order.type,
            "worker_id": claim.worker_id,
            "attempt": order.attempts + 1,
            "lease_token": order.lease_token + 1,
            "phase": Phase.CLAIMED,
            "outcome": None,
            "failure": None,
            "started_at": claim.at,
            "ended_at": None,
            "usage": NOTHING_USED,
            "base_sha": None,
            "head_sha": None,
            "session_id": None,
            "delivery": None,
            "artifacts": (),
            "comments_heard": 0,
        },
    )


def insert(unit: Unit, execution: Execution, key_id: str) -> None:
    """Keep a new execution, in its first phase."""
    unit.run(
        """INSERT INTO executions (id, work_order_id, task_id, type, worker_id, key_id, attempt, lease_token, phase,
               started_at)
           VALUES (:id, :work_order_id, :task_id, :type, :worker_id, :key_id, :attempt, :lease_token, :phase,
               :started_at)""",
        id=execution.id,
        work_order_id=execution.work_order_id,
        task_id=execution.task_id,
        type=execution.type.value,
        worker_id=execution.worker_id,
        key_id=key_id,
        attempt=execution.attempt,
        lease_token=execution.lease_token,
        phase=execution.phase.value,
        started_at=micros(execution.started_at),
    )


def get(unit: Unit, execution_id: str) -> Kept | None:
    row = unit.one("SELECT * FROM executions WHERE id = :id", id=execution_id)
    return _kept(row) if row else None


def locked(unit: Unit, execution_id: str) -> Kept | None:
    """As `get`; nobody else changes it before this transaction ends."""
    row = unit.one("SELECT * FROM executions WHERE id = :id FOR NO KEY UPDATE", id=execution_id)
    return _kept(row) if row else None


def by_token(unit: Unit, work_order_id: str, token: int) -> Kept | None:
    """The execution that began with this lease."""
    row = unit.one(
        "SELECT * FROM executions WHERE work_order_id = :id AND lease_token = :token", id=work_order_id, token=token
    )
    return _kept(row) if row else None


def of_order(unit: Unit, work_order_id: str) -> list[Kept]:
    """All of an order, oldest first."""
    rows = unit.all("SELECT * FROM executions WHERE work_order_id = :id ORDER BY lease_token", id=work_order_id)
    return [_kept(row) for row in rows]


def last_completed(unit: Unit, work_order_id: str) -> Execution | None:
    """The execution that delivered an order; None if none did."""
    row = unit.one(
        """SELECT * FROM executions WHERE work_order_id = :id AND outcome = :outcome
           ORDER BY lease_token DESC LIMIT 1""",
        id=work_order_id,
        outcome=Outcome.COMPLETED.value,
    )
    return execution_of(row) if row else None


def save_progress(unit: Unit, execution: Execution) -> None:
    """Keep what a phase report may have changed."""
    unit.run(
        """UPDATE executions SET phase = :phase, base_sha = :base_sha, session_id = :session_id, usage = :usage,
               comments_heard = :comments_heard
           WHERE id = :id""",
        id=execution.id,
        phase=execution.phase.value,
        base_sha=execution.base_sha,
        session_id=execution.session_id,
        usage=execution.usage.model_dump_json(),
        comments_heard=execution.comments_heard,
    )


def save_phase(unit: Unit, execution_id: str, phase: Phase) -> None:
    unit.run("UPDATE executions SET phase = :phase WHERE id = :id", id=execution_id, phase=phase.value)


def save_delivery(unit: Unit, execution_id: str, delivery: Delivery) -> None:
    """Keep the intent to deliver."""
    unit.run(
        "UPDATE executions SET delivery = :delivery, head_sha = :head_sha WHERE id = :id",
        id=execution_id,
        delivery=model_text(delivery),
        head_sha=delivery.new_sha,
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """How an execution ended. `usage` is what the worker says of it; `delivery` None: as it was journaled."""

    outcome: Outcome
    at: datetime
    usage: Usage
    failure: Failure | None = None
    delivery: Delivery | None = None
    summary: str = ""


def finish(unit: Unit, execution_id: str, ending: Ending, usage: Usage) -> None:
    """Keep the end of an execution, which in all has used `usage`."""
    unit.run(
        """UPDATE executions SET outcome = :outcome, ended_at = :ended_at, usage = :usage, failure = :failure,
               delivery = COALESCE(CAST(:delivery AS TEXT), delivery),
               head_sha = COALESCE(CAST(:head_sha AS TEXT), head_sha), summary = :summary
           WHERE id = :id""",
        id=execution_id,
        outcome=ending.outcome.value,
        ended_at=micros(ending.at),
        usage=usage.model_dump_json(),
        failure=model_text(ending.failure),
        delivery=model_text(ending.delivery),
        head_sha=ending.delivery and ending.delivery.new_sha,
        summary=ending.summary,
    )


def _kept(row: Row) -> Kept:
    return Kept(execution_of(row), row["key_id"], bool(row["verified"]), row["summary"])


def execution_of(row: Row) -> Execution:
    """The execution in a row of this table."""
    outcome = row["outcome"]
    return build(
        Execution,
        {
            "id": row["id"],
            "work_order_id": row["work_order_id"],
            "task_id": row["task_id"],
            "type": _TYPES[row["type"]],
            "worker_id": row["worker_id"],
            "attempt": row["attempt"],
            "lease_token": row["lease_token"],
            "phase": _PHASES[row["phase"]],
            "outcome": None if outcome is None else Outcome(outcome),
            "failure": model_or_none(Failure, row["failure"]),
            "started_at": moment(row["started_at"]),
            "ended_at": moment_or_none(row["ended_at"]),
            "usage": NOTHING_USED if row["usage"] == "{}" else Usage.model_validate_json(row["usage"]),
            "base_sha": row["base_sha"],
            "head_sha": row["head_sha"],
            "session_id": row["session_id"],
            "delivery": model_or_none(Delivery, row["delivery"]),
            "artifacts": strings(row["artifacts"]),
            "comments_heard": row["comments_heard"],
        },
    )


# ── evidence and artifacts ───────────────────────────────────────────────────────────────────────────────────────


def save_evidence(unit: Unit, evidence: Evidence, head_sha: str | None, envelope: str) -> None:
    """Keep what the verification found, and the same as a signed statement; later ones replace them."""
    unit.run(
        """INSERT INTO evidence (execution_id, content, envelope) VALUES (:id, :content, :envelope)
           ON CONFLICT (execution_id) DO UPDATE SET content = excluded.content, envelope = excluded.envelope""",
        id=evidence.execution_id,
        content=evidence.model_dump_json(),
        envelope=envelope,
    )
    unit.run(
        """UPDATE executions SET head_sha = COALESCE(CAST(:head_sha AS TEXT), head_sha), base_sha = :base_sha
           WHERE id = :id""",
        id=evidence.execution_id,
        head_sha=head_sha or evidence.head_sha,
        base_sha=evidence.base_sha,
    )


def save_verified(unit: Unit, execution_id: str, verified: bool) -> None:
    """Keep whether its stored result may be delivered as it is."""
    unit.run("UPDATE executions SET verified = :verified WHERE id = :id", id=execution_id, verified=int(verified))


def evidence_of(unit: Unit, execution_id: str) -> Evidence | None:
    row = unit.one("SELECT content FROM evidence WHERE execution_id = :id", id=execution_id)
    return Evidence.model_validate_json(row["content"]) if row else None


def envelope_of(unit: Unit, execution_id: str) -> str | None:
    """The evidence as a signed statement; empty for one that was recorded before there were any."""
    row = unit.one("SELECT envelope FROM evidence WHERE execution_id = :id", id=execution_id)
    return row["envelope"] if row else None


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is kept in the artifact folder under its digest."""

    name: str
    sha256: str
    size: int


def save_artifact(unit: Unit, execution: Execution, artifact: Artifact, at: datetime) -> None:
    """Note that an artifact is kept; one of the same name is replaced."""
    unit.run(
        """INSERT INTO artifacts (execution_id, name, sha256, size, stored_at) VALUES (:id, :name, :sha256, :size, :at)
           ON CONFLICT (execution_id, name) DO UPDATE
           SET sha256 = excluded.sha256, size = excluded.size, stored_at = excluded.stored_at""",
        id=execution.id,
        name=artifact.name,
        sha256=artifact.sha256,
        size=artifact.size,
        at=micros(at),
    )
    if artifact.name not in execution.artifacts:
        unit.run(
            "UPDATE executions SET artifacts = :names WHERE id = :id",
            id=execution.id,
            names=json_text([*execution.artifacts, artifact.name]),
        )


def artifact_of(unit: Unit, execution_id: str, name: str) -> Artifact | None:
    row = unit.one("SELECT * FROM artifacts WHERE execution_id = :id AND name = :name", id=execution_id, name=name)
    return Artifact(row["name"], row["sha256"], row["size"]) if row else None
