"""How a worker is lent what the server keeps for a repository."""

from pydantic import Field

from agentvine.domain.base import Line, Model
from agentvine.domain.forge import ForgeKind


class HandedCredential(Model):
    """What the server keeps for the repository of an order or an errand: for whoever holds that, as long as it does."""

    username: Line
    secret: str = Field(repr=False)
    forge: ForgeKind | None = None
    """What software its forge runs, if an operator has said so."""
