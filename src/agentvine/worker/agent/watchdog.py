"""Which silence of the agent lasts too long, and what it is called."""

from collections.abc import Callable
from dataclasses import dataclass, field

from agentvine.domain.retry import Failure, FailureReason
from agentvine.worker.agent.base import Watchdog


@dataclass(slots=True)
class Pulse:
    """When the agent was last heard. Times are those of `now`, in seconds."""

    limits: Watchdog
    now: Callable[[], float]
    changed: Callable[[], None]
    """Called when the next deadline may have come nearer."""
    spoke: bool = False
    """The model has said something."""
    _gated: int = field(init=False, default=0)
    _started: float = field(init=False)
    _heard: float = field(init=False)
    _result: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._started = self._heard = self.now()

    def heard(self, *, model: bool) -> None:
        """The agent sent something; `model`: something that the model said."""
        self._heard = self.now()
        if model and not self.spoke:
            self.spoke = True
            self.changed()
        if model:
            self._result = None

    def finished(self) -> None:
        """The agent gave its result; unless it goes on by itself it has to end now."""
        self._heard = self._result = self.now()
        self.changed()

    def gate(self, entered: bool) -> None:
        """A tool call has come to our own gate, or has left it: what lies between is not the agent's silence."""
        self._gated += 1 if entered else -1
        self._heard = self.now()
        self.changed()

    def overdue(self) -> Failure | None:
        """The silence that has lasted too long, if any."""
        if self.remaining() > 0:
            return None
        _, reason, what = min(self._deadlines())
        return Failure(reason=reason, detail=what)

    def remaining(self) -> float:
        """Seconds until the next silence is too long, if nothing is heard."""
        return min(self._deadlines())[0] - self.now()

    def _deadlines(self) -> list[tuple[float, FailureReason, str]]:
        limits = self.limits
        deadlines = [
            (
                self._started + limits.total,
                FailureReason.TIMEOUT,
                f"Claude Code had not finished after {limits.total:g} s",
            )
        ]
        if self._gated:
            return deadlines
        if self._result is not None:
            what = f"Claude Code did not exit within {limits.after_result:g} s after its result"
            deadlines.append((self._result + limits.after_result, FailureReason.AGENT_NO_EXIT, what))
        elif not self.spoke:
            what = f"the model said nothing within {limits.first_message:g} s"
            deadlines.append((self._started + limits.first_message, FailureReason.AGENT_NO_FIRST_MESSAGE, what))
        else:
            what = f"nothing was heard of Claude Code for {limits.idle:g} s"
            deadlines.append((self._heard + limits.idle, FailureReason.AGENT_IDLE, what))
        return deadlines
