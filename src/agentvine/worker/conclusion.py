"""How an execution ends, as data: the executor concludes, the pool reports it to the server."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agentvine.domain.execution import Delivery, Phase, Usage
from agentvine.domain.repository import Sha
from agentvine.domain.retry import Failure
from agentvine.wire.control_plane import ControlPlane
from agentvine.wire.messages import Claimed, NewRequest, PhaseReport


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result is where it belongs, and the remote was read back."""

    delivery: Delivery
    summary: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work out, and why."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Parked:
    """A person has to decide; everything needed to go on is stored on the server."""

    request: NewRequest


Conclusion = Delivered | Failed | Parked


@dataclass(slots=True)
class Progress:
    """What an execution has done so far; written by the executor, read by pool and heartbeat."""

    claimed: Claimed
    plane: ControlPlane
    phase: Phase = Phase.CLAIMED
    usage: Usage = field(default_factory=Usage)
    comments_heard: int = 0
    """Up to which comment the agent has heard what people said."""
    leave_by: float | None = None
    """Set before the execution is cancelled because the worker has to leave: until when, on the event loop's clock,
    what was done so far may still be stored. None: there is nothing to be stored any more."""
    ensure_held: Callable[[], None] = lambda: None
    """To be called right before each effect outside this machine (a push, a pull request): raises `LeaseLost` unless
    the order is surely still ours, by the clock that goes on while a process is stopped or a machine sleeps."""

    async def report(self, phase: Phase, *, base_sha: Sha | None = None, session_id: str | None = None) -> None:
        """Enter `phase` and tell the server. Raises what `ControlPlane.phase` raises."""
        self.phase = phase
        lease = self.claimed.lease
        report = PhaseReport(
            token=lease.token,
            phase=phase,
            base_sha=base_sha,
            session_id=session_id,
            usage=self.usage,
            comments_heard=self.comments_heard or None,
        )
        await self.plane.phase(lease.execution_id, report)


class Executor(Protocol):
    """Does one work order."""

    async def execute(self, claimed: Claimed, progress: Progress) -> Conclusion:
        """Prepare, work, verify, deliver. Raises `LeaseLost` if the order turns out to be somebody else's.

        Cancellation means: stop at once, leave no process and no directory, report nothing.
        """
        ...
