"""Workers' requests and their answers."""

from datetime import datetime

from agentvine.domain.request import ControllerResponse, RequestKind, RequestStatus, ToolUse, Unanswered, WorkerRequest
from agentvine.store.rows import build, json_text, micros, model_or_none, model_text, moment, strings
from agentvine.store.unit import Row, Unit


def insert(unit: Unit, request: WorkerRequest) -> bool:
    """Keep a request; False if its id is there already."""
    fresh = unit.run(
        """INSERT INTO requests (id, task_id, work_order_id, execution_id, kind, message, context, options, call,
               created_at, expires_at, unanswered, status)
           VALUES (:id, :task_id, :work_order_id, :execution_id, :kind, :message, :context, :options, :call,
               :created_at, :expires_at, :unanswered, :status) ON CONFLICT DO NOTHING""",
        id=request.id,
        task_id=request.task_id,
        work_order_id=request.work_order_id,
        execution_id=request.execution_id,
        kind=request.kind.value,
        message=request.message,
        context=request.context,
        options=json_text(request.options),
        call=model_text(request.call) if request.call else None,
        created_at=micros(request.created_at),
        expires_at=micros(request.expires_at),
        unanswered=request.unanswered.value,
        status=request.status.value,
    )
    return bool(fresh)


def get(unit: Unit, request_id: str) -> WorkerRequest | None:
    """A request with its response; None if there is none of that id."""
    row = unit.one("SELECT * FROM requests WHERE id = :id", id=request_id)
    return request_of(row) if row else None


def locked(unit: Unit, request_id: str) -> WorkerRequest | None:
    """As `get`; nobody else changes it before this transaction ends."""
    row = unit.one("SELECT * FROM requests WHERE id = :id FOR NO KEY UPDATE", id=request_id)
    return request_of(row) if row else None


def save_answer(unit: Unit, request_id: str, response: ControllerResponse) -> None:
    """Keep the answer to an open request."""
    unit.run(
        "UPDATE requests SET status = :status, response = :response WHERE id = :id",
        id=request_id,
        status=RequestStatus.ANSWERED.value,
        response=model_text(response),
    )


def save_late_answer(unit: Unit, request_id: str, response: ControllerResponse) -> None:
    """Keep the answer to a request that has expired, which it stays."""
    unit.run("UPDATE requests SET response = :response WHERE id = :id", id=request_id, response=model_text(response))


def set_status(unit: Unit, request_id: str, status: RequestStatus) -> None:
    """Have it stand so. Whether that may be is for the caller to know."""
    unit.run("UPDATE requests SET status = :status WHERE id = :id", id=request_id, status=status.value)


def reopen(unit: Unit, request: WorkerRequest) -> None:
    """Ask again what is over: as `request`, of the execution that it names. Its answer, if any, is gone."""
    unit.run(
        """UPDATE requests SET status = :open, execution_id = :execution, message = :message, context = :context,
               options = :options, call = :call, created_at = :created_at, expires_at = :expires_at,
               unanswered = :unanswered, response = NULL, assistant = NULL WHERE id = :id""",
        id=request.id,
        execution=request.execution_id,
        message=request.message,
        context=request.context,
        options=json_text(request.options),
        call=model_text(request.call),
        created_at=micros(request.created_at),
        expires_at=micros(request.expires_at),
        unanswered=request.unanswered.value,
        open=RequestStatus.OPEN.value,
    )


def withdraw_open(unit: Unit, work_order_id: str) -> None:
    """No answer can matter any more for what this order asked."""
    unit.run(
        "UPDATE requests SET status = :withdrawn WHERE work_order_id = :id AND status = :open",
        id=work_order_id,
        withdrawn=RequestStatus.WITHDRAWN.value,
        open=RequestStatus.OPEN.value,
    )


def of_order(unit: Unit, work_order_id: str) -> tuple[WorkerRequest, ...]:
    """All requests of an order, oldest first."""
    rows = unit.all("SELECT * FROM requests WHERE work_order_id = :id ORDER BY created_at, id", id=work_order_id)
    return tuple(request_of(row) for row in rows)


def approvals_of_order(unit: Unit, work_order_id: str, limit: int) -> tuple[WorkerRequest, ...]:
    """The calls of an order about which somebody decided in time, newest first."""
    rows = unit.all(
        """SELECT * FROM requests WHERE work_order_id = :id AND status = :answered AND kind = :approval
               AND call IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT :limit""",
        id=work_order_id,
        answered=RequestStatus.ANSWERED.value,
        approval=RequestKind.APPROVAL.value,
        limit=limit,
    )
    return tuple(request_of(row) for row in rows)


def newest_of_order(unit: Unit, work_order_id: str) -> WorkerRequest | None:
    """The last thing that was asked for an order, unless it was withdrawn."""
    row = unit.one(
        """SELECT * FROM requests WHERE work_order_id = :id AND status <> :withdrawn
           ORDER BY created_at DESC, id DESC LIMIT 1""",
        id=work_order_id,
        withdrawn=RequestStatus.WITHDRAWN.value,
    )
    return request_of(row) if row else None


def expired(unit: Unit, now: datetime, limit: int) -> tuple[str, ...]:
    """The ids of open requests whose time is over."""
    rows = unit.all(
        "SELECT id FROM requests WHERE status = :open AND expires_at <= :now ORDER BY expires_at LIMIT :limit",
        open=RequestStatus.OPEN.value,
        now=micros(now),
        limit=limit,
    )
    return tuple(row["id"] for row in rows)


def request_of(row: Row) -> WorkerRequest:
    """The request in a row of this table."""
    return build(
        WorkerRequest,
        {
            "id": row["id"],
            "task_id": row["task_id"],
            "work_order_id": row["work_order_id"],
            "execution_id": row["execution_id"],
            "kind": RequestKind(row["kind"]),
            "message": row["message"],
            "context": row["context"],
            "options": strings(row["options"]),
            "call": model_or_none(ToolUse, row["call"]),
            "created_at": moment(row["created_at"]),
            "expires_at": moment(row["expires_at"]),
            "unanswered": Unanswered(row["unanswered"]),
            "status": RequestStatus(row["status"]),
            "response": model_or_none(ControllerResponse, row["response"]),
        },
    )
