"""How a worker is given errands to forges.

I `claim_errand`. The call waits until something is wanted of a forge, or until I have waited long enough. What I am
given is mine for `lease_seconds`; asked again meanwhile I am given the same. I run it and say with `end_errand` what
came of it. If I never do, somebody else is given it: each errand can be run twice without harm.
"""

from typing import Annotated, Protocol

from pydantic import Field

from agentvine.domain.base import Model
from agentvine.domain.errand import Errand, ErrandResult
from agentvine.domain.ids import ErrandId, WorkerId
from agentvine.wire.lending import HandedCredential
from agentvine.wire.messages import LONGEST_WAIT


class ErrandClaim(Model):
    """Asks for an errand."""

    worker_id: WorkerId
    wait_seconds: Annotated[float, Field(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 0.0


class GivenErrand(Model):
    """An errand, and how long it is this worker's."""

    id: ErrandId
    errand: Errand
    lease_seconds: float


class ErrandHeld(Model):
    """Said of an errand by the worker that has it."""

    worker_id: WorkerId


class ErrandPlane(Protocol):
    """The worker's side of the server as to errands. Raises as `ControlPlane` does."""

    async def claim_errand(self, ask: ErrandClaim) -> GivenErrand | None:
        """Something to do at a forge, or None if there was nothing within `ask.wait_seconds`."""
        ...

    async def errand_credential(self, errand_id: str, held: ErrandHeld) -> HandedCredential | None:
        """What is kept for the errand's repository, for a worker that has no credential of its own.

        Raises `LeaseLost` if the errand is not this worker's, `Forbidden` over a connection that others can read.
        """
        ...

    async def end_errand(self, errand_id: str, result: ErrandResult) -> None:
        """What came of it. Raises `LeaseLost` if it is not this worker's any more; then nothing has changed."""
        ...
