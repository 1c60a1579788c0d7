"""The audit log."""

from typing import Annotated

from fastapi import Query

from agentvine.domain.audit import AuditEntry
from agentvine.server.api.operations import After, Cursor, Desk, Limit, Operations
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire import routes

api = Operations("audit")
_Hash = Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$", description="The hash that this entry must have")]


@api.route(routes.AUDIT)
async def audit(desk: Desk, cursor: Cursor = None, limit: Limit = 50) -> m.Page[AuditEntry]:
    """The audit log, newest first, complete until now."""
    return await desk.audit(cursor, limit)


@api.route(routes.VERIFY_AUDIT)
async def verify_audit(desk: Desk, after: After = 0, expected: _Hash = None) -> adm.AuditCheck:
    """Compute again what follows an entry, as far as one look goes; go on while there is more."""
    return await desk.verify_audit(after, expected)
