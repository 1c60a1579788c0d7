"""Answers of people that were kept to settle the like."""

from datetime import datetime
from types import MappingProxyType

from agentvine.domain.permission import PermissionLevel
from agentvine.domain.precedent import Precedent
from agentvine.domain.request import ControllerResponse, RequestKind
from agentvine.domain.work_order import WorkOrder
from agentvine.domain.worker_types import TaskType
from agentvine.store.listings import Slice
from agentvine.store.rows import build, micros, micros_or_none, model_text, moment, moment_or_none
from agentvine.store.unit import Dialect, Row, Unit

_LEVELS = {level.rank: level for level in PermissionLevel}
_SCOPED = MappingProxyType(
    {
        Dialect.SQLITE: """(:scope IS NULL OR repository IN (SELECT value FROM json_each(:scope)))
            AND (:types IS NULL OR type IN (SELECT value FROM json_each(:types)))""",
        Dialect.POSTGRESQL: """(CAST(:scope AS TEXT) IS NULL
            OR repository IN (SELECT jsonb_array_elements_text(CAST(:scope AS JSONB))))
            AND (CAST(:types AS TEXT) IS NULL
            OR type IN (SELECT jsonb_array_elements_text(CAST(:types AS JSONB))))""",
    }
)
"""What is kept for everywhere, or for any type, is outside of a scope that names some."""
_PAGE = MappingProxyType(
    {
        dialect: f"""
    SELECT * FROM precedents
    WHERE (CAST(:after AS TEXT) IS NULL OR id < :after) AND {scoped}
      AND (CAST(:holding_at AS BIGINT) IS NULL
           OR (forgotten_at IS NULL AND (expires_at IS NULL OR expires_at > CAST(:holding_at AS BIGINT))))
    ORDER BY id DESC LIMIT :limit"""  # noqa: S608  constants only
        for dialect, scoped in _SCOPED.items()
    }
)


def insert(unit: Unit, precedent: Precedent) -> None:
    """Keep a new one."""
    unit.run(
        """INSERT INTO precedents (id, created_at, created_by, expires_at, request_id, kind, type, repository,
               permission, likeness, message, response)
           VALUES (:id, :created_at, :created_by, :expires_at, :request_id, :kind, :type, :repository,
               :permission, :likeness, :message, :response)""",
        id=precedent.id,
        created_at=micros(precedent.created_at),
        created_by=precedent.created_by,
        expires_at=micros_or_none(precedent.expires_at),
        request_id=precedent.request_id,
        kind=precedent.kind.value,
        type=precedent.type.value if precedent.type else None,
        repository=precedent.repository,
        permission=precedent.permission_level.rank,
        likeness=precedent.likeness,
        message=precedent.message,
        response=model_text(precedent.response),
    )


def get(unit: Unit, precedent_id: str) -> Precedent | None:
    """One, also if it is expired or forgotten; None if there is none of that id."""
    row = unit.one("SELECT * FROM precedents WHERE id = :id", id=precedent_id)
    return _precedent(row) if row else None


def of_request(unit: Unit, request_id: str, likeness: str) -> Precedent | None:
    """The last one that was made of the answer to a request, unless it was forgotten."""
    row = unit.one(
        """SELECT * FROM precedents WHERE likeness = :likeness AND request_id = :request_id AND forgotten_at IS NULL
           ORDER BY id DESC LIMIT 1""",
        likeness=likeness,
        request_id=request_id,
    )
    return _precedent(row) if row else None


def holding(unit: Unit, likeness: str, order: WorkOrder, now: datetime) -> Precedent | None:
    """The newest one that settles, for this order, a request of this likeness."""
    row = unit.one(
        """SELECT * FROM precedents
           WHERE likeness = :likeness AND forgotten_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
             AND (type IS NULL OR type = :type) AND (repository IS NULL OR repository = :repository)
             AND permission >= :permission
           ORDER BY created_at DESC, id DESC LIMIT 1""",
        likeness=likeness,
        now=micros(now),
        type=order.type.value,
        repository=order.repository,
        permission=order.permission_level.rank,
    )
    return _precedent(row) if row else None


def page(unit: Unit, part: Slice, holding_at: datetime | None) -> list[Precedent]:
    """Precedents, newest first. `holding_at`: only those that hold then."""
    rows = unit.all(
        _PAGE[unit.dialect],
        after=part.after,
        scope=part.scope,
        types=part.types_scope,
        holding_at=micros_or_none(holding_at),
        limit=part.limit,
    )
    return [_precedent(row) for row in rows]


def forget(unit: Unit, precedent_id: str, at: datetime) -> bool:
    """True if it was not forgotten before."""
    return bool(
        unit.run(
            "UPDATE precedents SET forgotten_at = :at WHERE id = :id AND forgotten_at IS NULL",
            id=precedent_id,
            at=micros(at),
        )
    )


def _precedent(row: Row) -> Precedent:
    return build(
        Precedent,
        {
            "id": row["id"],
            "created_at": moment(row["created_at"]),
            "created_by": row["created_by"],
            "expires_at": moment_or_none(row["expires_at"]),
            "forgotten_at": moment_or_none(row["forgotten_at"]),
            "request_id": row["request_id"],
            "kind": RequestKind(row["kind"]),
            "type": TaskType(row["type"]) if row["type"] else None,
            "repository": row["repository"],
            "permission_level": _LEVELS[row["permission"]],
            "likeness": row["likeness"],
            "message": row["message"],
            "response": ControllerResponse.model_validate_json(row["response"]),
        },
    )
