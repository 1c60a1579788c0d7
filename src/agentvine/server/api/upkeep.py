"""Upkeep: what is old goes, and model accounts whose limit is used up."""

from typing import Annotated

from fastapi import Path

from agentvine.domain.model_limit import ModelLimit
from agentvine.server.api.operations import Desk, Operations
from agentvine.wire import administration as adm
from agentvine.wire import routes

api = Operations("upkeep")
_Account = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,40}$", description="As the listing names it")]


@api.route(routes.PRUNE)
async def prune(desk: Desk, pruning: adm.Pruning) -> adm.Pruned:
    """Remove what is old and over; ask again while there is `more`."""
    return await desk.prune(pruning)


@api.route(routes.MODEL_LIMITS)
async def model_limits(desk: Desk) -> tuple[ModelLimit, ...]:
    """Model accounts whose limit is used up, and until when."""
    return await desk.model_limits()


@api.route(routes.LIFT_MODEL_LIMIT)
async def lift_model_limit(desk: Desk, account: _Account) -> tuple[ModelLimit, ...]:
    """Let the workers of this account work again now. What is left is returned."""
    return await desk.lift_model_limit(account)
