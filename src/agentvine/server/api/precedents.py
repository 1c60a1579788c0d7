"""Answers of people that were kept to settle the like."""

from agentvine.domain.precedent import Precedent
from agentvine.server.api.operations import Cursor, Desk, Limit, Operations
from agentvine.wire import messages as m
from agentvine.wire import routes

api = Operations("precedents")


@api.route(routes.PRECEDENTS)
async def precedents(
    desk: Desk, everything: bool = False, cursor: Cursor = None, limit: Limit = 50
) -> m.Page[Precedent]:
    """Precedents that hold, newest first; or all, also those that are expired or forgotten."""
    return await desk.precedents(everything, cursor, limit)


@api.route(routes.PRECEDENT)
async def precedent(desk: Desk, precedent_id: str) -> Precedent:
    """A precedent."""
    return await desk.precedent(precedent_id)


@api.route(routes.FORGET)
async def forget(desk: Desk, precedent_id: str) -> Precedent:
    """Let a precedent settle nothing from now on."""
    return await desk.forget(precedent_id)
